package credfile

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	"outrider/secret"
)

// python is Debian's, whose boto3 the tests run against.
const python = "/usr/bin/python3"

// botocoreScript reads pairs of old and new texts and prints what botocore
// makes of those whose new one it does not read as it should.
const botocoreScript = `
import json, os, sys
from botocore.configloader import raw_config_parse
from botocore.exceptions import ConfigParseError

OURS = {"aws_access_key_id": "ASIANEW", "aws_secret_access_key": "new/secret+", "aws_session_token": "new//token==", "x_security_token_expires": "2026-11-24T12:00:00Z"}

def parse(text):
    with open("credentials", "w", newline="") as f:
        f.write(text)
    return raw_config_parse("credentials")

wrong, unread = [], 0
for old, new in json.load(sys.stdin):
    try:
        want = parse(old)
    except ConfigParseError:
        unread += 1
        continue
    profile = want.setdefault("default", {})
    profile.update(OURS)
    if "aws_security_token" in profile:
        profile["aws_security_token"] = OURS["aws_session_token"]
    try:
        got = parse(new)
    except ConfigParseError as e:
        got = str(e)
    if got != want:
        wrong.append([old, new, str(got)])
json.dump({"wrong": wrong, "unread": unread}, sys.stdout)
`

func TestBotocoreReadsWhatEditWrites(t *testing.T) {
	t.Parallel() // Python is slow to start
	if err := exec.CommandContext(t.Context(), python, "-c", "import botocore").Run(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("Debian's python3-boto3 is missing")
		}
		t.Skip("left out: Debian's python3-boto3 is missing")
	}
	pieces := []string{
		"[default]", "[other]", "[a b]", "[default];x", "region = x", "region:", "x = [y]", "aws_session_token = old", "AWS_ACCESS_KEY_ID=old",
		"aws_secret_access_key : old # c", "aws_security_token = old", "  y = z", "\tmore", "  # note", "; note", "", "   ", " aws_session_token = no",
		"s3 =", "k = \"quoted\"", "k = 100%(x)s", "k = é", " [other]", "junk",
	}
	random := rand.New(rand.NewPCG(1, 2))
	var pairs [][2]string
	for range 8_000 {
		var b strings.Builder
		end := []string{"\n", "\r\n"}[random.IntN(2)]
		for range random.IntN(9) {
			b.WriteString(pieces[random.IntN(len(pieces))] + end)
		}
		old := b.String()
		if random.IntN(3) == 0 {
			old = strings.TrimSuffix(old, end)
		}
		if edited, err := Edit(secret.Text(old), "default", fresh()); err == nil {
			pairs = append(pairs, [2]string{old, string(edited.Reveal())})
		}
	}
	input, err := json.Marshal(pairs)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), python, "-c", botocoreScript)
	cmd.Dir, cmd.Env = t.TempDir(), []string{"LANG=C.UTF-8", "HOME=" + t.TempDir()}
	cmd.Stdin = strings.NewReader(string(input))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var result struct {
		Wrong  [][3]string
		Unread int
	}
	if err := json.Unmarshal(out, &result); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d edited files, of which botocore could not read %d before", len(pairs), result.Unread)
	for _, w := range result.Wrong[:min(len(result.Wrong), 5)] {
		t.Errorf("botocore differs:\n%q\n%q\n%s", w[0], w[1], w[2])
	}
	if len(pairs)-result.Unread < 1000 {
		t.Errorf("only %d files were compared", len(pairs)-result.Unread)
	}
}

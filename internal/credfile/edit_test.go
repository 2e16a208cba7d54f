package credfile

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/google/go-cmp/cmp"

	"outrider/secret"
)

func fresh() Credentials {
	return Credentials{AccessKeyID: "ASIANEW", SecretAccessKey: secret.Text("new/secret+"), SessionToken: secret.Text("new//token=="), Expires: end()}
}

func end() time.Time { return time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC) }

const (
	id    = "aws_access_key_id = ASIANEW\n"
	key3  = id + "aws_secret_access_key = new/secret+\naws_session_token = new//token==\n" + until
	until = "x_security_token_expires = 2026-11-24T12:00:00Z\n"
	other = "[other]\naws_access_key_id = AKIAOTHER\naws_secret_access_key = theirs\n"
)

func TestEditChangesTheProfileAlone(t *testing.T) {
	for _, tc := range []struct{ name, old, want string }{
		{"a new file holds the profile", "", "[default]\n" + key3},
		{"a profile is added after an empty line", other, other + "\n[default]\n" + key3},
		{"one empty line is enough", other + "\n", other + "\n[default]\n" + key3},
		{"a last line without an end gets one", strings.TrimSuffix(other, "\n"), other + "\n[default]\n" + key3},
		{"an empty section at the end is filled", other + "[default]", other + "[default]\n" + key3},
		{"an empty section in the middle is filled", "[default]\n" + other, "[default]\n" + key3 + other},
		{
			"other keys, comments and the order stay",
			"# ours\n[default] ; main\nregion=eu-west-3\nAWS_Secret_Access_Key:old\n# why\naws_session_token  =\told # old\n\n" + other,
			"# ours\n[default] ; main\nregion=eu-west-3\nAWS_Secret_Access_Key:new/secret+\n# why\naws_session_token  =\tnew//token==\n" + id + until + "\n" + other,
		},
		{
			"only what is missing is added, where the others are",
			"[default]\n" + id + "aws_secret_access_key = old\nregion = eu-west-3\noutput = json\n",
			"[default]\n" + key3 + "region = eu-west-3\noutput = json\n",
		},
		{
			"botocore's old name for the token is set too",
			"[default]\naws_security_token = old\n",
			"[default]\naws_security_token = new//token==\n" + key3,
		},
		{
			"carriage returns stay",
			"[a]\r\nx = 1\r\n[default]\r\nregion = eu-west-3\r\n",
			"[a]\r\nx = 1\r\n[default]\r\n" + strings.ReplaceAll(key3, "\n", "\r\n") + "region = eu-west-3\r\n",
		},
		{
			"a new profile ends its lines as the file does",
			"[a]\r\nx = 1",
			"[a]\r\nx = 1\r\n\r\n" + strings.ReplaceAll("[default]\n"+key3, "\n", "\r\n"),
		},
		{
			"nested and further lines of other keys stay",
			"[default]\n" + key3 + "s3 =\n  max_concurrent_requests = 10\n\tx: y\n\n  further\n[a]\n  first = indented\n",
			"[default]\n" + key3 + "s3 =\n  max_concurrent_requests = 10\n\tx: y\n\n  further\n[a]\n  first = indented\n",
		},
		{"an indented comment is one", "[default]\n  # note\n" + key3, "[default]\n  # note\n" + key3},
		{
			"names that only begin alike are others'",
			"[default-2]\n" + id + "[Default]\n[profile default]\n",
			"[default-2]\n" + id + "[Default]\n[profile default]\n\n[default]\n" + key3,
		},
		{"bytes that are no text stay", "# caf\xe9 \xff\n[a]\nx = \xfe\n", "# caf\xe9 \xff\n[a]\nx = \xfe\n\n[default]\n" + key3},
		{"a long line stays", "[a]\nx = " + strings.Repeat("y", 200_000) + "\n", "[a]\nx = " + strings.Repeat("y", 200_000) + "\n\n[default]\n" + key3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := Edit(secret.Text(tc.old), "default", fresh())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, string(got.Reveal())); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			again, err := Edit(got, "default", fresh())
			if err != nil || !again.Equal(got) {
				t.Errorf("a second edit changes the file again (%v)", err)
			}
		})
	}
}

func TestExpireTakesOutWhatHasExpiredAlone(t *testing.T) {
	const rest = "# ours\n[default]\nregion = eu-west-3\n"
	for _, tc := range []struct {
		name, old, want string
		now             time.Time
	}{
		{"before the end nothing changes", rest + key3 + other, rest + key3 + other, end().Add(-time.Second)},
		{"at the end the credentials go, and nothing else", rest + key3 + other, rest + other, end()},
		{"botocore's old name for the token goes too", rest + "aws_security_token = new\n" + key3, rest, end()},
		{"credentials of somebody else stay", other, other, end()},
		{"another profile's of ours stay", "[second]\n" + key3, "[second]\n" + key3, end()},
		{"those without a time stay", rest + id, rest + id, end()},
		{"a time that is none says nothing", rest + id + "x_security_token_expires = soon\n", rest + id + "x_security_token_expires = soon\n", end()},
		{"an empty file stays empty", "", "", end()},
	} {
		t.Run(tc.name, func(t *testing.T) {
			profile := "default"
			got, err := Expire(secret.Text(tc.old), profile, tc.now)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, string(got.Reveal())); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestEditRefusesWhatReadersDisagreeOn(t *testing.T) {
	for _, tc := range []struct{ name, old, want string }{
		{"a repeated section", "[a]\n[default]\n[a]\n", "line 3: a second section"},
		{"the profile twice", "[default]\n[default]\n", "line 2: a second section"},
		{"a key before any section", "# x\nregion = eu-west-3\n[default]\n", "line 2: a key before the first section"},
		{"text that is no such file", "{\"hello\": 1}\n", "line 1: a key before the first section"},
		{"a line that is nothing", "[a]\nhello\n", "line 2: neither a section"},
		{"a key without a name", "[a]\n= x\n", "line 2: neither a section"},
		{"a byte order mark", "\ufeff[default]\n", "line 1: neither a section"},
		{"a section that is not closed", "[default\n", "line 1: not a section's name"},
		{"a section without a name", "[]\n", "line 1: not a section's name"},
		{"a padded section", "[ default ]\n", "line 1: not a section's name"},
		{"text behind a section", "[default] x\n", "line 1: not a section's name"},
		{"a bracket in a section's comment", "[default] # see [1]\n", "line 1: not a section's name"},
		{"an indented section", "[a]\nx = 1\n [default]\n", "line 3: readers differ on an indented bracket"},
		{"a lone carriage return", "[a]\rx = 1\n", "line 1: a control character"},
		{"a doubled carriage return", "[a]\r\r\n", "line 1: a control character"},
		{"a NUL", "[a]\nx = \x00\n", "line 2: a control character"},
		{"a key of ours twice", "[default]\naws_session_token = a\nAWS_SESSION_TOKEN = b\n", "line 3: aws_session_token stands in this profile twice"},
		{"a further line of a key of ours", "[default]\naws_session_token = a\n\n  b\n", "line 4: readers differ on an indented line"},
		{"a key of ours nested in another", "[default]\nregion = x\n  aws_session_token = a\n", "line 3: readers differ on an indented line"},
		{"an indented line at the profile's start", "[default]\n  region = x\n", "line 2: readers differ on an indented line"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Edit(secret.Text(tc.old), "default", fresh())
			if err == nil || !strings.HasPrefix(err.Error(), tc.want) {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
}

func TestEditRefusesWhatCannotStandInTheFile(t *testing.T) {
	for _, profile := range []string{"", "a b", "a\n[b", "a]", "#a", "DEFAULT"} {
		if _, err := Edit(secret.Value{}, profile, fresh()); err == nil {
			t.Errorf("the profile %q was taken", profile)
		}
	}
	for name, spoil := range map[string]func(*Credentials){
		"an empty id":        func(c *Credentials) { c.AccessKeyID = "" },
		"an empty key":       func(c *Credentials) { c.SecretAccessKey = secret.Value{} },
		"an empty token":     func(c *Credentials) { c.SessionToken = secret.Value{} },
		"a line in an id":    func(c *Credentials) { c.AccessKeyID = "a\n[b]" },
		"a quoted token":     func(c *Credentials) { c.SessionToken = secret.Text(`"a"`) },
		"a comment in a key": func(c *Credentials) { c.SecretAccessKey = secret.Text("a #b") },
	} {
		c := fresh()
		spoil(&c)
		if _, err := Edit(secret.Value{}, "default", c); err == nil {
			t.Errorf("%s was taken", name)
		} else if strings.Contains(err.Error(), "[b]") {
			t.Errorf("%s: the error shows a value", name)
		}
	}
}

// FuzzEdit holds every edited file against the SDK's own reader, and what is
// left of the old lines against the old file.
func FuzzEdit(f *testing.F) {
	for _, old := range []string{
		"", other, "[fuzz]\n" + key3, "[fuzz]\r\nregion=x\r\naws_session_token: y\r\n\r\n[b]\r\n",
		"[fuzz]\ns3 =\n  a = b\n# c\nAWS_SECURITY_TOKEN = y\n[fuz]\n x = y", "[a]\nb = c\n [fuzz]\n", "[a]\nb = \"",
	} {
		f.Add(old)
	}
	f.Fuzz(func(t *testing.T, old string) {
		edited, err := Edit(secret.Text(old), "fuzz", fresh())
		if err != nil {
			return
		}
		got, err := sdkReads(t, string(edited.Reveal()))
		if _, before := sdkReads(t, old); errors.Is(before, errSDK) {
			return
		}
		want := fresh()
		if err != nil || got.AccessKeyID != want.AccessKeyID || !got.SecretAccessKey.Equal(want.SecretAccessKey) || !got.SessionToken.Equal(want.SessionToken) {
			t.Errorf("the SDK reads other credentials (%v) than were written to %q", err, edited.Reveal())
		}
		if again, err := Edit(edited, "fuzz", fresh()); err != nil || !again.Equal(edited) {
			t.Errorf("a second edit changes the file again (%v)", err)
		}
		checkKept(t, old, string(edited.Reveal()))
	})
}

// errSDK says that the SDK's reader gave up with a panic, as it does on a value
// that is one quote.
var errSDK = errors.New("the SDK panics")

// sdkReads returns what the SDK for Go finds in the profile.
func sdkReads(t *testing.T, text string) (c Credentials, err error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "credentials")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if recover() != nil {
			err = errSDK
		}
	}()
	profile, err := config.LoadSharedConfigProfile(t.Context(), "fuzz", func(o *config.LoadSharedConfigOptions) {
		o.CredentialsFiles, o.ConfigFiles = []string{path}, []string{}
	})
	return Credentials{
		AccessKeyID:     profile.Credentials.AccessKeyID,
		SecretAccessKey: secret.Text(profile.Credentials.SecretAccessKey),
		SessionToken:    secret.Text(profile.Credentials.SessionToken),
	}, err
}

// checkKept wants the edited text to be the old lines, each with its end, but
// for keys of ours that have their new value now, and lines of ours between.
func checkKept(t *testing.T, old, edited string) {
	t.Helper()
	before := slices.Collect(strings.Lines(old))
	for line := range strings.Lines(edited) {
		added := line == "\n" || line == "\r\n" || strings.HasPrefix(line, "[fuzz]")
		value := slices.ContainsFunc([]string{"ASIANEW", "new/secret+", "new//token==", "2026-11-24T12:00:00Z"}, func(v string) bool {
			return strings.HasSuffix(strings.TrimRight(line, "\r\n"), v)
		})
		switch {
		case len(before) > 0 && (line == before[0] || strings.TrimRight(line, "\r\n") == before[0]):
			before = before[1:]
		case value && len(before) > 0 && keyOf(line) == keyOf(before[0]):
			before = before[1:]
		case !value && (!added || len(before) > 0):
			t.Fatalf("the line %q is neither an old one in its place nor ours:\n%q\n%q", line, old, edited)
		}
	}
	if len(before) > 0 {
		t.Fatalf("lines are gone: %q", before)
	}
}

func keyOf(line string) string {
	key, _, _ := strings.Cut(strings.ReplaceAll(line, ":", "="), "=")
	return strings.ToLower(strings.TrimSpace(key))
}

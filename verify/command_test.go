package verify

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"outrider/secret"
)

// script writes an executable shell script.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "try-login")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCommandSaysByItsExitStatus(t *testing.T) {
	tests := []struct {
		name    string
		script  string
		verdict Verdict
		want    string
	}{
		{"0 is ok", "exit 0", OK, ""},
		{"1 is wrong", "cat; cat >&2; exit 1", Wrong, "exit status 1"},
		{"2 is inconclusive", "exit 2", Inconclusive, "exit status 2"},
		{"and so is every other", "exit 77", Inconclusive, "exit status 77"},
		{"and a signal", "kill -KILL $$", Inconclusive, "signal: killed"},
		{"and a command that is not there", "exec no-such-command", Inconclusive, "exit status 127"},
		{"and its timeout", "exec sleep 1000", Inconclusive, "killed after 1s: raise timeout"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := fields{"username": "canary_user", "password": "canary-password"}
			timeout := time.Minute
			if strings.HasPrefix(tt.want, "killed after 1s") {
				timeout = time.Second
			}
			got := Command{Argv: []string{script(t, tt.script)}, Timeout: timeout}.Verify(t.Context(), trial(t, f))
			expect(t, got, tt.verdict, tt.want, f)
		})
	}
	got := Command{Argv: []string{"/no/such/program"}}.Verify(t.Context(), trial(t, nil))
	expect(t, got, Inconclusive, "no such file or directory", nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got = Command{Argv: []string{script(t, "exit 1")}}.Verify(ctx, trial(t, nil))
	expect(t, got, Inconclusive, "context canceled", nil)
}

func TestCommandReadsTheValuesAsJSON(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	s := secret.NewSnapshot(time.Now(), map[string]secret.Version{
		"db":    {Value: secret.Text(` {"password":"a\"b\\c$é\u0000","port":3306,"big":12345678901234567890}`)},
		"smtp":  {Value: secret.Text("plain 'text'\n")},
		"brace": {Value: secret.Text("{not json")},
		"list":  {Value: secret.Text("[1]")},
		"blob":  {Value: secret.NewValue([]byte{0, 255, '{', '}'}), Binary: true},
		"path":  {Below: map[string]secret.Version{"a/b": {Value: secret.Text("on")}, "c": {Value: secret.Text(`{"d":1}`)}}},
	})
	check := Command{Argv: []string{script(t, `{ cat; echo; echo "$OUTRIDER_APP $OUTRIDER_GENERATION $# $1"; env | grep -c canary; } >`+out), "argument"}}
	t.Setenv("CANARY", "canary")
	if got := check.Verify(t.Context(), Trial{App: "billing", Generation: 7, Snapshot: s}); got.Verdict != Wrong { // grep -c of none
		t.Fatalf("got %q, %v", got.Verdict, got.Err)
	}
	got, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"blob":"AP97fQ==","brace":"{not json","db":{"password":"a\"b\\c$é\u0000","port":3306,"big":12345678901234567890},` +
		`"list":"[1]","path":{"a/b":"on","c":{"d":1}},"smtp":"plain 'text'\n"}` + "\nbilling 7 1 argument\n0\n"
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

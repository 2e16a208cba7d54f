package deliver

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"outrider/secret"
)

func TestWithdrawTakesAwayAllThatIsKept(t *testing.T) {
	var dir string
	file := func(name, text string, inPlace bool) File {
		return File{Destination: filepath.Join(dir, name), Content: secret.Text(text), InPlace: inPlace}
	}
	files := func(text string) []File { return []File{file("a", text, false), file("b", text, true)} }
	flipped := func(text string) []File { return flips(dir, map[string]string{"a": text, "b": text}) }
	tests := map[string]struct {
		files func(string) []File
		want  []string // what is left in the folder
	}{
		"files, one of them rewritten in place": {files, []string{"b -rw------- "}},
		"a folder":                              {flipped, []string{".outrider_d drwx--x--x ", ".outrider_d/2 drwxr-xr-x ", "d -> .outrider_d/2"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			target := &fakeTarget{name: "it"}
			dir = t.TempDir()
			state := t.TempDir()
			l := reopen(t, state, target)
			for _, text := range []string{"one", "two"} { // the second awaits its confirmation, and keeps the first
				check(t, deliver(l, Plan{Confirm: true}, test.files(text)...))
			}
			check(t, l.Withdraw(test.files(""), "denied"))
			if diff := cmp.Diff(tree(t, dir), test.want); diff != "" {
				t.Errorf("what is left (-got +want):\n%s", diff)
			}
			check(t, errors.Join(l.Close(), l.state.Close()))
			l = reopen(t, state, target)
			p := l.Progress()
			if p.Withdrawn != "denied" || p.Generation != 2 || len(p.Owed) > 0 || p.Awaits || l.Stands(test.files("")) {
				t.Errorf("after a restart: %+v", p)
			}
			if results, err := l.Deliver(context.Background()); len(results) > 0 || err != nil {
				t.Errorf("of files that are not there %v was told, %v", results, err)
			}
			check(t, l.Withdraw(test.files(""), "denied")) // there is nothing left to take away
			check(t, deliver(l, Plan{}, test.files("two")...))
			if p := l.Progress(); p.Withdrawn != "" || p.Generation != 3 || len(p.Owed) != 1 || !l.Stands(test.files("")) {
				t.Errorf("after the next commit: %+v", p)
			}
		})
	}
}

// A sidecar that is killed when it has written the withdrawal down, and not
// carried it out, finds that on its next start; so does one that is killed
// with staged files.
func TestWithdrawIsGoneOnWithAfterACrash(t *testing.T) {
	p := newPlace(t)
	f := File{Destination: p.path, Content: secret.Text("version 1")}
	check(t, deliver(p.Ledger, Plan{}, f))
	staged, err := p.Stage([]File{{Destination: p.path, Content: secret.Text("version 2")}})
	check(t, err)
	check(t, p.declare(staged, p.intent(staged, Plan{})))
	check(t, p.withdrawing("denied"))
	staged.close()
	p.restart()
	if _, err := p.Recover(); err != nil {
		t.Errorf("what was staged before is recovered: %v", err)
	}
	if got := p.Progress(); got.Withdrawn != "denied" || got.Torn != "" {
		t.Fatalf("after the crash: %+v", got)
	}
	check(t, p.Withdraw([]File{f}, "denied"))
	if left := tree(t, filepath.Dir(p.path)); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

func TestWithdrawDoesNotFollowWhatOthersHavePlanted(t *testing.T) {
	needRoot(t)
	theirs, ours := publicDir(t), filepath.Join(t.TempDir(), "ours")
	write(t, ours, "ours", 0o600)
	check(t, os.Chown(theirs, nobody, nobody))
	check(t, os.Symlink(ours, filepath.Join(theirs, "link")))
	check(t, os.Link(ours, filepath.Join(theirs, "name")))
	l := newLedger(t)
	err := l.Withdraw([]File{
		{Destination: filepath.Join(theirs, "link")},
		{Destination: filepath.Join(theirs, "name"), InPlace: true},
	}, "denied")
	if got, ok := errors.AsType[*FileError](err); !ok || got.Destination != filepath.Join(theirs, "link") {
		t.Errorf("got %v", err)
	}
	if text, err := os.ReadFile(ours); string(text) != "ours" || err != nil {
		t.Errorf("a file elsewhere was changed: %v", err)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

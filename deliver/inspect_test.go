package deliver

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"outrider/secret"
)

func TestInspect(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	write(t, in("plain"), "old", 0o600)
	if err := errors.Join(os.Mkdir(in("folder"), 0o755), os.Symlink("plain", in("link")), os.Mkdir(in("theirs"), 0o755),
		os.WriteFile(in("theirs/f"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	before := tree(t, dir)
	good := []File{
		{Destination: in("plain")}, {Destination: in("new")}, {Destination: in("folder/new")},
		{Destination: in("link"), Symlink: Replace},
	}
	if err := Inspect(good); err != nil {
		t.Errorf("good ones: got error %v", err)
	}
	if err := Inspect([]File{{Destination: in("new/f"), Layout: Directory}, {Destination: in("new/g"), Layout: Directory}}); err != nil {
		t.Errorf("a folder that is to be exchanged: got error %v", err)
	}
	bad := []File{
		{Destination: in("no/f")}, {Destination: in("folder")}, {Destination: in("plain/f")},
		{Destination: in("link"), Symlink: Refuse}, {Destination: "f"},
	}
	err := Inspect(append(bad, good...))
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok || len(joined.Unwrap()) != len(bad) {
		t.Fatalf("got %v, want one error for each bad file", err)
	}
	for i, err := range joined.Unwrap() {
		var file *FileError
		if !errors.As(err, &file) || file.Destination != bad[i].Destination {
			t.Errorf("got error %v, want one of %s", err, bad[i].Destination)
		}
	}
	if diff := cmp.Diff(tree(t, dir), before); diff != "" {
		t.Errorf("after it (-got +want):\n%s", diff)
	}
}

func TestInspectAsAnotherUser(t *testing.T) {
	needRoot(t)
	program, dir := publicProgram(t), publicDir(t)
	_, says := start(t, asNobody(), program, "inspector", filepath.Join(dir, "f"))
	says.Scan()
	want := fmt.Sprintf("file %s: write in folder %s as uid %d: permission denied: let uid %d read, write and search %s",
		filepath.Join(dir, "f"), dir, nobody, nobody, dir)
	if got := says.Text(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestPreview(t *testing.T) {
	dir, state := t.TempDir(), t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	for name, text := range map[string]string{"same": "one\n", "drifted": "one\n", "changed": "one\ntwo\nthree\nfour\n"} {
		write(t, in(name), text, 0o640)
	}
	l := reopen(t, state)
	if err := deliver(l, Plan{}, File{Destination: in("same"), Content: secret.Text("one\n")}); err != nil {
		t.Fatal(err)
	}
	past := time.Unix(1_000_000_000, 0)
	if err := os.Chtimes(dir, past, past); err != nil {
		t.Fatal(err)
	}
	before := tree(t, dir)
	got, err := PreviewFiles(state, "app", []File{
		{Destination: in("same"), Content: secret.Text("one\n")},
		{Destination: in("drifted"), Content: secret.Text("one\n"), Mode: new(os.FileMode(0o600))},
		{Destination: in("changed"), Content: secret.Text("one\nzwei\nthree\nfour\nfive\n")},
		{Destination: in("new"), Content: secret.Text("one\ntwo")},
		{Destination: in("no/f"), Content: secret.Text("one\n")},
	})
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, p := range got {
		text := fmt.Sprint(filepath.Base(p.Destination), ": ", p.Effect, " ", p.Hunks)
		if p.Err != nil {
			text += " " + strings.ReplaceAll(p.Err.Error(), dir, "")
		}
		texts = append(texts, text)
	}
	want := []string{
		"same: unchanged []",
		"drifted: owner or mode repaired []",
		"changed: changed [{2 1 2 1} {4 0 5 1}]",
		"new: created [{0 0 1 2}]",
		"f: fails [] file /no/f: folder /no: no such file or directory: create it: mkdir -p /no",
	}
	if diff := cmp.Diff(texts, want); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
	if info, err := os.Stat(dir); err != nil || !info.ModTime().Equal(past) {
		t.Errorf("the folder was written to: %v, error %v", info.ModTime(), err)
	}
	if diff := cmp.Diff(tree(t, dir), before); diff != "" {
		t.Errorf("after it (-got +want):\n%s", diff)
	}
}

// A sidecar may be in the middle of a commit meanwhile.
func TestPreviewLeavesWhatIsStaged(t *testing.T) {
	p := newPlace(t)
	p.commit(1, true)
	staged, err := p.Stage([]File{p.file(2)})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(p.path)
	before := tree(t, dir)
	if got, err := PreviewFiles(p.state, "app", []File{p.file(3)}); err != nil || got[0].Effect != Changes {
		t.Errorf("got %v, error %v", got, err)
	}
	if diff := cmp.Diff(tree(t, dir), before); diff != "" {
		t.Errorf("after it (-got +want):\n%s", diff)
	}
	if n, err := p.Commit(staged, Plan{Snapshot: snapshot(2)}); n != 2 || err != nil {
		t.Errorf("got generation %d, error %v", n, err)
	}
	p.holds(2)
}

func TestPreviewOfAFolder(t *testing.T) {
	dir := t.TempDir()
	files := flips(dir, map[string]string{"a": "a1\n", "b": "b1\n"})
	got, err := PreviewFiles(t.TempDir(), "app", files)
	if err != nil || got[0].Effect != Creates || got[1].Effect != Creates {
		t.Errorf("a folder that is not there: got %v, error %v", got, err)
	}
	if err := os.Mkdir(filepath.Join(dir, "d"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "d", "b"), "b1\n", 0o600)
	if got, err = PreviewFiles(t.TempDir(), "app", files); err != nil || got[0].Effect != Creates || got[1].Effect != Unchanged {
		t.Errorf("a real folder: got %v, error %v", got, err)
	}
	write(t, filepath.Join(dir, "d", "theirs"), "", 0o600)
	if got, err = PreviewFiles(t.TempDir(), "app", files); err != nil || got[0].Effect != Fails || !strings.Contains(got[0].Err.Error(), "theirs in it is not of this app") {
		t.Errorf("a folder with something else in it: got %v, error %v", got, err)
	}
}

func TestHunks(t *testing.T) {
	tests := []struct {
		name, old, now string
		want           []Hunk
	}{
		{"nothing differs", "a\nb\n", "a\nb\n", nil},
		{"both are empty", "", "", nil},
		{"all is new", "", "a\nb\n", []Hunk{{0, 0, 1, 2}}},
		{"all goes", "a\nb\n", "", []Hunk{{1, 2, 0, 0}}},
		{"a line in the middle", "a\nb\nc\n", "a\nx\nc\n", []Hunk{{2, 1, 2, 1}}},
		{"a line more", "a\nc\n", "a\nb\nc\n", []Hunk{{1, 0, 2, 1}}},
		{"a line less", "a\nb\nc\n", "a\nc\n", []Hunk{{2, 1, 1, 0}}},
		{"two places", "a\nb\nc\nd\ne\n", "x\nb\nc\nd\ny\nz\n", []Hunk{{1, 1, 1, 1}, {5, 1, 5, 2}}},
		{"the newline at the end", "a\nb", "a\nb\n", []Hunk{{2, 1, 2, 1}}},
		{"the same line again", "a\na\n", "a\na\na\n", []Hunk{{2, 0, 3, 1}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(compareLines(lines([]byte(tt.old)), lines([]byte(tt.now))), tt.want); diff != "" {
				t.Errorf("(-got +want):\n%s", diff)
			}
		})
	}
	many := lines([]byte(strings.Repeat("a\n", 2000)))
	other := lines([]byte(strings.Repeat("b\n", 3000)))
	if diff := cmp.Diff(compareLines(many, other), []Hunk{{1, 2000, 1, 3000}}); diff != "" {
		t.Errorf("very many lines (-got +want):\n%s", diff)
	}
}

// The hunks are all that differs, and what is between them is the same.
func FuzzHunks(f *testing.F) {
	f.Add("a\nb\nc\n", "a\nx\nc\n")
	f.Add("a\na\nb\n", "b\na\na\n")
	f.Add("", "\n")
	f.Fuzz(func(t *testing.T, old, now string) {
		a, b := lines([]byte(old)), lines([]byte(now))
		var rebuilt []string
		at := 0
		for _, h := range compareLines(a, b) {
			from := h.Old - min(1, h.OldLines)
			if from < at || from+h.OldLines > len(a) {
				t.Fatalf("hunk %+v behind line %d of %d", h, at, len(a))
			}
			rebuilt = append(rebuilt, a[at:from]...)
			start := h.New - min(1, h.NewLines)
			rebuilt = append(rebuilt, b[start:start+h.NewLines]...)
			at = from + h.OldLines
		}
		rebuilt = append(rebuilt, a[at:]...)
		if got := strings.Join(rebuilt, ""); got != now {
			t.Fatalf("%q and %q: the hunks make %q", old, now, got)
		}
	})
}

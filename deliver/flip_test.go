package deliver

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"outrider/secret"
)

// flips returns the files of an app that are exchanged together in dir/d.
func flips(dir string, texts map[string]string) []File {
	var files []File
	for _, name := range []string{"a", "b", "c"} {
		if text, ok := texts[name]; ok {
			files = append(files, File{Destination: filepath.Join(dir, "d", name), Content: secret.Text(text), Layout: Directory})
		}
	}
	return files
}

func TestFlip(t *testing.T) {
	l, dir := newLedger(t), t.TempDir()
	commit := func(texts map[string]string) {
		t.Helper()
		if err := deliver(l, Plan{}, flips(dir, texts)...); err != nil {
			t.Fatal(err)
		}
	}
	commit(map[string]string{"a": "a1", "b": "b1"})
	want := []string{
		".outrider_d drwx--x--x ", ".outrider_d/1 drwxr-xr-x ",
		".outrider_d/1/a -rw------- a1", ".outrider_d/1/b -rw------- b1",
		"d -> .outrider_d/1",
	}
	if diff := cmp.Diff(tree(t, dir), want); diff != "" {
		t.Errorf("the first generation (-got +want):\n%s", diff)
	}
	before := sys(t, filepath.Join(dir, ".outrider_d/1/b"))
	reader, err := os.Open(filepath.Join(dir, "d"))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()

	commit(map[string]string{"a": "a2", "b": "b1"})
	want = append(want[:1:1], ".outrider_d/1 drwxr-xr-x ", ".outrider_d/1/a -rw------- a1", ".outrider_d/1/b -rw------- b1",
		".outrider_d/2 drwxr-xr-x ", ".outrider_d/2/a -rw------- a2", ".outrider_d/2/b -rw------- b1", "d -> .outrider_d/2")
	if diff := cmp.Diff(tree(t, dir), want); diff != "" {
		t.Errorf("the second generation (-got +want):\n%s", diff)
	}
	if after := sys(t, filepath.Join(dir, "d/b")); after.Ino != before.Ino || after.Mtim != before.Mtim {
		t.Error("what did not change is another file")
	}
	old, err := openIn(reader, "a")
	if err != nil {
		t.Fatalf("whoever is reading the old generation: %v", err)
	}
	if text, err := io.ReadAll(old); string(text) != "a1" || errors.Join(err, old.Close()) != nil {
		t.Errorf("whoever is reading the old generation got %q, error %v", text, err)
	}

	commit(map[string]string{"a": "a2", "b": "b1"})
	if diff := cmp.Diff(tree(t, dir), append(want[:1:1], want[4:]...)); diff != "" {
		t.Errorf("a look without news (-got +want):\n%s", diff)
	}
	commit(map[string]string{"a": "a3"})
	if got, err := os.ReadDir(filepath.Join(dir, "d")); err != nil || len(got) != 1 {
		t.Errorf("a file that left the configuration is still there: %v, error %v", got, err)
	}
}

func TestFlipPaths(t *testing.T) {
	l, dir := newLedger(t), t.TempDir()
	if err := deliver(l, Plan{}, flips(dir, map[string]string{"a": "a1", "b": "b1"})...); err != nil {
		t.Fatal(err)
	}
	staged, err := l.Stage(flips(dir, map[string]string{"a": "a2", "b": "b1"}))
	if err != nil {
		t.Fatal(err)
	}
	// A check sees the new folder as a whole.
	for name, want := range map[string]string{"a": "a2", "b": "b1"} {
		got := staged.Path(filepath.Join(dir, "d", name))
		if text, err := os.ReadFile(got); got != filepath.Join(dir, ".outrider_d/2", name) || string(text) != want {
			t.Errorf("%s: got %s with %q, error %v", name, got, text, err)
		}
	}
	before := []string{".outrider_d drwx--x--x ", ".outrider_d/1 drwxr-xr-x ", ".outrider_d/1/a -rw------- a1", ".outrider_d/1/b -rw------- b1", "d -> .outrider_d/1"}
	if err := staged.Discard(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(tree(t, dir), before); diff != "" {
		t.Errorf("discarded (-got +want):\n%s", diff)
	}
}

// A real folder is exchanged for the link, and what it looks like is kept.
func TestFlipOfARealFolder(t *testing.T) {
	needRoot(t)
	tests := []struct {
		name  string
		owner int
	}{{"of ours", 0}, {"of the application", nobody}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, dir := newLedger(t), publicDir(t)
			d := filepath.Join(dir, "d")
			if err := errors.Join(os.Mkdir(d, 0o750), os.Chown(d, tt.owner, nobody)); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(d, "a"), "a0", 0o640)
			write(t, filepath.Join(d, "b"), "b0", 0o640)
			files := flips(dir, map[string]string{"a": "a1", "b": "b0"})
			staged, err := l.Stage(files)
			if err != nil {
				t.Fatal(err)
			}
			if n, err := l.Commit(staged, Plan{Snapshot: snapshot(1), Confirm: true}); n != 1 || err != nil {
				t.Fatalf("got generation %d, error %v", n, err)
			}
			want := []string{
				".outrider_d drwx--x--x ", ".outrider_d/1 drwxr-x--- ", ".outrider_d/1/a -rw-r----- a1", ".outrider_d/1/b -rw-r----- b0",
				".outrider_d/2 drwxr-x--- ", ".outrider_d/2/a -rw-r----- a0", ".outrider_d/2/b -rw-r----- b0", "d -> .outrider_d/1",
			}
			if diff := cmp.Diff(tree(t, dir), want); diff != "" {
				t.Errorf("(-got +want):\n%s", diff)
			}
			if st := sys(t, filepath.Join(dir, ".outrider_d/1")); st.Uid != 0 || st.Gid != nobody {
				t.Errorf("the new folder belongs to %d:%d, want 0:%d", st.Uid, st.Gid, nobody)
			}
			if linked := sys(t, filepath.Join(d, "b")).Nlink == 2; linked != (tt.owner == 0) {
				t.Errorf("the file that did not change has two names: %t", linked)
			}
			if n, err := l.RollBack(1, "it does not run"); n != 2 || err != nil {
				t.Fatalf("rolled back: got generation %d, error %v", n, err)
			}
			if text, err := os.ReadFile(filepath.Join(d, "a")); string(text) != "a0" {
				t.Errorf("rolled back: got %q, error %v", text, err)
			}
			if err := deliver(l, Plan{}, flips(dir, map[string]string{"a": "a3", "b": "b3"})...); err != nil {
				t.Errorf("the next generation: %v", err)
			}
		})
	}
}

func TestFlipRefuses(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(dir string) error
		want  string
	}{
		{"a file of somebody else in the folder", func(dir string) error {
			return errors.Join(os.Mkdir(filepath.Join(dir, "d"), 0o755), os.WriteFile(filepath.Join(dir, "d", "theirs"), nil, 0o600))
		}, "and theirs in it is not of this app: move that elsewhere"},
		{"a link that is not ours", func(dir string) error { return os.Symlink("elsewhere", filepath.Join(dir, "d")) },
			"d is a symbolic link that outrider did not make: remove it, or name what it leads to"},
		{"a file in the folder's place", func(dir string) error { return os.WriteFile(filepath.Join(dir, "d"), nil, 0o600) }, "d: not a directory"},
		{"a store that is not ours", func(dir string) error { return os.Symlink("elsewhere", filepath.Join(dir, ".outrider_d")) },
			".outrider_d: something is there that is not ours: remove it"},
		{"a store that others may write", func(dir string) error {
			return errors.Join(os.Mkdir(filepath.Join(dir, ".outrider_d"), 0o700), os.Chmod(filepath.Join(dir, ".outrider_d"), 0o770))
		}, ".outrider_d: something is there that is not ours: remove it"},
		{"a folder among the files", func(dir string) error { return os.MkdirAll(filepath.Join(dir, "d", "a"), 0o755) }, "is a folder: name a file in it"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, dir := newLedger(t), t.TempDir()
			if err := tt.spoil(dir); err != nil {
				t.Fatal(err)
			}
			before := tree(t, dir)
			_, err := l.Stage(flips(dir, map[string]string{"a": "a1", "b": "b1"}))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
			if diff := cmp.Diff(tree(t, dir), before); diff != "" {
				t.Errorf("after the refusal (-got +want):\n%s", diff)
			}
		})
	}
}

func TestLayoutsThatDoNotFit(t *testing.T) {
	dir := t.TempDir()
	one := File{Destination: filepath.Join(dir, "d", "a"), Layout: Directory}
	tests := []struct {
		name  string
		files []File
		want  string
	}{
		{"files of two folders", []File{one, {Destination: filepath.Join(dir, "e", "b"), Layout: Directory}}, "layout: directory takes one folder for all files of an app"},
		{"files of two layouts", []File{one, {Destination: filepath.Join(dir, "b")}}, "all files of an app have one layout"},
		{"a file that is rewritten in place", []File{{Destination: one.Destination, Layout: Directory, InPlace: true}}, "what is rewritten in place can be neither"},
		{"a link that is replaced in place", []File{{Destination: one.Destination, Symlink: Replace, InPlace: true}}, "what is rewritten in place can be neither"},
		{"no such layout", []File{{Destination: one.Destination, Layout: 9}}, "no such layout: 9"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := newLedger(t).Stage(tt.files); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
			if diff := cmp.Diff(tree(t, dir), []string(nil)); diff != "" {
				t.Errorf("(-got +want):\n%s", diff)
			}
		})
	}
}

// A lost journal makes generations count from 1 again. No folder of the same
// name is in the way.
func TestFlipAfterTheJournalWasLost(t *testing.T) {
	dir := t.TempDir()
	for _, text := range []string{"one", "two", "three"} {
		if err := deliver(newLedger(t), Plan{}, flips(dir, map[string]string{"a": text})...); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(dir, "d", "a")); string(got) != text {
			t.Errorf("got %q, error %v, want %q", got, err, text)
		}
	}
}

// What somebody has put into the folder of an old generation is not removed.
func TestFlipKeepsWhatIsNotOurs(t *testing.T) {
	l, dir := newLedger(t), t.TempDir()
	for n, text := range []string{"one", "two", "two"} {
		if err := deliver(l, Plan{}, flips(dir, map[string]string{"a": text})...); err != nil {
			t.Fatal(err)
		}
		if n == 1 {
			write(t, filepath.Join(dir, ".outrider_d/1/precious"), "x", 0o600)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, ".outrider_d/1/precious")); err != nil {
		t.Error(err)
	}
}

// A link in the application's own folder would lead wherever that likes.
func TestFlipInTheApplicationsOwnFolder(t *testing.T) {
	needRoot(t)
	l, dir := newLedger(t), publicDir(t)
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	_, err := l.Stage(flips(dir, map[string]string{"a": "a1"}))
	if err == nil || !strings.Contains(err.Error(), "where others than root and outrider could exchange it") {
		t.Errorf("got error %v", err)
	}
	if diff := cmp.Diff(tree(t, dir), []string(nil)); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
}

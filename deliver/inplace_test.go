package deliver

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"outrider/secret"
)

func TestInPlace(t *testing.T) {
	tests := []struct {
		name, old, text string
		mode            *fs.FileMode
		want            string
	}{
		{"longer content", "old", "a longer text", nil, "f -rw-r----- a longer text"},
		{"shorter content", "a longer text", "new", nil, "f -rw-r----- new"},
		{"no content", "old", "", nil, "f -rw-r----- "},
		{"another mode", "old", "new", new(fs.FileMode(0o600)), "f -rw------- new"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "f")
			write(t, path, tt.old, 0o640)
			before := sys(t, path).Ino
			if diff := cmp.Diff(put(t, File{Destination: path, Content: secret.Text(tt.text), Mode: tt.mode, InPlace: true}), []string{path}); diff != "" {
				t.Errorf("changed (-got +want):\n%s", diff)
			}
			if diff := cmp.Diff(tree(t, dir), []string{tt.want}); diff != "" {
				t.Errorf("(-got +want):\n%s", diff)
			}
			if sys(t, path).Ino != before {
				t.Error("it is another file")
			}
		})
	}
	t.Run("a file that is not there yet", func(t *testing.T) {
		dir := t.TempDir()
		put(t, File{Destination: filepath.Join(dir, "f"), Content: secret.Text("new"), InPlace: true})
		if diff := cmp.Diff(tree(t, dir), []string{"f -rw------- new"}); diff != "" {
			t.Errorf("(-got +want):\n%s", diff)
		}
	})
}

// A file that is mounted by itself, as into a container, is why there is
// in_place.
func TestInPlaceOfAMountedFile(t *testing.T) {
	dir := t.TempDir()
	path, outside := filepath.Join(dir, "f"), filepath.Join(t.TempDir(), "outside")
	write(t, path, "", 0o600)
	write(t, outside, "old", 0o644)
	mount(t, outside, path, "", unix.MS_BIND, "")
	l := newLedger(t)
	file := File{Destination: path, Content: secret.Text("new"), InPlace: true}
	if err := deliver(l, Plan{Snapshot: snapshot(1), Confirm: true}, file); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(outside); string(text) != "new" {
		t.Errorf("outside: got %q, error %v", text, err)
	}
	previous := filepath.Join(dir, ".outrider-app", "previous", "f")
	if text, err := os.ReadFile(previous); string(text) != "old" || sys(t, previous).Mode&0o777 != 0o600 {
		t.Errorf("kept: got %q with mode %04o, error %v", text, sys(t, previous).Mode&0o777, err)
	}
	if n, err := l.RollBack(1, "it does not run"); n != 2 || err != nil {
		t.Fatalf("got generation %d, error %v", n, err)
	}
	if text, err := os.ReadFile(outside); string(text) != "old" {
		t.Errorf("rolled back, outside: got %q, error %v", text, err)
	}
	if inside, err := os.ReadDir(filepath.Dir(previous)); err != nil || len(inside) != 0 {
		t.Errorf("what was kept is still there: %v, error %v", inside, err)
	}
}

// The name of a file in a folder of the application's own may lead to any file.
func TestInPlaceWithOtherNames(t *testing.T) {
	needRoot(t)
	dir := publicDir(t)
	own := filepath.Join(dir, "own")
	precious := filepath.Join(dir, "precious")
	write(t, precious, "precious", 0o600)
	if err := errors.Join(os.Mkdir(own, 0o755), os.Chown(own, nobody, nobody), os.Link(precious, filepath.Join(own, "f"))); err != nil {
		t.Fatal(err)
	}
	_, err := newLedger(t).Stage([]File{{Destination: filepath.Join(own, "f"), Content: secret.Text("new"), InPlace: true}})
	if err == nil || !strings.Contains(err.Error(), "f: has other names, which others may have given it") {
		t.Errorf("got error %v", err)
	}
	if text, err := os.ReadFile(precious); string(text) != "precious" {
		t.Errorf("got %q, error %v", text, err)
	}
}

// Another file that takes its place meanwhile is not written into.
func TestInPlaceOfAnotherFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	write(t, path, "old", 0o600)
	l := newLedger(t)
	staged, err := l.Stage([]File{{Destination: path, Content: secret.Text("new"), InPlace: true}})
	if err != nil {
		t.Fatal(err)
	}
	write(t, path+"2", "other", 0o600)
	if err := os.Rename(path+"2", path); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Commit(staged, Plan{}); err == nil || !strings.Contains(err.Error(), "another file took its place") {
		t.Errorf("got error %v", err)
	}
	if diff := cmp.Diff(tree(t, dir), []string{"f -rw------- other"}); diff != "" || l.Progress().Torn != "" {
		t.Errorf("torn %q (-got +want):\n%s", l.Progress().Torn, diff)
	}
}

// On a full disk the old content stays, also where it is overwritten.
func TestInPlaceWithoutSpace(t *testing.T) {
	outside, dir := t.TempDir(), t.TempDir()
	mount(t, "tmpfs", outside, "tmpfs", 0, "size=64k,mode=755")
	small := filepath.Join(outside, "f")
	write(t, small, "old", 0o644)
	path := filepath.Join(dir, "f")
	write(t, path, "", 0o644)
	mount(t, small, path, "", unix.MS_BIND, "")
	l := newLedger(t)
	err := deliver(l, Plan{}, File{Destination: path, Content: secret.NewValue(bytes.Repeat([]byte("canary "), 20_000)), InPlace: true})
	if !errors.Is(err, unix.ENOSPC) || strings.Contains(err.Error(), "canary") {
		t.Errorf("got error %v", err)
	}
	if text, err := os.ReadFile(small); string(text) != "old" || l.Progress().Torn != "" {
		t.Errorf("got %q, error %v, torn %q", text, err, l.Progress().Torn)
	}
}

// setLabel gives a file an SELinux label, which a kernel without SELinux keeps
// like any other attribute.
func setLabel(t *testing.T, path, label string) {
	t.Helper()
	if err := unix.Lsetxattr(path, labelName, []byte(label), 0); err != nil {
		t.Skipf("left out: no leave to set a label, or no room for one: %v", err)
	}
}

func labelAt(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return labelOf(f)
}

func TestLabels(t *testing.T) {
	needRoot(t)
	const folder, own = "system_u:object_r:etc_t:s0\x00", "system_u:object_r:billing_etc_t:s0\x00"
	for _, layout := range []Layout{Files, Directory} {
		l, dir := newLedger(t), t.TempDir()
		d := filepath.Join(dir, "d")
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(d, "a"), "a0", 0o644)
		setLabel(t, d, folder)
		setLabel(t, filepath.Join(d, "a"), own)
		files := flips(dir, map[string]string{"a": "a1", "b": "b1"})
		files[0].Layout, files[1].Layout = layout, layout
		staged, err := l.Stage(files)
		if err != nil {
			t.Fatal(err)
		}
		if got := labelAt(t, staged.Path(files[0].Destination)); got != own {
			t.Errorf("layout %d: before it is visible: got %q, want %q", layout, got, own)
		}
		if _, err := l.Commit(staged, Plan{}); err != nil {
			t.Fatal(err)
		}
		for path, want := range map[string]string{"a": own, "b": folder, ".": folder} {
			if got := labelAt(t, filepath.Join(d, path)); got != want {
				t.Errorf("layout %d: %s: got %q, want %q", layout, path, got, want)
			}
		}
	}
}

// What is in memory needs no disk to wait for.
func TestNothingInMemoryIsSynced(t *testing.T) {
	needRoot(t)
	root := memory(t)
	if err := os.Mkdir(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if f, err := os.Open(root); err != nil || !isInMemory(f) || f.Close() != nil {
		t.Skip("left out: no file system in memory")
	}
	for _, o := range traced(t, root, "lazy", filepath.Join(root, "etc"), filepath.Join(root, "state")) {
		if o.kind == "sync" {
			t.Errorf("got %s", o.String())
		}
	}
}

package deliver

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"outrider/secret"
)

func TestPlacePutsAFileAndIsQuietWhenItIsThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	for i, want := range []int{1, 0} {
		changed, err := Place("token", []File{{Destination: path, Content: secret.Text("t")}})
		if err != nil || len(changed) != want {
			t.Errorf("pass %d: %d changed, %v; want %d", i, len(changed), err, want)
		}
	}
	if content, err := os.ReadFile(path); err != nil || string(content) != "t" {
		t.Errorf("the file: %v", err)
	}
}

func TestReadTakesOnlyWhatNobodyCanHavePlanted(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if v, err := Read(plain, Follow, 4); err != nil || !v.Equal(secret.Text("x")) {
		t.Errorf("a plain file: %v", err)
	}
	if v, err := Read(filepath.Join(dir, "nosuch"), Follow, 4); err != nil || v.Len() != 0 {
		t.Errorf("no file: %v", err)
	}
	if _, err := Read(plain, Follow, 0); err == nil || !strings.Contains(err.Error(), "larger than 0 bytes") {
		t.Errorf("a file over the limit: %v", err)
	}
	if _, err := Read(dir, Follow, 4); err == nil {
		t.Error("a folder was read")
	}
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(fifo, Follow, 4); err == nil {
		t.Error("a fifo was read")
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can make another user's folder")
	}
	theirs := filepath.Join(dir, "theirs")
	if err := os.Mkdir(theirs, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(plain, filepath.Join(theirs, "planted")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(plain, filepath.Join(theirs, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(theirs, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"planted", "link"} {
		if _, err := Read(filepath.Join(theirs, name), Follow, 4); err == nil || strings.Contains(err.Error(), "x\n") {
			t.Errorf("%s in another user's folder was read: %v", name, err)
		}
	}
}

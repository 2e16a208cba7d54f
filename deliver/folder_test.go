package deliver

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"outrider/secret"
)

func TestLinks(t *testing.T) {
	tests := []struct {
		name   string
		links  map[string]string // beside the folder real, which holds f
		path   string
		policy Symlink
		want   []string
	}{
		{"a link is followed, and stays", map[string]string{"l": "real/f"}, "l", Follow,
			[]string{"l -> real/f", "real drwxr-xr-x ", "real/f -rw-r--r-- new"}},
		{"a chain of links is followed", map[string]string{"l": "m", "m": "./real/../real//f"}, "l", Follow,
			[]string{"l -> m", "m -> ./real/../real//f", "real drwxr-xr-x ", "real/f -rw-r--r-- new"}},
		{"a link to what is not there yet makes it", map[string]string{"l": "real/g"}, "l", Follow,
			[]string{"l -> real/g", "real drwxr-xr-x ", "real/f -rw-r--r-- old", "real/g -rw------- new"}},
		{"a link to a folder is followed on the way", map[string]string{"l": "real"}, "l/f", Refuse,
			[]string{"l -> real", "real drwxr-xr-x ", "real/f -rw-r--r-- new"}},
		{"an upward step is taken from where a link led", map[string]string{"l": "real/in/..", "real/in": "../real"}, "l/real/f", Follow,
			[]string{"l -> real/in/..", "real drwxr-xr-x ", "real/f -rw-r--r-- new", "real/in -> ../real"}},
		{"a link is replaced when that is asked for", map[string]string{"l": "real/f"}, "l", Replace,
			[]string{"l -rw------- new", "real drwxr-xr-x ", "real/f -rw-r--r-- old"}},
		{"a dangling link is replaced too", map[string]string{"l": "nowhere/f"}, "l", Replace,
			[]string{"l -rw------- new", "real drwxr-xr-x ", "real/f -rw-r--r-- old"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Mkdir(filepath.Join(dir, "real"), 0o755); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, "real", "f"), "old", 0o644)
			for name, target := range tt.links {
				if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
			}
			path := filepath.Join(dir, tt.path)
			got := put(t, File{Destination: path, Content: secret.Text("new"), Symlink: tt.policy})
			if diff := cmp.Diff(got, []string{path}); diff != "" {
				t.Errorf("changed (-got +want):\n%s", diff)
			}
			if diff := cmp.Diff(tree(t, dir), tt.want); diff != "" {
				t.Errorf("(-got +want):\n%s", diff)
			}
		})
	}
}

func TestAbsoluteLink(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "f"), filepath.Join(dir, "l")
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	put(t, File{Destination: link, Content: secret.Text("new")})
	if diff := cmp.Diff(tree(t, dir), []string{"f -rw------- new", "l -> " + target}); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
}

// One folder under two names is one room, in which a file has one place.
func TestFolderUnderTwoNames(t *testing.T) {
	dir := t.TempDir()
	real, link := filepath.Join(dir, "real"), filepath.Join(dir, "link")
	if err := errors.Join(os.Mkdir(real, 0o755), os.Symlink("real", link)); err != nil {
		t.Fatal(err)
	}
	put(t, File{Destination: filepath.Join(real, "a"), Content: secret.Text("1")},
		File{Destination: filepath.Join(link, "b"), Content: secret.Text("2")})
	want := []string{"link -> real", "real drwxr-xr-x ", "real/a -rw------- 1", "real/b -rw------- 2"}
	if diff := cmp.Diff(tree(t, dir), want); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
	_, err := newLedger(t).Stage([]File{{Destination: filepath.Join(real, "a")}, {Destination: filepath.Join(link, "a")}})
	if err == nil || !strings.Contains(err.Error(), "is the destination of another file of the app too") {
		t.Errorf("got error %v", err)
	}
}

func TestFoldersSideBySide(t *testing.T) {
	dir := t.TempDir()
	var files []File
	for range 5 { // at every depth, the folders on the way are shared
		dir = filepath.Join(dir, "d")
		for _, path := range []string{"a/1", "b/1", "a/2"} {
			files = append(files, File{Destination: filepath.Join(dir, path), Content: secret.Text(filepath.Join(dir, path))})
			if err := os.MkdirAll(filepath.Dir(files[len(files)-1].Destination), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(t, files...)
	for _, f := range files {
		if got, err := os.ReadFile(f.Destination); string(got) != f.Destination {
			t.Errorf("%s: got %q, error %v", f.Destination, got, err)
		}
	}
}

// entry is something that stands in the way of a delivery.
type entry struct {
	path   string
	owner  int
	mode   fs.FileMode // a folder's or file's, with its special bits
	target string      // of a link
}

func (e entry) make(t *testing.T, dir string) {
	t.Helper()
	path := filepath.Join(dir, e.path)
	var err error
	switch {
	case e.target != "":
		err = os.Symlink(e.target, path)
	case e.mode.IsDir():
		err = errors.Join(os.Mkdir(path, 0o700), os.Chmod(path, e.mode))
	default:
		write(t, path, "old", e.mode)
	}
	if err := errors.Join(err, os.Lchown(path, e.owner, e.owner)); err != nil {
		t.Fatal(err)
	}
}

// Whom a path leads past decides whether it may be used.
func TestTrust(t *testing.T) {
	needRoot(t)
	const (
		app, mallory = nobody, 12345
		shared       = fs.ModeDir | fs.ModeSticky | 0o777
	)
	tests := []struct {
		name    string
		entries []entry
		file    File
		want    string // part of the error; empty: delivered
	}{
		{"a plain file in the application's own folder",
			[]entry{{"d", app, fs.ModeDir | 0o755, ""}, {"d/f", app, 0o600, ""}}, File{Destination: "d/f"}, ""},
		{"a new file in a folder below the application's own",
			[]entry{{"d", app, fs.ModeDir | 0o755, ""}, {"d/e", app, fs.ModeDir | 0o755, ""}}, File{Destination: "d/e/f"}, ""},
		{"a link in the application's own folder",
			[]entry{{"v", 0, fs.ModeDir | 0o755, ""}, {"d", app, fs.ModeDir | 0o755, ""}, {"d/f", 0, 0, "../v/f"}},
			File{Destination: "d/f"}, "d/f is a symbolic link, not followed because others than root and outrider may change it"},
		{"a link in the application's own folder, replaced",
			[]entry{{"d", app, fs.ModeDir | 0o755, ""}, {"d/f", app, 0, "/etc/passwd"}}, File{Destination: "d/f", Symlink: Replace}, ""},
		{"a link to a folder in the application's own folder",
			[]entry{{"v", 0, fs.ModeDir | 0o755, ""}, {"d", app, fs.ModeDir | 0o755, ""}, {"d/e", app, 0, "../v"}},
			File{Destination: "d/e/f"}, "d/e is a symbolic link, not followed"},
		{"a link in root's folder below the application's own",
			[]entry{{"d", app, fs.ModeDir | 0o755, ""}, {"d/e", 0, fs.ModeDir | 0o755, ""}, {"d/e/f", 0, 0, "g"}},
			File{Destination: "d/e/f"}, "d/e/f is a symbolic link, not followed"},
		{"root's link in root's folder that a group may write",
			[]entry{{"d", 0, fs.ModeDir | 0o775, ""}, {"d/f", 0, 0, "g"}}, File{Destination: "d/f"}, "d/f is a symbolic link, not followed"},
		{"another's link in root's folder",
			[]entry{{"l", app, 0, "f"}}, File{Destination: "l"}, "l is a symbolic link, not followed because uid 65534 owns it: chown -h root"},
		{"root's link into the application's own folder",
			[]entry{{"d", app, fs.ModeDir | 0o755, ""}, {"l", 0, 0, "d/f"}}, File{Destination: "l"}, ""},
		{"root's link in a shared sticky folder",
			[]entry{{"s", 0, shared, ""}, {"s/l", 0, 0, "f"}}, File{Destination: "s/l"}, ""},
		{"another's link in a shared sticky folder",
			[]entry{{"s", 0, shared, ""}, {"s/l", mallory, 0, "f"}}, File{Destination: "s/l"}, "s/l is a symbolic link, not followed because uid 12345 owns it"},
		{"root's folder in a shared sticky folder",
			[]entry{{"s", 0, shared, ""}, {"s/d", 0, fs.ModeDir | 0o755, ""}}, File{Destination: "s/d/f"}, ""},
		{"another's folder in a shared sticky folder",
			[]entry{{"s", 0, shared, ""}, {"s/d", mallory, fs.ModeDir | 0o755, ""}}, File{Destination: "s/d/f"}, "s/d belongs to uid 12345"},
		{"a file planted in a shared sticky folder",
			[]entry{{"s", 0, shared, ""}, {"s/f", mallory, 0o666, ""}}, File{Destination: "s/f"}, "s/f belongs to uid 12345"},
		{"a planted file when the owner is named",
			[]entry{{"s", 0, shared, ""}, {"s/f", mallory, 0o666, ""}}, File{Destination: "s/f", UID: new(app)}, "s/f belongs to uid 12345"},
		{"the named owner's file in a shared sticky folder",
			[]entry{{"s", 0, shared, ""}, {"s/f", app, 0o600, ""}}, File{Destination: "s/f", UID: new(app)}, ""},
		{"a file planted in a folder that a group may write",
			[]entry{{"d", 0, fs.ModeDir | 0o775, ""}, {"d/f", mallory, 0o666, ""}}, File{Destination: "d/f"}, "d/f belongs to uid 12345"},
		{"a sticky folder of somebody else",
			[]entry{{"s", mallory, shared, ""}, {"s/l", 0, 0, "f"}}, File{Destination: "s/l"}, "s/l is a symbolic link, not followed"},
		{"a file in root's folder that is another's",
			[]entry{{"f", mallory, 0o600, ""}}, File{Destination: "f"}, ""},
		{"a staging folder that the application has put a link for",
			[]entry{{"v", 0, fs.ModeDir | 0o700, ""}, {"v/precious", 0, 0o600, ""}, {"d", app, fs.ModeDir | 0o755, ""}, {"d/.outrider-app", app, 0, "../v"}},
			File{Destination: "d/f"}, ".outrider-app: something is there that is not ours"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for _, e := range tt.entries {
				e.make(t, dir)
			}
			before := tree(t, dir)
			tt.file.Destination = filepath.Join(dir, tt.file.Destination)
			tt.file.Content = secret.Text("new")
			err := deliver(newLedger(t), Plan{}, tt.file)
			if tt.want == "" {
				if got, _ := os.ReadFile(tt.file.Destination); err != nil || string(got) != "new" {
					t.Errorf("got %q, error %v", got, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
			if diff := cmp.Diff(tree(t, dir), before); diff != "" {
				t.Errorf("after the refusal (-got +want):\n%s", diff)
			}
		})
	}
}

// attack exchanges dir/conf for a link to victim and back, and whatever
// stands in it likewise, until it is killed. Of one file there it has a hard
// link, as where fs.protected_hardlinks is off.
func attack(dir, victim string) error {
	in := func(name string) string { return filepath.Join(dir, name) }
	if err := errors.Join(os.Symlink(victim, in("link")), os.Symlink(filepath.Join(victim, "f"), in("filelink"))); err != nil {
		return err
	}
	fmt.Println("ready")
	for {
		// Most of these fail most of the time, having lost the race to us.
		for _, pair := range [][2]string{
			{"conf", "link"}, {"conf/f", "filelink"}, {"conf/.outrider-app", "link"}, {"conf", "conf.real"}, {"conf/f", "hardlink"},
		} {
			_ = unix.Renameat2(unix.AT_FDCWD, in(pair[0]), unix.AT_FDCWD, in(pair[1]), unix.RENAME_EXCHANGE)
		}
		if os.WriteFile(in("own"), []byte("mine"), 0o600) == nil {
			_ = unix.Renameat2(unix.AT_FDCWD, in("conf/f"), unix.AT_FDCWD, in("own"), unix.RENAME_EXCHANGE)
		}
	}
}

// An application that owns a folder on the way cannot make us write, remove or
// give away anything outside of it.
func TestAttackerNeverWins(t *testing.T) {
	needRoot(t)
	program := publicProgram(t)
	mode := fs.FileMode(0o640)
	file := func(path string, n int, inPlace bool) File {
		return File{Destination: path, Content: secret.Text(fmt.Sprint("value ", n)), InPlace: inPlace, UID: new(nobody), GID: new(nobody), Mode: &mode}
	}
	for name, work := range map[string]func(l *Ledger, path string, n int) error{
		"a file": func(l *Ledger, path string, n int) error {
			return deliver(l, Plan{}, File{Destination: path, Content: secret.Text(fmt.Sprint(n))})
		},
		"a file that is given away": func(l *Ledger, path string, n int) error { return deliver(l, Plan{}, file(path, n, false)) },
		"a file of the same content, given away": func(l *Ledger, path string, _ int) error {
			return deliver(l, Plan{}, File{Destination: path, Content: secret.Text("old"), UID: new(nobody), Mode: &mode})
		},
		"a file that is rewritten in place": func(l *Ledger, path string, n int) error { return deliver(l, Plan{}, file(path, n, true)) },
		"a file that is placed": func(_ *Ledger, path string, n int) error {
			_, err := Place("app", []File{file(path, n, false)})
			return err
		},
		"a file that is placed and removed": func(_ *Ledger, path string, n int) error {
			_, err := Place("app", []File{file(path, n, false)})
			return errors.Join(err, Remove(path))
		},
		"files that are rolled back": func(l *Ledger, path string, n int) error {
			if err := deliver(l, Plan{Confirm: true}, file(path, n, n%2 == 0)); err != nil {
				return err
			}
			_, err := l.RollBack(l.Progress().Generation, "attacked")
			return err
		},
		"files that are withdrawn": func(l *Ledger, path string, n int) error {
			inPlace := n%2 == 0
			return errors.Join(deliver(l, Plan{}, file(path, n, inPlace)), l.Withdraw([]File{file(path, n, inPlace)}, "attacked"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := publicDir(t)
			victim, own := filepath.Join(dir, "victim"), filepath.Join(dir, "own")
			for _, e := range []entry{
				{"victim", 0, fs.ModeDir | 0o755, ""}, {"victim/f", 0, 0o644, ""}, {"victim/open", 0, 0o600, ""}, {"victim/7", 0, fs.ModeDir | 0o755, ""},
				{"own", nobody, fs.ModeDir | 0o755, ""}, {"own/conf", nobody, fs.ModeDir | 0o755, ""}, {"own/conf.real", nobody, fs.ModeDir | 0o755, ""},
			} {
				e.make(t, dir)
			}
			if err := os.Link(filepath.Join(victim, "open"), filepath.Join(own, "hardlink")); err != nil {
				t.Fatal(err)
			}
			want := tree(t, victim)
			_, lines := start(t, asNobody(), program, "attacker", own, victim)
			lines.Scan()
			tries, delivered := 0, 0
			l := newLedger(t)
			for end := time.Now().Add(time.Second); time.Now().Before(end); tries++ {
				if work(l, filepath.Join(own, "conf", "f"), tries) == nil {
					delivered++
				}
			}
			unharmed(t, victim, want)
			if delivered == 0 || delivered == tries {
				t.Errorf("%d of %d delivered: the race was not one", delivered, tries)
			}
		})
	}
}

// Where fs.protected_hardlinks is off, an application can give its file the
// inode of another's, of the same content.
func TestAFileOfSeveralNamesIsNotGivenAway(t *testing.T) {
	needRoot(t)
	dir := publicDir(t)
	for _, e := range []entry{{"other", 0, 0o600, ""}, {"own", nobody, fs.ModeDir | 0o755, ""}} {
		e.make(t, dir)
	}
	other, own := filepath.Join(dir, "other"), filepath.Join(dir, "own", "f")
	if err := os.Link(other, own); err != nil {
		t.Fatal(err)
	}
	file := File{Destination: own, Content: secret.Text("old"), UID: new(nobody)}
	if err := deliver(newLedger(t), Plan{}, file); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]uint32{other: 0, own: nobody} {
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil || st.Uid != want || st.Nlink != 1 {
			t.Errorf("%s is uid %d's and has %d names (%v), want uid %d and one", filepath.Base(path), st.Uid, st.Nlink, err, want)
		}
	}
}

// inhabit exchanges a file in a folder of its own, which comes and goes, for
// links to the victim's and back, until it is killed.
func inhabit(folder, victim string) error {
	in := func(name string) string { return filepath.Join(folder, name) }
	fmt.Println("ready")
	for {
		_ = os.Symlink(filepath.Join(victim, "f"), in("soft"))
		_ = os.Link(filepath.Join(victim, "open"), in("hard"))
		for _, name := range []string{"soft", "hard", "g"} {
			_ = unix.Renameat2(unix.AT_FDCWD, in("f"), unix.AT_FDCWD, in(name), unix.RENAME_EXCHANGE)
		}
	}
}

// unharmed checks that a folder of ours is as it was.
func unharmed(t *testing.T, victim string, want []string) {
	t.Helper()
	if diff := cmp.Diff(tree(t, victim), want); diff != "" {
		t.Errorf("the victim (-got +want):\n%s", diff)
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(victim, "open"), &st); err != nil || st.Uid != 0 || st.Gid != 0 {
		t.Errorf("the victim's file is uid %d's, gid %d's (%v)", st.Uid, st.Gid, err)
	}
}

// An application that owns the folder which is to flip cannot make us write or
// give away anything outside of it: what stands in it is not taken over.
func TestAttackerInAFolderThatFlipsNeverWins(t *testing.T) {
	needRoot(t)
	dir := publicDir(t)
	victim, conf := filepath.Join(dir, "victim"), filepath.Join(dir, "conf")
	for _, e := range []entry{{"victim", 0, fs.ModeDir | 0o755, ""}, {"victim/f", 0, 0o644, ""}, {"victim/open", 0, 0o600, ""}} {
		e.make(t, dir)
	}
	want := tree(t, victim)
	_, lines := start(t, asNobody(), publicProgram(t), "inhabitant", conf, victim)
	lines.Scan()
	mode := fs.FileMode(0o640)
	delivered := 0
	for end := time.Now().Add(time.Second); time.Now().Before(end) || delivered == 0; {
		for _, path := range []string{conf, filepath.Join(dir, storePrefix+"conf")} {
			old := filepath.Join(dir, "old") // out of the attacker's reach
			_ = os.Rename(path, old)         // there may be none
			for tries := 0; ; tries++ {      // what the attacker had begun may still put something there
				err := os.RemoveAll(old)
				if err == nil {
					break
				}
				if tries == 1000 {
					t.Fatal(err)
				}
			}
		}
		for _, e := range []entry{{"new", nobody, fs.ModeDir | 0o755, ""}, {"new/f", nobody, 0o600, ""}, {"new/g", nobody, 0o600, ""}} {
			e.make(t, dir)
		}
		if err := os.Rename(filepath.Join(dir, "new"), conf); err != nil {
			t.Fatal(err)
		}
		l := newLedger(t)
		for n := range 3 {
			files := []File{
				{Destination: filepath.Join(conf, "f"), Content: secret.Text(fmt.Sprint("value ", n)), Layout: Directory, UID: new(nobody), GID: new(nobody), Mode: &mode},
				{Destination: filepath.Join(conf, "g"), Content: secret.Text("same"), Layout: Directory, UID: new(nobody), Mode: &mode},
			}
			if deliver(l, Plan{}, files...) == nil {
				delivered++
			}
		}
	}
	unharmed(t, victim, want)
	t.Logf("%d delivered", delivered)
}

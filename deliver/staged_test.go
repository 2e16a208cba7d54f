package deliver

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"outrider/secret"
)

// put delivers files and returns what changed.
func put(t *testing.T, files ...File) []string {
	t.Helper()
	l := newLedger(t)
	staged, err := l.Stage(files)
	if err != nil {
		t.Fatal(err)
	}
	changed := staged.Changed()
	if _, err := l.Commit(staged, Plan{}); err != nil {
		t.Fatal(err)
	}
	return changed
}

// newLedger returns the ledger of an app that nothing was delivered to yet.
func newLedger(t *testing.T, targets ...Target) *Ledger {
	t.Helper()
	return reopen(t, t.TempDir(), targets...)
}

// reopen opens an app's ledger, as after a restart.
func reopen(t *testing.T, state string, targets ...Target) *Ledger {
	t.Helper()
	l, err := openLedger(state, targets...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = errors.Join(l.Close(), l.state.Close()) })
	return l
}

// write makes a file of exactly that mode.
func write(t *testing.T, path, text string, mode fs.FileMode) {
	t.Helper()
	if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chmod(path, mode)); err != nil {
		t.Fatal(err)
	}
}

// tree lists every path below dir, with type, mode, and text or target. Our
// own folders stay, and are left out unless something is in them.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var entries []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		if strings.Contains(name, ".outrider-") && d.IsDir() && !holds(path) {
			return fs.SkipDir
		}
		var text []byte
		switch d.Type() {
		case fs.ModeSymlink:
			target, err := os.Readlink(path)
			entries = append(entries, name+" -> "+target)
			return err
		case 0:
			text, err = os.ReadFile(path)
		}
		entries = append(entries, fmt.Sprintf("%s %s %s", name, info.Mode(), text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// holds reports whether there is anything but folders below dir.
func holds(dir string) bool {
	errFound := errors.New("found")
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			return errFound
		}
		return nil
	})
	return errors.Is(err, errFound)
}

func sys(t *testing.T, path string) *syscall.Stat_t {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t)
}

func TestCommit(t *testing.T) {
	tests := []struct {
		name    string
		old     string // empty: no file
		oldMode fs.FileMode
		mode    *fs.FileMode
		text    string
		changed bool
		want    string
	}{
		{"a new file is made with mode 0600", "", 0, nil, "new", true, "f -rw------- new"},
		{"a new file is made with the mode asked for", "", 0, new(fs.FileMode(0o640)), "new", true, "f -rw-r----- new"},
		{"a changed file keeps its mode", "old", 0o664, nil, "new", true, "f -rw-rw-r-- new"},
		{"a changed file takes the mode asked for", "old", 0o644, new(fs.FileMode(0o400)), "new", true, "f -r-------- new"},
		{"content of the same length is changed too", "old", 0o600, nil, "new", true, "f -rw------- new"},
		{"shorter content leaves nothing of the old", "long old text", 0o600, nil, "n", true, "f -rw------- n"},
		{"empty content is content", "old", 0o600, nil, "", true, "f -rw------- "},
		{"same content is left alone", "same", 0o640, nil, "same", false, "f -rw-r----- same"},
		{"same content under a drifted mode is repaired in silence", "same", 0o666, new(fs.FileMode(0o640)), "same", false, "f -rw-r----- same"},
		{"only permission bits are kept", "old", 0o755 | fs.ModeSetuid, nil, "new", true, "f -rwxr-xr-x new"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "f")
			if tt.old != "" {
				write(t, path, tt.old, tt.oldMode)
			}
			var want []string
			if tt.changed {
				want = []string{path}
			}
			got := put(t, File{Destination: path, Content: secret.Text(tt.text), Mode: tt.mode})
			if diff := cmp.Diff(got, want); diff != "" {
				t.Errorf("changed (-got +want):\n%s", diff)
			}
			if diff := cmp.Diff(tree(t, dir), []string{tt.want}); diff != "" {
				t.Errorf("folder (-got +want):\n%s", diff)
			}
		})
	}
}

func TestSameContentTouchesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	write(t, path, "same", 0o644)
	past := time.Unix(1_000_000_000, 0)
	if err := errors.Join(os.Chtimes(path, past, past), os.Chtimes(dir, past, past)); err != nil {
		t.Fatal(err)
	}
	before, folder := sys(t, path), sys(t, dir)
	put(t, File{Destination: path, Content: secret.Text("same")})
	after := sys(t, path)
	if after.Ino != before.Ino || after.Mtim != before.Mtim || after.Ctim != before.Ctim {
		t.Errorf("file: got inode, mtime and ctime %d %v %v, want %d %v %v",
			after.Ino, after.Mtim, after.Ctim, before.Ino, before.Mtim, before.Ctim)
	}
	if got := sys(t, dir); got.Mtim != folder.Mtim {
		t.Errorf("folder: got mtime %v, want %v", got.Mtim, folder.Mtim)
	}
}

func TestOwnerAndGroup(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	file := File{Destination: path, Content: secret.Text("one"), UID: new(nobody), GID: new(nobody), Mode: new(fs.FileMode(0o640))}
	check := func(step string, uid, gid, mode uint32, text string) {
		t.Helper()
		st := sys(t, path)
		got, _ := os.ReadFile(path)
		if st.Uid != uid || st.Gid != gid || st.Mode&0o7777 != mode || string(got) != text {
			t.Errorf("%s: got %d %d %04o %q, want %d %d %04o %q", step, st.Uid, st.Gid, st.Mode&0o7777, got, uid, gid, mode, text)
		}
	}
	put(t, file)
	check("a new file is given away", nobody, nobody, 0o640, "one")
	put(t, File{Destination: path, Content: secret.Text("two")})
	check("a changed file keeps its owner", nobody, nobody, 0o640, "two")
	if err := errors.Join(os.Chown(path, 1, 1), os.Chmod(path, 0o666)); err != nil {
		t.Fatal(err)
	}
	inode := sys(t, path).Ino
	file.Content = secret.Text("two")
	if got := put(t, file); got != nil {
		t.Errorf("drift counts as a change: %q", got)
	}
	check("a drifted file is repaired", nobody, nobody, 0o640, "two")
	if got := sys(t, path).Ino; got != inode {
		t.Errorf("a repaired file is another file: inode %d, want %d", got, inode)
	}
}

func TestStagedFilesAreWholeAndClosedToOthers(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	write(t, path, "old", 0o600)
	l := newLedger(t)
	staged, err := l.Stage([]File{
		{Destination: path, Content: secret.Text("new"), Mode: new(fs.FileMode(0o644))},
		{Destination: path + "2", Content: secret.Text("new2")},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		".outrider-app drwx------ ",
		".outrider-app/1 drwx------ ",
		".outrider-app/1/f -rw-r--r-- new",
		".outrider-app/1/f2 -rw------- new2",
		"f -rw------- old",
	}
	if diff := cmp.Diff(tree(t, dir), want); diff != "" {
		t.Errorf("staged (-got +want):\n%s", diff)
	}
	if err := errors.Join(staged.Discard(), staged.Discard()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(tree(t, dir), []string{"f -rw------- old"}); diff != "" {
		t.Errorf("discarded (-got +want):\n%s", diff)
	}
}

func TestAppsShareAFolder(t *testing.T) {
	dir := t.TempDir()
	one := newLedger(t)
	two, err := one.state.Open("two", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer two.Close()
	staged1, err1 := one.Stage([]File{{Destination: filepath.Join(dir, "a"), Content: secret.Text("1")}})
	staged2, err2 := two.Stage([]File{{Destination: filepath.Join(dir, "b"), Content: secret.Text("2")}})
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	_, err1 = one.Commit(staged1, Plan{})
	_, err2 = two.Commit(staged2, Plan{})
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(tree(t, dir), []string{"a -rw------- 1", "b -rw------- 2"}); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
}

// A crash leaves secrets behind: they go even when there is nothing to write.
func TestStaleStagingIsRemoved(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	write(t, path, "same", 0o600)
	file := File{Destination: path, Content: secret.Text("same")}
	for _, text := range []string{"left", "left too"} {
		if _, err := newLedger(t).Stage([]File{{Destination: path, Content: secret.Text(text)}}); err != nil {
			t.Fatal(err)
		}
	}
	put(t, file)
	if diff := cmp.Diff(tree(t, dir), []string{"f -rw------- same"}); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
}

func TestStagingFolderOfSomebodyElse(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	stale := filepath.Join(dir, ".outrider-app")
	if err := errors.Join(os.Mkdir(stale, 0o700), os.Chown(stale, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(stale, "precious"), "x", 0o600)
	_, err := newLedger(t).Stage([]File{{Destination: filepath.Join(dir, "f"), Content: secret.Text("new")}})
	if err == nil || !strings.Contains(err.Error(), ".outrider-app: something is there that is not ours") {
		t.Errorf("got error %v", err)
	}
	want := []string{".outrider-app drwx------ ", ".outrider-app/precious -rw------- x"}
	if diff := cmp.Diff(tree(t, dir), want); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
}

// Every bad file is named, and the good ones beside it stay as they are.
func TestStageRefuses(t *testing.T) {
	dir := t.TempDir()
	in := func(names ...string) string { return filepath.Join(append([]string{dir}, names...)...) }
	write(t, in("good"), "old", 0o600)
	write(t, in("plain"), "old", 0o600)
	if err := errors.Join(
		os.Mkdir(in("folder"), 0o755),
		os.Mkdir(in("open"), 0o755), os.Chmod(in("open"), 0o777),
		unix.Mkfifo(in("fifo"), 0o600),
		os.Symlink("good", in("link")),
		os.Symlink("loop", in("loop")),
		os.Symlink("gone/there", in("dangling")),
		os.Symlink("folder/", in("tofolder")),
		os.Symlink("..", in("up")),
	); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		file File
		want string
	}{
		{"a folder that is not there", File{Destination: in("no", "such", "f")},
			"folder " + in("no", "such") + ": no such file or directory: create it: mkdir -p " + in("no", "such")},
		{"a folder that is a file", File{Destination: in("plain", "f")}, "folder " + in("plain") + ": not a directory"},
		{"a folder that everybody may write", File{Destination: in("open", "f")},
			"folder " + in("open") + ": everybody may replace what stands in it: chmod o-w " + in("open")},
		{"a destination that is a folder", File{Destination: in("folder")}, "is a folder: name a file in it"},
		{"a link to a folder", File{Destination: in("tofolder")}, "is a folder: name a file in it"},
		{"a link upwards", File{Destination: in("up")}, "is a folder: name a file in it"},
		{"a named pipe", File{Destination: in("fifo")}, "is neither a file nor a symbolic link: remove it"},
		{"a link that is not to be there", File{Destination: in("link"), Symlink: Refuse},
			"is a symbolic link: set symlink: follow or symlink: replace"},
		{"a link to itself", File{Destination: in("loop")}, "too many levels of symbolic links"},
		{"a link into a folder that is not there", File{Destination: in("dangling")},
			"folder " + in("gone") + ": no such file or directory: create it: mkdir -p " + in("gone")},
		{"a relative path", File{Destination: "f"}, "not an absolute, clean path"},
		{"a path with dots", File{Destination: in("folder") + "/../f"}, "not an absolute, clean path"},
		{"the root", File{Destination: "/"}, "is a folder: name a file in it"},
		{"a name that is too long", File{Destination: in(strings.Repeat("x", 300))}, "file name too long: shorten it"},
		{"an unknown way to treat links", File{Destination: in("f"), Symlink: 9}, "no such way to treat a symbolic link: 9"},
		{"a file that is another's too", File{Destination: in("link")}, "is the destination of another file of the app too"},
	}
	good := File{Destination: in("good"), Content: secret.Text("new")}
	before := tree(t, dir)
	all := []File{good}
	for _, tt := range tests {
		all = append(all, tt.file)
		t.Run(tt.name, func(t *testing.T) {
			staged, err := newLedger(t).Stage([]File{good, tt.file})
			if staged != nil || err == nil {
				t.Fatalf("got %v, error %v", staged, err)
			}
			var bad *FileError
			if !errors.As(err, &bad) || bad.Destination != tt.file.Destination {
				t.Errorf("got error %#v, want a FileError of %s", err, tt.file.Destination)
			}
			if got := err.Error(); !strings.HasPrefix(got, "file "+tt.file.Destination+": ") || !strings.HasSuffix(got, tt.want) {
				t.Errorf("got  %s\nwant file %s: …%s", got, tt.file.Destination, tt.want)
			}
		})
	}
	_, err := newLedger(t).Stage(all)
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok || len(joined.Unwrap()) != len(tests) {
		t.Errorf("all at once: got %v, want one error for each bad file", err)
	}
	if diff := cmp.Diff(tree(t, dir), before); diff != "" {
		t.Errorf("folder after the refusals (-got +want):\n%s", diff)
	}
	if _, err := newLedger(t).state.Open("a/b", nil); err == nil {
		t.Error("an app's name with a slash is accepted")
	}
}

// One broken file holds up all of its app, until it is mended.
func TestOneBrokenFileOfThree(t *testing.T) {
	s, root := stories()[0], t.TempDir()
	if err := s.begin(root); err != nil {
		t.Fatal(err)
	}
	l := reopen(t, filepath.Join(root, "state"), &recorder{})
	broken := s.paths(root)[1]
	if err := errors.Join(os.Remove(broken), os.Mkdir(broken, 0o755)); err != nil {
		t.Fatal(err)
	}
	before := tree(t, filepath.Join(root, "x"))
	for range 2 {
		if n, err := s.commit(l, root, 1, false); n != 0 || err == nil || !strings.Contains(err.Error(), "file "+broken+": is a folder") {
			t.Errorf("got generation %d, error %v", n, err)
		}
	}
	if diff := cmp.Diff(tree(t, filepath.Join(root, "x")), before); diff != "" || l.Progress().Generation != 0 {
		t.Errorf("progress %+v (-got +want):\n%s", l.Progress(), diff)
	}
	if err := os.Remove(broken); err != nil {
		t.Fatal(err)
	}
	if n, err := s.commit(l, root, 1, false); n != 1 || err != nil {
		t.Errorf("mended: got generation %d, error %v", n, err)
	}
	if text, err := s.read(root); text != s.text(1) {
		t.Errorf("mended: got %q, error %v", text, err)
	}
}

func TestUnwritableFolder(t *testing.T) {
	needRoot(t)
	program, dir, state := publicProgram(t), publicDir(t), publicDir(t)
	if err := os.Chown(state, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "f"), "old", 0o644)
	_, says := start(t, asNobody(), program, "stager", filepath.Join(dir, "f"), state)
	says.Scan()
	if got, want := says.Text(), fmt.Sprintf("permission denied: let uid %d read, write and search %s", nobody, dir); !strings.HasSuffix(got, want) {
		t.Errorf("got  %s\nwant …%s", got, want)
	}
	if diff := cmp.Diff(tree(t, dir), []string{"f -rw-r--r-- old"}); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
}

// Not every file system that is needed can be had in a test.
func TestRemedies(t *testing.T) {
	tests := []struct {
		cause error
		want  string
	}{
		{unix.EROFS, "remount it writable, or under systemd list /etc/billing in ReadWritePaths="},
		{unix.EACCES, fmt.Sprintf("let uid %d read, write and search /etc/billing", os.Geteuid())},
		{unix.ENOSPC, "free space or inodes on the file system of /etc/billing"},
		{unix.EDQUOT, fmt.Sprintf("raise the quota of uid %d on the file system of /etc/billing", os.Geteuid())},
		{unix.ENAMETOOLONG, "shorten it"},
		{unix.ENOENT, "create it: mkdir -p /etc/billing"},
		{unix.EIO, "look at the kernel's log, and after the disk of /etc/billing"},
		{unix.ELOOP, "too many levels of symbolic links"},
	}
	for _, tt := range tests {
		err := inFolder(&fs.PathError{Op: "write", Path: "hidden", Err: tt.cause}, "write its staged copy", "/etc/billing")
		if got := err.Error(); !errors.Is(err, tt.cause) || !strings.HasPrefix(got, "write its staged copy: ") || !strings.HasSuffix(got, ": "+tt.want) || strings.Contains(got, "hidden") {
			t.Errorf("%v: got %q, want it to end in %q", tt.cause, got, tt.want)
		}
	}
}

// mount mounts a file system for the test, or leaves the test out.
func mount(t *testing.T, source, target, kind string, flags uintptr, options string) {
	t.Helper()
	needRoot(t)
	if err := unix.Mount(source, target, kind, flags, options); err != nil {
		t.Skipf("left out: no leave to mount: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(target, unix.MNT_DETACH) })
}

func TestFullFileSystem(t *testing.T) {
	dir := t.TempDir()
	mount(t, "tmpfs", dir, "tmpfs", 0, "size=64k,mode=755")
	write(t, filepath.Join(dir, "f"), "old", 0o644)
	_, err := newLedger(t).Stage([]File{
		{Destination: filepath.Join(dir, "f"), Content: secret.Text("new")},
		{Destination: filepath.Join(dir, "g"), Content: secret.NewValue(bytes.Repeat([]byte("canary "), 20_000))},
	})
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "free space or inodes on the file system of "+dir) {
		t.Errorf("got error %v", err)
	}
	if err != nil && strings.Contains(err.Error(), "canary") {
		t.Error("the error shows the content")
	}
	if diff := cmp.Diff(tree(t, dir), []string{"f -rw-r--r-- old"}); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
}

func TestReadOnlyFileSystem(t *testing.T) {
	dir := t.TempDir()
	mount(t, "tmpfs", dir, "tmpfs", 0, "size=64k,mode=755")
	write(t, filepath.Join(dir, "f"), "old", 0o644)
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	_, err := newLedger(t).Stage([]File{{Destination: filepath.Join(dir, "f"), Content: secret.Text("new")}})
	if !errors.Is(err, unix.EROFS) || !strings.Contains(err.Error(), "list "+dir+" in ReadWritePaths=") {
		t.Errorf("got error %v", err)
	}
	if got := put(t, File{Destination: filepath.Join(dir, "f"), Content: secret.Text("old")}); got != nil {
		t.Errorf("unchanged content: got changes %q", got)
	}
}

func TestMountedFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	write(t, path, "old", 0o644)
	mount(t, path, path, "", unix.MS_BIND, "")
	_, err := newLedger(t).Stage([]File{{Destination: path, Content: secret.Text("new")}})
	if err == nil || !strings.Contains(err.Error(), "is mounted by itself and cannot be replaced: mount its folder instead") {
		t.Errorf("got error %v", err)
	}
}

// A destination that becomes a folder after staging stops the commit there,
// and nothing is left lying about.
func TestCommitStopsWhole(t *testing.T) {
	dir := t.TempDir()
	var files []File
	for _, name := range []string{"a", "b", "c"} {
		write(t, filepath.Join(dir, name), "old", 0o600)
		files = append(files, File{Destination: filepath.Join(dir, name), Content: secret.Text("new")})
	}
	l := newLedger(t)
	staged, err := l.Stage(files)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(filepath.Join(dir, "b")), os.Mkdir(filepath.Join(dir, "b"), 0o755)); err != nil {
		t.Fatal(err)
	}
	var bad *FileError
	if _, err := l.Commit(staged, Plan{}); !errors.As(err, &bad) || bad.Destination != filepath.Join(dir, "b") {
		t.Errorf("got error %v, want one of b", err)
	}
	if diff := cmp.Diff(tree(t, dir), []string{"a -rw------- new", "b drwxr-xr-x ", "c -rw------- old"}); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
	if _, err := l.Commit(staged, Plan{}); err == nil {
		t.Error("a second Commit says that it worked")
	}
}

func TestReaderSeesWholeFiles(t *testing.T) {
	dir := t.TempDir()
	l := newLedger(t)
	if err := deliverAll(l, dir, 1); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	stop := make(chan struct{})
	go func() {
		last := uint64(0)
		for {
			b, err := os.ReadFile(filepath.Join(dir, "b"))
			n, ok := whole(b)
			if err != nil || !ok || n < last {
				done <- fmt.Errorf("read %d bytes, error %w: whole %t, generation %d after %d", len(b), err, ok, n, last)
				return
			}
			last = n
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
		}
	}()
	for n := uint64(2); n < 200; n++ {
		if err := deliverAll(l, dir, n); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

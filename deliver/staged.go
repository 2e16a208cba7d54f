package deliver

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"outrider/secret"
)

// Staged is what Prepare found to be done. Exactly one of Commit and Discard
// ends it. It is not safe for concurrent use.
type Staged struct {
	app, generation string
	rooms           []*room
	changes         []*change
	drifts          []*drift
}

// room is a folder in which destinations stand, open from Prepare to the end,
// with the staging folder in it.
type room struct {
	folder *os.File
	stage  int // descriptor of .outrider-APP/GENERATION; -1 until something is staged
	names  map[string]bool
}

// change is a destination that gets new content.
type change struct {
	file File
	room *room
	name string
	attributes
}

// drift is a destination whose content is as wanted and whose owner or mode
// is not.
type drift struct {
	file *os.File
	attributes
}

// Prepare looks at the destinations of an app's files and stages those whose
// content differs in .outrider-APP/GENERATION beside them: written, owned,
// synced, and in no reader's way. What a crash left in such a folder is
// removed. Files whose content is the same are not touched. The error joins
// one *FileError for each file that cannot be delivered; then nothing is
// staged. Only one Prepare of an app may be open at a time on a machine.
// It blocks for as long as the file system does.
func Prepare(app string, generation uint64, files []File) (*Staged, error) {
	if app == "" || strings.ContainsAny(app, "/\x00") {
		return nil, fmt.Errorf("app %q: its name cannot be part of a file name", app)
	}
	s := &Staged{app: app, generation: strconv.FormatUint(generation, 10)}
	w := newWalker()
	defer w.close()
	rooms := make(map[inode]*room)
	var errs []error
	for _, f := range files {
		if err := s.look(w, rooms, f); err != nil {
			errs = append(errs, &FileError{f.Destination, err})
		}
	}
	if len(errs) == 0 {
		for _, c := range s.changes {
			if err := s.stage(c); err != nil {
				errs = append(errs, &FileError{c.file.Destination, err})
			}
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(append(errs, s.Discard())...)
	}
	return s, nil
}

// Changed returns the destinations that get new content, in the order in
// which the files were given.
func (s *Staged) Changed() []string {
	var paths []string
	for _, c := range s.changes {
		paths = append(paths, c.file.Destination)
	}
	return paths
}

// Commit repairs the owner and mode of unchanged files, renames the staged
// ones into place and syncs each folder once. It stops at the first error,
// a *FileError: files before that one may have been replaced, each of them
// whole, so that once a later Commit succeeds the application must be told
// even if that one changes nothing.
func (s *Staged) Commit() error {
	err := s.repair()
	touched := make(map[*room]bool)
	if err == nil {
		err = s.rename(touched)
	}
	err = errors.Join(err, s.unstage())
	for r := range touched {
		if syncErr := r.folder.Sync(); syncErr != nil {
			err = errors.Join(err, inFolder(syncErr, "sync folder "+r.folder.Name(), r.folder.Name()))
		}
	}
	return errors.Join(err, s.close())
}

// Discard removes what is staged and leaves every destination as it is.
// After Commit or another Discard it does nothing.
func (s *Staged) Discard() error {
	return errors.Join(s.unstage(), s.close())
}

func (s *Staged) repair() error {
	for _, d := range s.drifts {
		if err := d.apply(d.file); err != nil {
			return &FileError{d.file.Name(), err}
		}
	}
	return nil
}

func (s *Staged) rename(touched map[*room]bool) error {
	for _, c := range s.changes {
		r := c.room
		if err := unix.Renameat(r.stage, c.name, int(r.folder.Fd()), c.name); err != nil {
			return &FileError{c.file.Destination, inFolder(err, "rename the staged file over it", r.folder.Name())}
		}
		touched[r] = true
	}
	return nil
}

// unstage removes the staging folders that this Prepare made.
func (s *Staged) unstage() error {
	var errs []error
	for _, r := range s.rooms {
		if r.stage < 0 {
			continue
		}
		_ = unix.Close(r.stage)
		r.stage = -1
		errs = append(errs, r.sweep(s.staging()))
	}
	return errors.Join(errs...)
}

func (s *Staged) close() error {
	for _, d := range s.drifts {
		_ = d.file.Close()
	}
	for _, r := range s.rooms {
		_ = r.folder.Close()
	}
	s.drifts, s.rooms = nil, nil
	return nil
}

// staging is the name of the app's staging folder in each room.
func (s *Staged) staging() string { return ".outrider-" + s.app }

// inode identifies a folder under all of its names.
type inode struct {
	major, minor uint32
	ino          uint64
}

// enter opens the folder as a room, or finds it among those already open,
// and removes what a crash left in it.
func (s *Staged) enter(f *folder, rooms map[inode]*room) (*room, error) {
	st, err := f.stat(".")
	if err != nil {
		return nil, inFolder(err, "folder "+f.path, f.path)
	}
	id := inode{st.Dev_major, st.Dev_minor, st.Ino}
	if r := rooms[id]; r != nil {
		return r, nil
	}
	fd, err := openat(f.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, inFolder(err, "open folder "+f.path, f.path)
	}
	r := &room{folder: os.NewFile(uintptr(fd), f.path), stage: -1, names: make(map[string]bool)}
	rooms[id] = r
	s.rooms = append(s.rooms, r)
	_ = r.sweep(s.staging()) // where it matters, staging fails and says why
	return r, nil
}

// look decides what one file needs: nothing, other attributes, or staging.
func (s *Staged) look(w *walker, rooms map[inode]*room, f File) error {
	if err := f.check(); err != nil {
		return err
	}
	at, name, st, err := w.locate(f.Destination, f.Symlink)
	if err != nil {
		return err
	}
	if err := f.mayReplace(w, at, name, st); err != nil {
		return err
	}
	r, err := s.enter(at, rooms)
	if err != nil {
		return err
	}
	if r.names[name] {
		return errors.New("is the destination of another file of the app too")
	}
	r.names[name] = true
	if st != nil && st.Mode&unix.S_IFMT == unix.S_IFLNK {
		st = nil // it is replaced, and nothing of it kept
	}
	want := f.wanted(st)
	if st != nil && st.Size == uint64(f.Content.Len()) {
		same, err := s.compare(r, name, f, st, want)
		if same || err != nil {
			return err
		}
	}
	s.changes = append(s.changes, &change{f, r, name, want})
	return nil
}

// mayReplace refuses what is not a file, and a file that somebody may have
// planted to become its owner or to set its mode.
func (f File) mayReplace(w *walker, at *folder, name string, st *unix.Statx_t) error {
	if st == nil {
		return nil
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		if st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0 {
			return errors.New("is mounted by itself and cannot be replaced: mount its folder instead")
		}
	case unix.S_IFLNK:
		return nil
	case unix.S_IFDIR:
		return errors.New("is a folder: name a file in it")
	default:
		return errors.New("is neither a file nor a symbolic link: remove it")
	}
	if f.UID != nil && *f.UID == int(st.Uid) {
		return nil
	}
	return at.owns(w, name, st.Uid)
}

// compare reports whether the file in the room already has f's content, and
// notes it when only its attributes are not as wanted.
func (s *Staged) compare(r *room, name string, f File, st *unix.Statx_t, want attributes) (bool, error) {
	fd, err := openat(int(r.folder.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return false, fmt.Errorf("read it to compare: %w: let uid %d read it", err, os.Geteuid())
	}
	file := os.NewFile(uintptr(fd), f.Destination)
	var now unix.Stat_t
	if err := unix.Fstat(fd, &now); err == nil && now.Ino != st.Ino {
		err = errors.New("another file took its place while it was looked at")
		return false, errors.Join(err, file.Close())
	}
	content := make([]byte, f.Content.Len())
	_, err = io.ReadFull(file, content)
	same := err == nil && f.Content.Equal(secret.NewValue(content))
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil // it just became shorter
	}
	drifted := want.uid != int(st.Uid) || want.gid != int(st.Gid) || want.mode != uint32(st.Mode)&0o7777
	if same && drifted {
		s.drifts = append(s.drifts, &drift{file, want})
		return true, nil
	}
	return same, errors.Join(err, file.Close())
}

// stage writes the new content beside its destination, under its final
// owner and mode, and syncs it.
func (s *Staged) stage(c *change) error {
	if err := c.room.open(s.staging(), s.generation); err != nil {
		return err
	}
	folder := c.room.folder.Name()
	fd, err := openat(c.room.stage, c.name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return inFolder(err, "stage it", folder)
	}
	file := os.NewFile(uintptr(fd), c.file.Destination)
	_, err = file.Write(c.file.Content.Reveal())
	err = inFolder(err, "write its staged copy", folder)
	if err == nil {
		err = c.apply(file)
	}
	if err == nil {
		err = inFolder(file.Sync(), "sync its staged copy", folder)
	}
	return errors.Join(err, file.Close())
}

// open makes the room's staging folder, which only we can enter, unless that
// is done.
func (r *room) open(staging, generation string) error {
	if r.stage >= 0 {
		return nil
	}
	path := filepath.Join(r.folder.Name(), staging)
	if err := unix.Mkdirat(int(r.folder.Fd()), staging, 0o700); err != nil {
		if errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("make folder %s: something is there that is not ours or cannot be removed: remove it", path)
		}
		return inFolder(err, "make folder "+path, r.folder.Name())
	}
	outer, err := r.ours(staging)
	if err != nil {
		return inFolder(err, "open folder "+path, r.folder.Name())
	}
	defer outer.Close()
	err = unix.Mkdirat(int(outer.Fd()), generation, 0o700)
	if err == nil {
		r.stage, err = openat(int(outer.Fd()), generation, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	}
	if err != nil {
		r.stage = -1
		return errors.Join(inFolder(err, "make folder "+filepath.Join(path, generation), r.folder.Name()), r.sweep(staging))
	}
	return nil
}

// ours opens the folder called name in the room, if it is ours alone.
func (r *room) ours(name string) (*os.File, error) {
	fd, err := openat(int(r.folder.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), filepath.Join(r.folder.Name(), name))
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	if err == nil && (int(st.Uid) != os.Geteuid() || st.Mode&0o077 != 0) {
		err = fmt.Errorf("belongs to uid %d with mode %04o, not to us alone", st.Uid, st.Mode&0o7777)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// sweep removes the staging folder from the room, if there is one and it is
// ours.
func (r *room) sweep(staging string) error {
	f, err := r.ours(staging)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	path := filepath.Join(r.folder.Name(), staging)
	if err != nil {
		return fmt.Errorf("remove folder %s: %w", path, err)
	}
	err = errors.Join(empty(f), f.Close(), unix.Unlinkat(int(r.folder.Fd()), staging, unix.AT_REMOVEDIR))
	return inFolder(err, "remove folder "+path, r.folder.Name())
}

// empty removes all that is in a folder, following nothing.
func empty(dir *os.File) error {
	names, err := dir.Readdirnames(-1)
	for _, name := range names {
		unlinkErr := unix.Unlinkat(int(dir.Fd()), name, 0)
		if errors.Is(unlinkErr, unix.EISDIR) {
			var fd int
			if fd, unlinkErr = openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0); unlinkErr == nil {
				sub := os.NewFile(uintptr(fd), name)
				unlinkErr = errors.Join(empty(sub), sub.Close(), unix.Unlinkat(int(dir.Fd()), name, unix.AT_REMOVEDIR))
			}
		}
		err = errors.Join(err, unlinkErr)
	}
	return err
}

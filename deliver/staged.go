package deliver

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"outrider/secret"
)

// Staged is what was found to be done to an app's files. Exactly one of
// Commit and Discard ends it. It is not safe for concurrent use.
type Staged struct {
	state      *State // nil: nothing is written down
	durable    map[string]bool
	app        string
	generation uint64
	files      []File
	rooms      []*room
	changes    []*change
	same       []*change
	copies     []*change // of the same, those that go into a new folder
	drifts     []*drift
	flip       *flip // layout: directory
	news       bool  // also without a change
	alone      bool  // it is one rename, for which no folder has to be synced before
	volatile   bool  // nothing has to be synced
	end        func()
}

// change is one file on its way to its destination.
type change struct {
	file File
	room *room
	name string
	old  *unix.Statx_t // nil: there is none, or a link that goes
	from *os.File      // the folder it stands in, under the same name; nil until it is staged
	attributes
}

// drift is a destination whose content is as wanted and whose owner or mode
// is not.
type drift struct {
	file *os.File
	attributes
}

// stage looks at the destinations and stages those whose content differs.
func stage(s *Staged, now standing) (*Staged, error) {
	s.generation, s.news = now.Generation+1, now.Torn != ""
	w := newWalker()
	defer w.close()
	err := s.survey(w)
	for _, r := range s.rooms {
		r.tidy(now.Awaits)
	}
	if s.flip != nil {
		s.flip.tidy(now)
	}
	if err == nil && len(s.changes) > 0 {
		err = s.fill(now)
	}
	if err == nil {
		return s, nil
	}
	if left := s.Discard(); left != nil {
		err = errors.Join(err, left)
	}
	return nil, err
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

// News reports whether there is a generation to commit: some file changes, or
// the last commit ended half-way.
func (s *Staged) News() bool { return s.news || len(s.changes) > 0 }

// Path returns where the new content of a destination stands before Commit,
// for a command that checks it: the destination itself when it does not
// change.
func (s *Staged) Path(destination string) string {
	for _, list := range [][]*change{s.changes, s.same} {
		for _, c := range list {
			if c.file.Destination == destination && c.from != nil {
				return filepath.Join(c.from.Name(), c.name)
			}
		}
	}
	return destination
}

// Discard removes what is staged and leaves every destination as it is.
// After Commit or another Discard it does nothing.
func (s *Staged) Discard() error {
	var errs []error
	for _, c := range s.changes {
		if c.from != nil && s.flip == nil {
			if err := unix.Unlinkat(int(c.from.Fd()), c.name, 0); err != nil && !errors.Is(err, unix.ENOENT) {
				errs = append(errs, inFolder(err, "remove "+filepath.Join(c.from.Name(), c.name), c.room.folder.Name()))
			}
		}
	}
	if s.flip != nil {
		errs = append(errs, s.flip.discard())
	}
	s.close()
	return errors.Join(errs...)
}

func (s *Staged) close() {
	for _, d := range s.drifts {
		_ = d.file.Close()
	}
	for _, r := range s.rooms {
		r.close()
	}
	if s.flip != nil {
		s.flip.close()
	}
	if s.end != nil {
		s.end()
	}
	*s = Staged{}
}

// survey looks at every file, and changes nothing. The error joins one
// *FileError for each that cannot be delivered.
func (s *Staged) survey(w *walker) error {
	var errs []error
	rooms := make(map[inode]*room)
	for _, f := range s.files {
		if err := s.look(w, rooms, f); err != nil {
			errs = append(errs, &FileError{f.Destination, err})
		}
	}
	return errors.Join(errs...)
}

// place finds where one file stands, or is to stand, if it may.
func (s *Staged) place(w *walker, rooms map[inode]*room, f File) (*change, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	if f.Layout != s.files[0].Layout {
		return nil, errors.New("all files of an app have one layout")
	}
	c, err := s.locate(w, rooms, f)
	if err != nil {
		return nil, err
	}
	if err := f.mayReplace(w, &c.room.place, c.name, c.old); err != nil {
		return nil, err
	}
	if c.room.names[c.name] {
		return nil, errors.New("is the destination of another file of the app too")
	}
	c.room.names[c.name] = true
	return c, nil
}

// look decides what one file needs: nothing, other attributes, or staging.
func (s *Staged) look(w *walker, rooms map[inode]*room, f File) error {
	c, err := s.place(w, rooms, f)
	if err != nil {
		return err
	}
	if c.old != nil && c.old.Mode&unix.S_IFMT == unix.S_IFLNK {
		c.old = nil // it is replaced, and nothing of it kept
	}
	c.attributes = f.wanted(c.old)
	if c.old != nil && c.old.Size == uint64(f.Content.Len()) {
		same, err := s.compare(c)
		if err != nil {
			return err
		}
		if same {
			s.same = append(s.same, c)
			return nil
		}
	}
	s.changes = append(s.changes, c)
	return nil
}

// locate finds the room and the name of a file, and what stands there.
func (s *Staged) locate(w *walker, rooms map[inode]*room, f File) (*change, error) {
	if f.Layout == Directory {
		return s.locateInFlip(w, f)
	}
	at, name, st, err := w.locate(f.Destination, f.Symlink)
	if err != nil {
		return nil, err
	}
	r, err := s.enter(at, rooms)
	return &change{file: f, room: r, name: name, old: st}, err
}

// enter opens the folder as a room, or finds it among those already open.
func (s *Staged) enter(f *folder, rooms map[inode]*room) (*room, error) {
	st, err := f.stat(".")
	if err != nil {
		return nil, inFolder(err, "folder "+f.path, f.path)
	}
	id := inode{st.Dev_major, st.Dev_minor, st.Ino}
	if r := rooms[id]; r != nil {
		return r, nil
	}
	r, err := openRoom(f, ".outrider-"+s.app)
	if err != nil {
		return nil, err
	}
	rooms[id] = r
	s.rooms = append(s.rooms, r)
	return r, nil
}

// mayReplace refuses what is not a file, and a file that somebody may have
// planted to become its owner or to set its mode.
func (f File) mayReplace(w *walker, at *folder, name string, st *unix.Statx_t) error {
	if st == nil {
		return nil
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		switch {
		case st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0 && !f.InPlace:
			return errors.New("is mounted by itself and cannot be replaced: mount its folder instead, or set in_place: true")
		case f.InPlace && st.Nlink > 1 && at.trust != ours:
			return errShared
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

// compare reports whether the file in the room already has the content, and
// notes it when only its attributes are not as wanted.
func (s *Staged) compare(c *change) (bool, error) {
	file, now, err := c.held(unix.O_RDONLY)
	switch {
	case errors.Is(err, errTaken):
		return false, err
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return false, fmt.Errorf("read it to compare: %w: let uid %d read it", err, os.Geteuid())
	case err != nil:
		return false, inFolder(err, "read it to compare", c.room.place.path)
	}
	content := make([]byte, c.file.Content.Len())
	_, err = io.ReadFull(file, content)
	same := err == nil && c.file.Content.Equal(secret.NewValue(content))
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil // it just became shorter
	}
	drifted := c.uid != int(now.Uid) || c.gid != int(now.Gid) || c.mode != now.Mode&0o7777
	if same && drifted && c.shared(now) {
		same = false // another file takes its place, and it stays as it is
	}
	if same && drifted {
		s.drifts = append(s.drifts, &drift{file, c.attributes})
		return true, nil
	}
	return same, errors.Join(inFolder(err, "read it to compare", c.room.place.path), file.Close())
}

// held opens the file at the destination, if it is still the one that was
// looked at, and returns how that is now.
func (c *change) held(flags int) (*os.File, *unix.Stat_t, error) {
	fd, err := openat(int(c.room.folder.Fd()), c.name, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	file, now := os.NewFile(uintptr(fd), c.file.Destination), new(unix.Stat_t)
	err = unix.Fstat(fd, now)
	switch {
	case err != nil:
	case now.Mode&unix.S_IFMT != unix.S_IFREG || c.old == nil || now.Ino != c.old.Ino:
		err = errTaken
	case flags&unix.O_WRONLY != 0 && c.shared(now):
		err = errShared
	}
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return file, now, nil
}

var (
	errTaken  = errors.New("another file took its place while it was looked at")
	errShared = errors.New("has other names, which others may have given it, and is not rewritten in place: remove them")
)

// shared reports whether a file may be another's than its name says, by a hard
// link: it is neither written nor given away.
func (c *change) shared(st *unix.Stat_t) bool {
	return st.Nlink > 1 && c.room.place.trust != ours
}

// fill stages every change: written, owned and labelled beside its destination,
// and in no reader's way.
func (s *Staged) fill(now standing) error {
	if s.flip != nil {
		if err := s.flip.open(s, now); err != nil {
			return &FileError{s.changes[0].file.Destination, err}
		}
	}
	var errs []error
	for _, c := range append(slices.Clone(s.changes), s.copies...) {
		if err := c.stage(s); err != nil {
			errs = append(errs, &FileError{c.file.Destination, err})
		}
	}
	return errors.Join(errs...)
}

// stage writes the new content beside its destination, under its final
// owner, mode and label.
func (c *change) stage(s *Staged) error {
	folder := c.room.place.path
	var from *os.File
	if s.flip != nil {
		from = s.flip.fill
	} else if err := c.room.openStage(strconv.FormatUint(s.generation, 10)); err != nil {
		return err
	} else {
		from = c.room.stage
	}
	s.between()
	fd, err := openat(int(from.Fd()), c.name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return inFolder(err, "stage it", folder)
	}
	c.from = from
	s.between()
	file := os.NewFile(uintptr(fd), c.file.Destination)
	_, err = file.Write(c.file.Content.Reveal())
	err = inFolder(err, "write its staged copy", folder)
	if err == nil {
		err = c.apply(file)
	}
	if err == nil {
		err = relabel(file, c.room.labelFor(c.name))
	}
	s.between()
	return errors.Join(err, file.Close())
}

// between is State.between.
func (s *Staged) between() {
	if s.state != nil {
		s.state.between()
	}
}

package deliver

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"outrider/secret"
)

// Plan says what a commit is of, and what may become of it.
type Plan struct {
	Snapshot secret.Snapshot // what the files were made from
	Confirm  bool            // the previous files are kept until Confirmed, Keep or RollBack
}

// Stage looks at the destinations of the app's files and stages those whose
// content differs in .outrider-APP/GENERATION beside them (that of the first
// generation that needed such a folder, which is used again), or for layout:
// directory in .outrider_FOLDER/GENERATION beside that folder: written, owned
// and labelled, and in no reader's way. What a crash left there is removed.
// Files whose content is the same are not touched. The error joins one
// *FileError for each file that cannot be delivered; then nothing is staged.
// It blocks for as long as the file system does, and while another Staged of
// the app has not ended.
func (l *Ledger) Stage(files []File) (*Staged, error) {
	l.transaction.Lock()
	l.compact()
	if l.now().Pending != nil {
		_, _ = l.recover() // if it fails, the files are torn, and what comes now mends them
	}
	s, err := stage(&Staged{state: l.state, app: l.app, durable: l.durable, files: files}, l.now())
	if err != nil {
		l.transaction.Unlock()
		return nil, err
	}
	s.end = l.transaction.Unlock
	return s, nil
}

// Commit repairs the owner and mode of unchanged files, makes the staged ones
// durable and moves them to their places, so that a crash at any point leaves
// the whole to Recover. It returns the number of the new generation, of which
// the targets are owed a word; 0 when there was no news. After an error the app
// goes on as it was, unless a file had been moved already: then the files are
// torn, and the next commit is news even if nothing changes. It ends the
// Staged, and blocks as Stage does.
func (l *Ledger) Commit(s *Staged, p Plan) (uint64, error) {
	if s.end == nil {
		return 0, errors.New("what was staged is committed or discarded already")
	}
	err := s.repair()
	if err != nil || !s.News() {
		return 0, errors.Join(err, s.Discard())
	}
	i := l.intent(s, p)
	if p.Confirm {
		err = s.keepPrevious(&i, l.now())
	}
	if err == nil {
		err = l.declare(s, i)
	}
	if err != nil {
		return 0, errors.Join(err, s.Discard())
	}
	awaited := l.now().Awaits
	number, err := l.carryOut(s)
	switch {
	case err != nil && s.flip == nil:
		err = errors.Join(err, s.Discard())
	case err == nil && awaited && !p.Confirm:
		s.forget()
	}
	s.close()
	return number, err
}

// forget removes the previous files, to which nothing goes back any more. What
// stays is removed by the next Stage.
func (s *Staged) forget() {
	for _, r := range s.rooms {
		if r.outer != nil {
			_ = emptyFolder(r.outer, previousName)
		}
	}
}

// carryOut moves the files of the pending intent.
func (l *Ledger) carryOut(s *Staged) (uint64, error) {
	l.state.between()
	moved, err := s.publish()
	if err != nil {
		l.note(record{Kind: failed, Generation: s.generation, Torn: moved, Reason: err.Error()})
		return 0, err
	}
	number := l.committed()
	l.state.between()
	return number, nil
}

func (s *Staged) repair() error {
	for _, d := range s.drifts {
		if err := d.apply(d.file); err != nil {
			return &FileError{d.file.Name(), err}
		}
	}
	return nil
}

// intent writes down all that Recover needs.
func (l *Ledger) intent(s *Staged, p Plan) intent {
	l.mu.Lock()
	i := intent{Versions: versionsOf(p.Snapshot), Owed: namesOf(l.targets), Confirm: p.Confirm}
	known := l.standing.Digests
	l.mu.Unlock()
	if s.flip != nil && s.flip.fill != nil {
		i.Folder = &folderRecord{Path: s.flip.path, Next: s.flip.next, Previous: s.flip.previous}
	}
	for _, c := range s.changes {
		r := c.record(l.state)
		r.Staged = s.Path(r.Destination)
		if r.InPlace {
			r.Old, _ = l.state.digestOf(c.room.folder, c.name) // empty when there is no file
		}
		i.Files = append(i.Files, r)
	}
	for _, c := range s.same {
		if r := c.record(l.state); i.Folder != nil || known[r.Destination] != r.Digest {
			i.Files = append(i.Files, r)
		}
	}
	return i
}

// record is what the journal is told of the file.
func (c *change) record(s *State) fileRecord {
	return fileRecord{
		Destination: c.file.Destination, Digest: s.digest(c.file.Content.Digest()),
		Symlink: c.file.Symlink, InPlace: c.file.InPlace, UID: c.uid, GID: c.gid, Mode: c.mode,
	}
}

// keepPrevious keeps what the changes replace, as hard links, until the new
// generation is confirmed. While the present one is not, what it has replaced
// is kept instead. An exchanged folder is kept anyway.
func (s *Staged) keepPrevious(i *intent, now standing) error {
	if s.flip != nil {
		return nil
	}
	kept := map[string]bool{}
	if now.Awaits {
		for _, f := range now.Undo.Files {
			kept[f.Destination] = true
		}
	}
	for n, c := range s.changes {
		if c.old == nil || kept[c.file.Destination] {
			continue
		}
		if err := c.keepPrevious(); err != nil {
			return &FileError{c.file.Destination, inFolder(err, "keep the previous file", c.room.folder.Name())}
		}
		i.Files[n].Previous = filepath.Join(c.room.previous.Name(), c.name)
		s.between()
	}
	return nil
}

func (c *change) keepPrevious() error {
	if err := c.room.openPrevious(); err != nil {
		return err
	}
	c.room.dirty(c.room.previous)
	from, to := int(c.room.folder.Fd()), int(c.room.previous.Fd())
	if err := unix.Unlinkat(to, c.name, 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	if !c.file.InPlace && unix.Linkat(from, c.name, to, c.name, 0) == nil {
		return nil
	}
	return c.copyPrevious()
}

// copyPrevious keeps what no hard link can: a file that is rewritten in place,
// and one on a file system without links, or of somebody else where that is
// not allowed (fs.protected_hardlinks).
func (c *change) copyPrevious() error {
	from, _, err := c.held(unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer from.Close()
	fd, err := openat(int(c.room.previous.Fd()), c.name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	to := os.NewFile(uintptr(fd), c.name)
	_, err = io.Copy(to, from)
	if err == nil && !c.file.InPlace {
		err = attributes{int(c.old.Uid), int(c.old.Gid), uint32(c.old.Mode) & 0o777}.apply(to)
	}
	if err == nil {
		err = relabel(to, labelOf(from))
	}
	if err == nil {
		err = to.Sync()
	}
	return errors.Join(err, to.Close())
}

// sync makes all that is staged or kept durable, and does what else has to be
// done before anything is moved, all at the same time.
func (s *Staged) sync(also ...func() error) error {
	if s.volatile = s.inMemory(); s.volatile {
		return nil
	}
	todo := also
	for _, c := range append(slices.Clone(s.changes), s.copies...) {
		todo = append(todo, c.sync)
	}
	for _, r := range s.syncedRooms() {
		for _, f := range r.unsynced(s.durable) {
			todo = append(todo, syncing(f))
		}
	}
	err := parallel(todo)
	if err == nil && s.durable != nil {
		for _, r := range s.syncedRooms() {
			s.durable[r.ownPath()] = s.durable[r.ownPath()] || len(r.fresh) > 0
		}
		if s.flip != nil {
			s.durable[s.flip.path] = true
		}
	}
	s.between()
	return err
}

// syncedRooms returns the rooms whose folders have to be synced before
// anything is moved.
func (s *Staged) syncedRooms() []*room {
	switch {
	case s.alone:
		return nil
	case s.flip != nil:
		return []*room{s.flip.room}
	}
	return s.rooms
}

// inMemory reports whether all that changes is in memory. Then nothing is
// synced, not even the journal: after a power loss the files are gone, and are
// news when they are made again, whatever is known of them.
func (s *Staged) inMemory() bool {
	if len(s.changes) == 0 || s.state != nil && s.state.disk {
		return false
	}
	if s.flip != nil {
		return isInMemory(s.flip.folder)
	}
	for _, c := range s.changes {
		if !isInMemory(c.room.folder) {
			return false
		}
	}
	return true
}

// sync makes the staged file durable.
func (c *change) sync() error {
	file, err := openIn(c.from, c.name)
	if err == nil {
		err = errors.Join(file.Sync(), file.Close())
	}
	if err != nil {
		return &FileError{c.file.Destination, inFolder(err, "sync its staged copy", c.room.place.path)}
	}
	return nil
}

// publish moves every change to its place and syncs each folder once. Moved
// reports whether anything of the new content can be seen.
func (s *Staged) publish() (moved bool, err error) {
	if s.flip != nil && s.flip.fill != nil {
		if moved, err := s.flip.exchange(s); err != nil {
			return moved, &FileError{s.flip.path, err}
		}
		s.between()
		todo := []func() error{syncing(s.flip.folder)}
		if s.flip.real {
			todo = append(todo, syncing(s.flip.store))
		}
		if s.volatile {
			todo = nil
		}
		return true, parallel(todo)
	}
	for _, c := range s.changes {
		begun, err := c.publish(s)
		moved = moved || begun
		if err != nil {
			return moved, &FileError{c.file.Destination, err}
		}
		s.between()
	}
	var todo []func() error
	for _, r := range s.rooms {
		if r.moved && !s.volatile {
			todo = append(todo, syncing(r.folder))
		}
	}
	return moved, parallel(todo)
}

// publish moves the staged file to its place.
func (c *change) publish(s *Staged) (begun bool, err error) {
	if c.file.InPlace && c.old != nil {
		return c.rewrite(s)
	}
	if err := unix.Renameat(int(c.from.Fd()), c.name, int(c.room.folder.Fd()), c.name); err != nil {
		return false, inFolder(err, "rename the staged file over it", c.room.folder.Name())
	}
	c.room.moved = true
	return true, nil
}

// rewrite copies the staged file over the one that stands there. Space is
// reserved first, so that a full disk leaves the old content, and what is
// longer than the new one is cut off last, so that the file is never empty.
func (c *change) rewrite(s *Staged) (begun bool, err error) {
	folder := c.room.folder.Name()
	from, err := openIn(c.from, c.name)
	if err != nil {
		return false, inFolder(err, "open its staged copy", folder)
	}
	defer from.Close()
	to, _, err := c.held(unix.O_WRONLY)
	if err != nil {
		return false, inFolder(err, "open it to rewrite it", folder)
	}
	err = c.apply(to)
	size, sizeErr := from.Seek(0, io.SeekEnd)
	if _, seekErr := from.Seek(0, io.SeekStart); err == nil {
		err = errors.Join(sizeErr, seekErr)
	}
	if err == nil && size > 0 {
		err = unix.Fallocate(int(to.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, size)
		if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
			err = nil
		}
	}
	if err != nil {
		return false, inFolder(errors.Join(err, to.Close()), "rewrite it", folder)
	}
	s.between()
	_, err = io.Copy(to, from)
	s.between()
	if err == nil {
		err = to.Truncate(size)
	}
	if err == nil {
		err = to.Sync()
	}
	s.between()
	if err = errors.Join(err, to.Close()); err == nil {
		err = unix.Unlinkat(int(c.from.Fd()), c.name, 0)
	}
	return true, inFolder(err, "rewrite it", folder)
}

// openIn opens the file called name in a folder to read it, without following a link.
func openIn(dir *os.File, name string) (*os.File, error) {
	fd, err := openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), filepath.Join(dir.Name(), name)), nil
}

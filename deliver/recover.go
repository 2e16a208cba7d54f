package deliver

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Recover finishes a commit or a roll-back that a crash has interrupted, from
// what is on disk alone, and returns the generation that it has brought the
// app to; 0 when nothing was interrupted, or nothing of it can be seen. The
// error says why the files are of several generations: then nobody is told
// anything until the next Commit, which is news even if nothing changes. It
// blocks as Stage does.
func (l *Ledger) Recover() (uint64, error) {
	l.transaction.Lock()
	defer l.transaction.Unlock()
	return l.recover()
}

func (l *Ledger) recover() (uint64, error) {
	now := l.now()
	if now.Pending == nil {
		return 0, torn(now)
	}
	w := newWalker()
	defer w.close()
	s := &Staged{state: l.state, app: l.app, durable: l.durable, generation: now.Pending.Generation}
	defer s.close()
	partly, err := s.find(w, now.Pending.Intent)
	if err == nil {
		err = l.sync(s, now.Pending.Intent) // the crash may have come first
	}
	if err == nil {
		return l.carryOut(s)
	}
	l.note(record{Kind: failed, Generation: s.generation, Torn: partly, Reason: "interrupted: " + err.Error()})
	return 0, torn(l.now())
}

// torn returns the error that the files are of several generations.
func torn(now standing) error {
	if now.Torn == "" {
		return nil
	}
	return fmt.Errorf("its files are of several generations: %s: nobody is told until all are read and written anew", now.Torn)
}

// find makes a Staged of an intent again: what is not in place yet must be
// staged still. Otherwise the error says what is missing, and partly whether
// anything of the new generation can be seen.
func (s *Staged) find(w *walker, i *intent) (partly bool, err error) {
	if i.Folder != nil {
		return false, s.findFolder(w, i)
	}
	rooms := make(map[inode]*room)
	for _, f := range i.Files {
		if f.Staged == "" {
			continue
		}
		c, inPlace, lookErr := s.findFile(w, rooms, f)
		switch {
		case lookErr != nil:
			err = errors.Join(err, &FileError{f.Destination, lookErr})
			partly = partly || f.InPlace && !s.untouched(c, f)
		case inPlace:
			partly = true
		default:
			s.changes = append(s.changes, c)
		}
	}
	return partly, err
}

// untouched reports whether a file that is rewritten in place has not been yet.
func (s *Staged) untouched(c *change, f fileRecord) bool {
	if c == nil {
		return false
	}
	digest, err := s.state.digestOf(c.room.folder, c.name)
	return errors.Is(err, unix.ENOENT) || err == nil && digest == f.Old
}

// findFile looks for one file: in place, or where it was staged.
func (s *Staged) findFile(w *walker, rooms map[inode]*room, f fileRecord) (c *change, inPlace bool, err error) {
	file := File{Destination: f.Destination, Symlink: f.Symlink, InPlace: f.InPlace}
	if c, err = s.locate(w, rooms, file); err != nil {
		return nil, false, err
	}
	c.attributes = attributes{f.UID, f.GID, f.Mode}
	if digest, err := s.state.digestOf(c.room.folder, c.name); err == nil && digest == f.Digest {
		return nil, true, c.settle()
	}
	if err := c.room.reopen(); err != nil {
		return c, false, fmt.Errorf("what was staged is gone: %w", err)
	}
	// The folder may still have, or have again, the name of an earlier
	// generation. It does not matter: a digest proves more than a name.
	for _, from := range c.room.found {
		if digest, err := s.state.digestOf(from, c.name); err == nil && digest == f.Digest {
			c.from = from
			if f.Previous != "" && (!f.InPlace || s.untouched(c, f)) {
				err = c.keepPrevious() // again, since a power loss may have taken it
			}
			return c, false, err
		}
	}
	return c, false, errors.New("what was staged is gone")
}

// reopen opens all folders in the app's folder, unless that is done. None of
// them may have been synced.
func (r *room) reopen() error {
	if r.outer != nil {
		return nil
	}
	outer, err := openOurs(r.folder, r.own)
	if err != nil {
		return err
	}
	r.outer = outer
	names, err := outer.Readdirnames(-1)
	for _, name := range names {
		if f, err := openOurs(outer, name); err == nil {
			r.found = append(r.found, f)
		}
	}
	r.fresh = append(r.fresh, r.folder, r.outer)
	r.fresh = append(r.fresh, r.found...)
	return err
}

// settle notes what the interrupted commit has put in place, which may not be
// durable.
func (c *change) settle() error {
	if !c.file.InPlace {
		c.room.moved = true
		return nil
	}
	file, _, err := c.held(unix.O_WRONLY)
	if err != nil {
		return err
	}
	return errors.Join(c.apply(file), file.Sync(), file.Close())
}

// findFolder is find for layout: directory.
func (s *Staged) findFolder(w *walker, i *intent) error {
	var err error
	if s.flip, err = openFlip(w, i.Folder.Path, ""); err != nil {
		return err
	}
	p := s.flip
	if p.store, err = openOurs(p.folder, storePrefix+p.name); err != nil {
		return fmt.Errorf("what was staged is gone: %w", err)
	}
	p.next, p.previous = i.Folder.Next, i.Folder.Previous
	if p.current == p.next {
		return errors.Join(p.settle(), parallel([]func() error{syncing(p.folder), syncing(p.store)}))
	}
	if p.fill, err = openFolder(p.store, p.next); err != nil {
		return fmt.Errorf("what was staged is gone: %w", err)
	}
	for _, f := range i.Files {
		name := filepath.Base(f.Destination)
		if digest, err := s.state.digestOf(p.fill, name); err != nil || digest != f.Digest {
			return &FileError{f.Destination, errors.Join(errors.New("what was staged is gone"), err)}
		}
		s.changes = append(s.changes, &change{file: File{Destination: f.Destination}, room: p.room, name: name, from: p.fill})
	}
	p.room.fresh = []*os.File{p.folder, p.store, p.fill}
	return p.relink()
}

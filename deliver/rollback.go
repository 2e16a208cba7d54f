package deliver

import (
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Confirmed notes that the application runs on a generation, and removes the
// previous files. If that generation does not await it any more, nothing
// happens.
func (l *Ledger) Confirmed(generation uint64) {
	l.decide(record{Kind: confirmed, Generation: generation})
}

// Keep notes that a generation stays although the application does not run on
// it, since there is nothing better to go back to, and removes the previous
// files. If that generation does not await it any more, nothing happens.
func (l *Ledger) Keep(generation uint64, reason string) {
	l.decide(record{Kind: kept, Generation: generation, Reason: reason})
}

func (l *Ledger) decide(r record) {
	l.transaction.Lock()
	defer l.transaction.Unlock()
	now := l.now()
	if !now.Awaits || now.Generation != r.Generation {
		return
	}
	l.note(r)
	l.state.between()
	w := newWalker()
	defer w.close()
	s := &Staged{state: l.state, app: l.app}
	defer s.close()
	rooms := make(map[inode]*room)
	for _, f := range now.Undo.Files {
		if c, err := s.kept(w, rooms, f); err == nil {
			_ = unix.Unlinkat(int(c.from.Fd()), c.name, 0) // what stays is removed by the next Stage
			s.between()
		}
	}
}

// Previous returns the versions that RollBack would go back to, and the
// number of the generation that was made from them; 0 when the files that
// were there before are not of a generation that is known.
func (l *Ledger) Previous() (uint64, Versions) {
	u := l.now().Undo
	return u.Generation, u.Versions
}

// RollBack puts the previous files back, as a generation of its own of which
// the targets are owed a word, and sets the versions aside that the
// application did not run on. It is as safe from crashes as Commit, blocks as
// Stage does, and returns the number of the new generation; 0 when the one
// named does not await its confirmation any more. If there is nothing to go
// back to, the new files are kept and the error says so.
func (l *Ledger) RollBack(generation uint64, reason string) (uint64, error) {
	l.transaction.Lock()
	defer l.transaction.Unlock()
	now := l.now()
	if !now.Awaits || now.Generation != generation {
		return 0, nil
	}
	w := newWalker()
	defer w.close()
	s := &Staged{state: l.state, app: l.app, durable: l.durable, generation: generation + 1}
	defer s.close()
	i, err := s.goBack(w, now.Undo)
	if err != nil {
		err = fmt.Errorf("not rolled back, the new files stay: %w", err)
		l.note(record{Kind: kept, Generation: generation, Reason: reason + ": " + err.Error()})
		return 0, err
	}
	l.mu.Lock()
	i.Owed = namesOf(l.targets)
	l.mu.Unlock()
	i.Undoes, i.Reason, i.Versions = generation, reason, now.Undo.Versions
	if err := l.declare(s, i); err != nil {
		return 0, err
	}
	return l.carryOut(s)
}

// goBack makes the previous files what is staged.
func (s *Staged) goBack(w *walker, u undo) (intent, error) {
	if missing := u.missing(); missing != "" {
		return intent{}, &FileError{missing, errors.New("was not there before")}
	}
	if u.Folder != nil {
		return s.goBackTo(w, u)
	}
	var i intent
	var errs []error
	rooms := make(map[inode]*room)
	for _, f := range u.Files {
		c, err := s.kept(w, rooms, f)
		if err == nil {
			f.Digest, err = s.state.digestOf(c.from, c.name)
		}
		if err != nil {
			errs = append(errs, &FileError{f.Destination, fmt.Errorf("its previous file is gone: %w", err)})
			continue
		}
		f.Staged, f.Previous = f.Previous, ""
		s.changes = append(s.changes, c)
		i.Files = append(i.Files, f)
	}
	return i, errors.Join(errs...)
}

// kept finds the previous file of a destination.
func (s *Staged) kept(w *walker, rooms map[inode]*room, f fileRecord) (*change, error) {
	c, err := s.locate(w, rooms, File{Destination: f.Destination, Symlink: f.Symlink, InPlace: f.InPlace})
	if err != nil {
		return nil, err
	}
	c.attributes = attributes{f.UID, f.GID, f.Mode}
	r := c.room
	if r.outer == nil {
		if r.outer, err = openOurs(r.folder, r.own); err != nil {
			return nil, err
		}
	}
	if r.previous == nil {
		if r.previous, err = openOurs(r.outer, previousName); err != nil {
			return nil, err
		}
	}
	c.from = r.previous
	return c, nil
}

// goBackTo makes the previous folder what is staged.
func (s *Staged) goBackTo(w *walker, u undo) (intent, error) {
	i := intent{Folder: &folderRecord{Path: u.Folder.Path, Next: u.Folder.Previous}}
	var err error
	if s.flip, err = openFlip(w, u.Folder.Path, ""); err != nil {
		return i, err
	}
	p := s.flip
	i.Folder.Previous, p.next = p.current, u.Folder.Previous
	if p.store, err = openOurs(p.folder, storePrefix+p.name); err == nil {
		p.fill, err = openFolder(p.store, p.next) // it may be one that was the application's own
	}
	if err != nil {
		return i, fmt.Errorf("the previous folder is gone: %w", err)
	}
	for _, f := range u.Files {
		name := filepath.Base(f.Destination)
		f.Digest, err = s.state.digestOf(p.fill, name)
		if errors.Is(err, unix.ENOENT) {
			continue // it was not in that generation
		}
		if err != nil {
			return i, &FileError{f.Destination, err}
		}
		f.Staged, f.Previous = filepath.Join(p.fill.Name(), name), ""
		i.Files = append(i.Files, f)
	}
	return i, p.relink()
}

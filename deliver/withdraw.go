package deliver

import (
	"errors"
	"maps"
	"time"

	"golang.org/x/sys/unix"
)

// Withdraw takes the app's files away, with all that is kept of them beside:
// what is staged and what was there before. One that is rewritten in place is
// emptied. Nobody is owed a word of files that are not there. It is written
// down first, and Progress tells it until the next Commit: whoever finds it
// there after a crash calls Withdraw again. The error joins one *FileError for
// each file that is still there; the others are gone all the same. It blocks as
// Stage does.
func (l *Ledger) Withdraw(files []File, reason string) error {
	l.transaction.Lock()
	defer l.transaction.Unlock()
	errs := []error{l.withdrawing(reason)}
	w := newWalker()
	defer w.close()
	s := &Staged{state: l.state, app: l.app, files: files}
	defer s.close()
	rooms := make(map[inode]*room)
	for _, f := range files {
		if err := s.withdraw(w, rooms, f); err != nil && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, &FileError{f.Destination, err})
		}
	}
	for r := range maps.Values(rooms) {
		r.tidy(false)
		errs = append(errs, syncing(r.folder)())
	}
	if p := s.flip; p != nil {
		p.tidy(l.now())
		if p.room.folder != nil {
			errs = append(errs, syncing(p.room.folder)())
		}
	}
	return errors.Join(errs...)
}

// withdrawing writes down that the files are on their way out. A journal that
// cannot be written does not keep them.
func (l *Ledger) withdrawing(reason string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.standing.Pending; p != nil {
		l.remark(record{Kind: failed, Generation: p.Generation, Reason: reason})
	}
	r := record{Kind: withdrawn, At: time.Now().UTC(), Generation: l.standing.Generation, Reason: reason}
	err := l.journal.add(r)
	l.standing.apply(r)
	if err == nil {
		err = l.journal.sync()
	}
	return inFolder(err, "write journal "+l.journal.file.Name(), l.state.dir.Name())
}

// withdraw takes one file away.
func (s *Staged) withdraw(w *walker, rooms map[inode]*room, f File) error {
	c, err := s.locate(w, rooms, f)
	if err != nil || c.old == nil {
		return err
	}
	defer s.between()
	if !f.InPlace {
		return inFolder(unix.Unlinkat(int(c.room.folder.Fd()), c.name, 0), "remove it", c.room.folder.Name())
	}
	if err := f.mayReplace(w, &c.room.place, c.name, c.old); err != nil {
		return err
	}
	file, _, err := c.held(unix.O_WRONLY)
	if err != nil {
		return inFolder(err, "open it to empty it", c.room.folder.Name())
	}
	return inFolder(errors.Join(file.Truncate(0), file.Sync(), file.Close()), "empty it", c.room.folder.Name())
}

// withdraw notes that the files are not there, or on their way out.
func (s *standing) withdraw(reason string) {
	s.Withdrawn = reason
	s.Owed, s.Told = nil, 0
	s.Awaits, s.Undo, s.SetAside = false, undo{}, nil
}

package deliver

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Generation is what an app's journal tells of one generation.
type Generation struct {
	Number    uint64
	Versions  Versions  // what it was made from
	Files     []string  // the destinations that it changed
	Begun     time.Time // when all of it was staged
	Committed time.Time // zero: it never was
	Told      []Told    // the targets that know, in order
	Owed      []string  // those that do not
	Undoes    uint64    // the generation that it rolled back; 0: none
	Ending    Ending
	Reason    string // of RolledBack, Unconfirmed and NotCommitted
}

// Told is one target that was told.
type Told struct {
	Target  string
	Outcome Outcome
	At      time.Time
}

// Ending is how a generation ended, or stands.
type Ending string

// The endings. A confirmed generation stays so when a newer one comes.
const (
	Begun        Ending = "begun"         // interrupted, and not yet recovered
	NotCommitted Ending = "not committed" // it could not be committed, or not whole
	Current      Ending = "current"
	Awaiting     Ending = "awaiting confirmation"
	Confirmed    Ending = "confirmed"
	Unconfirmed  Ending = "unconfirmed" // it stays, for there was nothing to go back to
	RolledBack   Ending = "rolled back"
	Superseded   Ending = "superseded"
)

// longestHistory is how many generations a journal remembers.
const longestHistory = 20

// History returns the last generations of an app, at most 20, oldest first,
// from the journal in a state folder. It writes nothing and may be used beside
// a running sidecar. Without a journal there are none.
func History(dir, app string) ([]Generation, error) {
	records, err := readJournal(dir, app)
	return history(records), err
}

// readJournal returns what an app's journal tells, if there is one.
func readJournal(dir, app string) ([]record, error) {
	if err := checkName(app); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, app+journalSuffix)
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, inFolder(err, "journal "+path, dir)
	}
	records, _, _ := decodeJournal(text)
	return records, nil
}

// history tells a journal's records by generation.
func history(records []record) []Generation {
	var all []Generation
	var last *intent // of the newest
	for _, r := range records {
		if r.Kind == intended && r.Intent != nil {
			last = r.Intent
			all = append(all, begun(r))
		}
		n := len(all) - 1
		for n >= 0 && all[n].Number != r.Generation { // a word about the present one, while the newest is under way
			n--
		}
		if n < 0 {
			continue
		}
		all[n].add(r, last)
		if r.Kind == committed {
			leave(all[:n], last)
		}
	}
	return all[max(0, len(all)-longestHistory):]
}

// begun returns the generation that an intent begins.
func begun(r record) Generation {
	g := Generation{Number: r.Generation, Versions: r.Intent.Versions, Begun: r.At, Owed: r.Intent.Owed, Undoes: r.Intent.Undoes, Ending: Begun}
	for _, f := range r.Intent.Files {
		if f.Staged != "" {
			g.Files = append(g.Files, f.Destination)
		}
	}
	return g
}

// add brings a generation up to a later record about it.
func (g *Generation) add(r record, i *intent) {
	switch r.Kind {
	case committed:
		g.Committed, g.Ending = r.At, Current
		if i.Confirm {
			g.Ending = Awaiting
		}
	case failed:
		g.Owed, g.Ending, g.Reason = nil, NotCommitted, r.Reason
	case told:
		if len(g.Owed) > 0 {
			g.Told = append(g.Told, Told{g.Owed[0], r.Outcome, r.At})
			g.Owed = g.Owed[1:]
		}
	case owed:
		g.Owed = r.Owed
	case confirmed:
		g.Ending = Confirmed
	case kept:
		g.Ending, g.Reason = Unconfirmed, r.Reason
	}
}

// leave ends the generations before the one of that intent, which takes over
// what they still owed.
func leave(before []Generation, i *intent) {
	for n := range before {
		g := &before[n]
		g.Owed = nil
		switch {
		case i.Undoes != 0 && g.Number == i.Undoes && !g.Committed.IsZero():
			g.Ending, g.Reason = RolledBack, i.Reason
		case g.Ending == Current, g.Ending == Awaiting, g.Ending == Begun: // of the last, a record was lost
			g.Ending = Superseded
		}
	}
}

// compact makes a large journal small again: the last generations, and the
// sum of all before them. What is in force counts more than what was, so that
// an app with many files remembers fewer generations. Without success the
// journal stays as it is.
func (l *Ledger) compact() {
	const large = 256 << 10
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case errors.Is(l.journal.lost, errClosed):
		return
	case l.journal.lost != nil: // it could not be opened again the last time
		l.reopen()
		return
	case l.journal.size < max(large, 2*l.journal.pure):
		return
	}
	sum := l.standing
	end, err := record{Kind: checkpoint, At: time.Now().UTC(), Generation: sum.Generation, Standing: &sum}.encode()
	if err != nil {
		return
	}
	text := make([]byte, l.journal.size)
	if _, err := l.journal.file.ReadAt(text, 0); err != nil {
		return
	}
	_ = l.state.replace(filepath.Base(l.journal.file.Name()), append(latest(text, large/2), end...))
	l.reopen()
}

// reopen opens whichever journal stands there. Until it can, nothing is added:
// the one in hand may have no name any more. The caller holds l.mu.
func (l *Ledger) reopen() {
	name, was := filepath.Base(l.journal.file.Name()), l.journal.file
	j, _, _, err := l.state.openJournal(name)
	if err != nil {
		l.journal.lost = inFolder(err, "open it again", l.state.dir.Name())
		return
	}
	j.pure = j.size
	l.journal = j
	_ = was.Close()
}

// latest returns a journal's last lines, from an intent on: those of the
// generations that are remembered, as far as they fit into limit. Checkpoints
// are left out, since a newer one follows.
func latest(text []byte, limit int) []byte {
	var kept [][]byte
	size, generations, from := 0, 0, 0
	lines := slices.Collect(bytes.Lines(text))
	slices.Reverse(lines)
	for _, line := range lines {
		r, err := decodeRecord(bytes.TrimSuffix(line, []byte("\n")))
		if err != nil || r.Kind == checkpoint {
			continue
		}
		if size += len(line); size > limit || generations == longestHistory {
			break
		}
		kept = append(kept, line)
		if r.Kind == intended {
			generations++
			from = len(kept)
		}
	}
	kept = kept[:from]
	slices.Reverse(kept)
	return bytes.Join(kept, nil)
}

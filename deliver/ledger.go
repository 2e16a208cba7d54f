package deliver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"outrider/secret"
)

// Ledger is one app's way through stage, commit, notify and confirm, written
// down in the app's journal so that it survives a crash at any point. It is
// safe for concurrent use, Deliver by one caller at a time; a Stage, Recover
// or RollBack waits for a Staged that has not ended.
type Ledger struct {
	app   string
	state *State

	transaction sync.Mutex      // held by who looks at or moves files
	durable     map[string]bool // the app's own folders that this process knows to be on disk

	mu       sync.Mutex
	journal  journal
	standing standing
	targets  []Target // as many as are named in standing.Owed, while any is owed
}

// Open opens an app's ledger, with the targets that are told of a new
// generation. An interrupted commit stays as it is until Recover.
func (s *State) Open(app string, targets []Target) (*Ledger, error) {
	if err := checkName(app); err != nil {
		return nil, err
	}
	l := &Ledger{app: app, state: s, durable: make(map[string]bool)}
	name := app + journalSuffix
	j, records, damaged, err := s.openJournal(name)
	if err != nil {
		return nil, inFolder(err, "journal "+s.path(name), s.dir.Name())
	}
	l.journal = j
	for _, r := range records {
		l.standing.apply(r)
	}
	if damaged {
		l.standing.Torn = "its journal is damaged"
	}
	l.Retarget(targets)
	return l, nil
}

// The files of an app in the state folder.
const (
	journalSuffix = ".journal"
	seenSuffix    = ".seen" // empty; its time is what counts
)

var errClosed = errors.New("the journal is closed")

// Close closes the journal. What is owed stays owed.
func (l *Ledger) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.journal.lost = errClosed
	return l.journal.file.Close()
}

// Retarget exchanges the targets, as a new configuration may want. If others
// than before are named, all of them are owed what any was still owed.
func (l *Ledger) Retarget(targets []Target) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.targets = targets
	l.reconcile()
}

// reconcile makes what is owed one list with the targets.
func (l *Ledger) reconcile() {
	s, names := &l.standing, namesOf(l.targets)
	if s.Told < len(s.Owed) && !slices.Equal(names, s.Owed) {
		l.remark(record{Kind: owed, Generation: s.Generation, Owed: names})
	}
}

// owing returns the targets that are still to be told, in order.
func (l *Ledger) owing() []Target {
	if s := &l.standing; s.Told < len(s.Owed) {
		return l.targets[s.Told:]
	}
	return nil
}

// Progress is how far an app has come.
type Progress struct {
	Generation uint64    // the last one that was committed; 0: none
	Committed  time.Time // when
	Versions   Versions  // what it was made from
	Owed       []string  // the targets that are still to be told, in order
	Awaits     bool      // it is not confirmed yet
	SetAside   string    // why a newer one was rolled back and set aside; empty: none was
	Torn       string    // why the files are of several generations; empty: they are of one
	Withdrawn  string    // why Withdraw took the files away, or has still to; empty: it did not
}

// Progress returns how far the app has come.
func (l *Ledger) Progress() Progress {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &l.standing
	p := Progress{Generation: s.Generation, Committed: s.Committed, Versions: s.Versions,
		Owed: namesOf(l.owing()), Awaits: s.Awaits, Torn: s.Torn, Withdrawn: s.Withdrawn}
	if s.SetAside != nil {
		p.SetAside = s.SetAside.Reason
	}
	return p
}

// Deliver tells the targets that are owed the newest generation, in order,
// until all are told, one of them fails or ctx ends; the next call goes on
// where this one stopped. A generation committed meanwhile takes over, and
// the list begins again. Of files that are torn, or that Recover has still to
// bring to one generation, nobody is told. The results are in the order of the attempts, that of the error
// included. It blocks as long as the targets do.
func (l *Ledger) Deliver(ctx context.Context) ([]Result, error) {
	var results []Result
	for {
		target, n := l.first()
		if target == nil {
			return results, nil
		}
		if ctx.Err() != nil {
			return results, context.Cause(ctx)
		}
		outcome, err := target.Notify(ctx, n)
		if err != nil {
			outcome = Failed
		}
		results = append(results, Result{target.String(), n, outcome})
		if err != nil {
			return results, fmt.Errorf("notify %s: %w", target, err)
		}
		l.state.between()
		l.told(n, target, outcome)
		l.state.between()
	}
}

// first returns the target to tell next; nil when nothing is owed, or the
// files are not fit to be told of.
func (l *Ledger) first() (Target, Notification) {
	if l.now().Pending != nil {
		l.settle()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	n := Notification{App: l.app, Generation: l.standing.Generation}
	left := l.owing()
	if len(left) == 0 || l.standing.Pending != nil || l.standing.Torn != "" {
		return nil, n
	}
	return left[0], n
}

// settle waits for the end of a commit that is under way.
func (l *Ledger) settle() {
	l.transaction.Lock()
	defer l.transaction.Unlock()
}

// told notes that a target knows n, unless n is no longer the newest or the
// targets were exchanged meanwhile.
func (l *Ledger) told(n Notification, target Target, outcome Outcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	left := l.owing()
	if n.Generation == l.standing.Generation && len(left) > 0 && left[0].String() == target.String() {
		l.remark(record{Kind: told, Generation: n.Generation, Target: l.standing.Told, Outcome: outcome})
	}
}

// IsSetAside reports whether these files were made from the versions that the
// application did not run on, so that they are not to be committed again:
// until Retry, until another generation is committed, or until they come out
// differently, as from a mended template.
func (l *Ledger) IsSetAside(snapshot secret.Snapshot, files []File) bool {
	l.mu.Lock()
	aside := l.standing.SetAside
	l.mu.Unlock()
	if aside == nil || !maps.Equal(aside.Versions, versionsOf(snapshot)) {
		return false
	}
	for _, f := range files {
		want, changed := aside.Digests[f.Destination]
		if changed && want != l.state.digest(f.Content.Digest()) {
			return false
		}
	}
	return true
}

// Retry lets what was set aside be committed again. It reports whether there
// was anything.
func (l *Ledger) Retry() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.standing.SetAside != nil
	if was {
		l.remark(record{Kind: retried, Generation: l.standing.Generation})
	}
	return was
}

// Stands reports whether the files hold what the last generation gave them.
// Their contents do not matter.
func (l *Ledger) Stands(files []File) bool {
	now := l.now()
	if now.Generation == 0 || now.Pending != nil || now.Torn != "" || now.Withdrawn != "" {
		return false
	}
	w := newWalker()
	defer w.close()
	for _, f := range files {
		at, name, _, err := w.locate(f.Destination, f.Symlink)
		if err != nil {
			return false
		}
		r, err := openRoom(at, "")
		if err != nil {
			return false
		}
		digest, err := l.state.digestOf(r.folder, name)
		r.close()
		if err != nil || digest != now.Digests[f.Destination] {
			return false
		}
	}
	return true
}

// Saw notes when the files were last known to be current, for after a restart.
// It costs one system call; a power loss may take it back.
func (l *Ledger) Saw(at time.Time) error {
	path := l.state.path(l.app + seenSuffix)
	err := os.Chtimes(path, at, at)
	if errors.Is(err, fs.ErrNotExist) {
		if err = l.state.replace(l.app+seenSuffix, nil); err == nil {
			err = os.Chtimes(path, at, at)
		}
	}
	return inFolder(err, "note the time in "+path, l.state.dir.Name())
}

// Seen returns what Saw noted last; the zero time: nothing.
func (l *Ledger) Seen() time.Time {
	info, err := os.Stat(l.state.path(l.app + seenSuffix))
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// declare writes an intent down, and returns when it and all that it is about
// are durable. Which of them is first does not matter: until all are, nothing
// is moved, and an intent without its files is recovered to nothing.
func (l *Ledger) declare(s *Staged, i intent) error {
	l.mu.Lock()
	r := record{Kind: intended, At: time.Now().UTC(), Generation: s.generation, Intent: &i}
	err := l.journal.add(r)
	if err == nil {
		l.standing.apply(r)
	}
	l.mu.Unlock()
	if err != nil {
		return inFolder(err, "write journal "+l.journal.file.Name(), l.state.dir.Name())
	}
	s.between()
	if err := l.sync(s, &i); err != nil {
		l.note(record{Kind: failed, Generation: s.generation, Reason: err.Error()})
		return err
	}
	return nil
}

// sync makes the intent and all that it is about durable.
func (l *Ledger) sync(s *Staged, i *intent) error {
	s.alone = i.alone()
	l.mu.Lock()
	j := l.journal
	l.mu.Unlock()
	return s.sync(j.sync)
}

// remark writes down what can be found out again, or be done twice without
// harm. So it is not made durable, and a journal that cannot be written (the
// next intent says so) is no reason to stop. The caller holds l.mu.
func (l *Ledger) remark(r record) {
	r.At = time.Now().UTC()
	_ = l.journal.add(r)
	l.standing.apply(r)
}

// note is remark for who does not hold l.mu.
func (l *Ledger) note(r record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.remark(r)
}

// now returns the standing as it is. Nothing in it is ever changed in place.
func (l *Ledger) now() standing {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.standing
}

// committed notes that the pending intent has taken place, and owes the
// targets a word about it.
func (l *Ledger) committed() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.remark(record{Kind: committed, Generation: l.standing.Pending.Generation})
	l.reconcile() // the targets may have been exchanged meanwhile
	return l.standing.Generation
}

// checkName refuses what cannot be part of a file's name.
func checkName(app string) error {
	if app == "" || strings.ContainsAny(app, "/\x00") {
		return fmt.Errorf("app %q: its name cannot be part of a file name", app)
	}
	return nil
}

func namesOf(targets []Target) []string {
	var names []string
	for _, t := range targets {
		names = append(names, t.String())
	}
	return names
}

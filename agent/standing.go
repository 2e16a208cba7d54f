package agent

import (
	"context"
	"errors"
	"sync"
	"time"

	"outrider/deliver"
	"outrider/refresher"
	"outrider/secret"
)

// errGone says that a reload took the app out of the configuration.
var errGone = errors.New("the app is no longer in the configuration")

// standing is what an app has reached. It outlives a reload of the
// configuration, and with it those who wait for the app.
type standing struct {
	mu       sync.Mutex
	progress progress
	ledger   *deliver.Ledger // nil until it is opened
	changed  chan struct{}   // closed and made anew at each change
	rounds   rounds          // of looks that callers ask for
}

// progress is a standing at one moment.
type progress struct {
	begun, ended uint64          // the number of the look that began last, and of that which ended last
	here         bool            // a look under the configuration in force has ended
	gone         bool            // the configuration has no such app any more
	snapshot     secret.Snapshot // the one that is in the files; empty while only the journal knows
	previous     secret.Snapshot // of the generation before, which a roll-back goes to; only where units get credentials
	taken        time.Time       // when the files were last known to be current, by the wall clock; zero: unknown
	sealed       time.Time       // when the sealed copy was taken that is in the files; zero: they are not of one
	sealErr      error           // why there is no sealed copy of what is in the files
	err          error           // of the last look; nil when it went well
	note         error           // why what was delivered is not what the labels hold, or not verified
	notifyErr    error           // of the last attempt to tell
	unconfirmed  unconfirmed
}

// unconfirmed is a generation that stays although the application does not
// run on it, and why.
type unconfirmed struct {
	generation uint64
	err        error
}

// of returns the reason while that generation is the newest.
func (u unconfirmed) of(generation uint64) error {
	if u.generation != generation {
		return nil
	}
	return u.err
}

func newStanding() *standing {
	return &standing{changed: make(chan struct{}), rounds: newRounds()}
}

// now returns the standing as it is.
func (s *standing) now() progress {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.progress
}

// change applies f, and tells those who wait.
func (s *standing) change(f func(*progress)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.progress)
	close(s.changed)
	s.changed = make(chan struct{})
}

// publish makes a ledger that was just opened the app's, and its last
// generation, when that stands, the files that an application may start on.
func (s *standing) publish(ledger *deliver.Ledger, stands bool) {
	s.change(func(p *progress) {
		s.ledger = ledger
		if done := ledger.Progress(); stands && done.Torn == "" && done.Generation > 0 {
			if p.taken = ledger.Seen(); p.taken.IsZero() {
				p.taken = done.Committed
			}
		}
	})
}

// opened returns the app's ledger, nil until it was opened.
func (s *standing) opened() *deliver.Ledger {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ledger
}

// delivered returns what the ledger says, nothing until it was opened.
func (s *standing) delivered() deliver.Progress {
	if ledger := s.opened(); ledger != nil {
		return ledger.Progress()
	}
	return deliver.Progress{}
}

// await blocks until the standing is as wanted, or its app is gone.
func (s *standing) await(ctx context.Context, wanted func(progress) bool) (progress, error) {
	for {
		s.mu.Lock()
		p, changed := s.progress, s.changed
		s.mu.Unlock()
		switch {
		case wanted(p):
			return p, nil
		case p.gone:
			return p, errGone
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return p, context.Cause(ctx)
		}
	}
}

// usable reports whether the files were committed by this run, or are those
// of the last generation, and are not older than maxStale: an application may
// start on them, also while AWS is away.
func (p progress) usable(now time.Time, maxStale time.Duration) bool {
	return !p.taken.IsZero() && !p.stale(now, maxStale)
}

// stale reports whether the files are older than maxStale; 0: they never are.
// What is of the future, since the clock was set back, is of an age that nobody
// knows.
func (p progress) stale(now time.Time, maxStale time.Duration) bool {
	return maxStale > 0 && (p.age(now) > maxStale || p.age(now) < -ahead)
}

// age returns how long ago the files were known to be current.
func (p progress) age(now time.Time) time.Duration {
	if p.taken.IsZero() {
		return 0
	}
	return refresher.Ago(p.taken, now)
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

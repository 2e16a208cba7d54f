package agent

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"outrider/deliver"
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
}

// progress is a standing at one moment.
type progress struct {
	begun, ended uint64          // looks
	here         bool            // a look under the configuration in force has ended
	gone         bool            // the configuration has no such app any more
	snapshot     secret.Snapshot // the one that is in the files; empty until this run has looked
	taken        time.Time       // when the files were last known to be current, by the wall clock; zero: unknown
	err          error           // of the last look; nil when it went well
	note         error           // why what was delivered is not what the labels hold, or not verified
	notifyErr    error           // of the last attempt to tell
}

func newStanding() *standing { return &standing{changed: make(chan struct{})} }

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

// open returns the app's ledger, and at first use opens it in the state
// folder, and brings to its end what a crash has interrupted. What cannot be
// brought to its end is for the next commit to mend.
func (s *standing) open(state *deliver.State, name string, targets []deliver.Target, destinations []string) (*deliver.Ledger, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ledger != nil {
		return s.ledger, nil
	}
	ledger, err := state.Open(name, targets)
	if err != nil {
		return nil, err
	}
	_, torn := ledger.Recover()
	s.ledger = ledger
	if p := ledger.Progress(); torn == nil && p.Generation > 0 && allThere(destinations) {
		s.progress.taken = p.Committed
	}
	return ledger, torn
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
	return !p.taken.IsZero() && (maxStale <= 0 || p.age(now) <= maxStale)
}

// age returns how long ago the files were known to be current. Round strips
// the monotonic reading, which stands still while the machine is suspended.
func (p progress) age(now time.Time) time.Duration {
	if p.taken.IsZero() {
		return 0
	}
	return now.Round(0).Sub(p.taken.Round(0))
}

func allThere(paths []string) bool {
	for _, path := range paths {
		if _, err := os.Stat(path); err != nil {
			return false
		}
	}
	return true
}

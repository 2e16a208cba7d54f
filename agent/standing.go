package agent

import (
	"context"
	"errors"
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
	changed  chan struct{} // closed and made anew at each change
}

// progress is a standing at one moment.
type progress struct {
	begun, ended uint64          // looks
	here         bool            // a look under the configuration in force has ended
	gone         bool            // the configuration has no such app any more
	snapshot     secret.Snapshot // the one that is in the files
	taken        time.Time       // when the files were last known to be current, by the wall clock; zero: never by this run
	generation   uint64
	torn         bool  // a commit ended half-way: its files are news still
	err          error // of the last look; nil when it went well
	notifyErr    error // of the last attempt to tell
	owed         *deliver.Owed
}

func newStanding(targets []deliver.Target) *standing {
	return &standing{changed: make(chan struct{}), progress: progress{owed: deliver.NewOwed(targets)}}
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

// usable reports whether the files are this run's and not older than
// maxStale: an application may start on them, also while AWS is away.
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

// Package store reads secrets from Secrets Manager and Parameter Store: references in, one snapshot out, and looks at them again by a plan.
package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"outrider/refresher"
	"outrider/secret"
	"outrider/store/internal/wire"
)

const (
	// batchSize is the most ids that one BatchGetSecretValue takes.
	batchSize = 20
	// batchTimeout is after how long a batch is given up for single reads.
	batchTimeout = 3 * time.Second
	// looks bounds how often a snapshot is taken anew because a version moved
	// under it.
	looks = 5
	// forgiving is after how long what was not allowed is tried again.
	forgiving = time.Hour
	// sparing is after how long batches that fail are tried again, though single
	// reads go well.
	sparing = time.Minute
)

// Options say where and as whom a Store reads.
type Options struct {
	Region      string
	Fallback    []string          // regions to read replicated secrets in while Region is away, in order
	Account     string            // whose events come in, when they do; empty: everybody's
	Endpoint    string            // base URL of Secrets Manager; empty: AWS's own for the region
	SSMEndpoint string            // likewise of Parameter Store
	Transport   http.RoundTripper // nil: http.DefaultTransport; redirects are not followed
	FIPS        bool              // the region's FIPS endpoints; not with endpoints of one's own
	DualStack   bool              // the region's IPv4 and IPv6 endpoints; likewise
	Sessions    wire.Sessions
	Timeout     time.Duration  // of one call; 0: 10 s
	Concurrency int            // calls under way at once; 0: 8
	Roll        func() float64 // random numbers in [0, 1); nil: math/rand
	// Ended is called after a read or look has ended. News is that it found
	// another version, or failed or succeeded otherwise than the one before; the
	// first one has no news. It must not block; nil: nobody is told.
	Ended func(ref secret.Ref, news bool)
}

// Store reads the secrets of one role. A secret that several apps want at the
// same time is read once. It is safe for concurrent use.
type Store struct {
	regions       []*region // the own region first
	account       string
	parameters    parameterStore
	parameterGate gate
	sessions      wire.Sessions
	timeout       time.Duration
	slots         chan struct{}
	head          chan struct{} // held by the first of those that wait for the turn of a batch
	few           chan struct{} // slots for secrets whose last read did not end in time
	roll          func() float64
	ended         func(secret.Ref, bool)

	mu      sync.Mutex
	entries map[secret.Ref]*entry
	ticks   uint64                       // how many things have begun or ended: their order, which no clock gives
	buckets map[string]*refresher.Bucket // by operation
	bundles []*bundle                    // that wait for it, in order
	noBatch time.Time                    // until then BatchGetSecretValue is not allowed to this role, or left alone
	dark    darkness
	plan    plan
}

// New returns a Store that has read nothing yet and plans no looks.
func New(o Options) *Store {
	timeout, slots := o.Timeout, o.Concurrency
	if timeout <= 0 {
		timeout = 10 * time.Second
	}
	if slots <= 0 {
		slots = 8
	}
	s := &Store{
		account:    o.Account,
		parameters: newParameterStore(o),
		sessions:   o.Sessions,
		timeout:    timeout,
		slots:      make(chan struct{}, slots),
		head:       make(chan struct{}, 1),
		few:        make(chan struct{}, 2),
		roll:       o.Roll,
		ended:      o.Ended,
		entries:    map[secret.Ref]*entry{},
		buckets:    map[string]*refresher.Bucket{},
	}
	if s.roll == nil {
		s.roll = rand.Float64
	}
	if s.ended == nil {
		s.ended = func(secret.Ref, bool) {}
	}
	for _, name := range append([]string{o.Region}, o.Fallback...) {
		s.regions = append(s.regions, newRegion(name, o))
	}
	return s
}

// Get returns one snapshot of the references, by the names that templates
// use, no value of it last looked at before asOf. What has failed
// since asOf is not read again before its time: its error stands. With more
// than one reference the versions are looked at again after the last read,
// unless nothing moved since last, and the snapshot is taken anew if one did. It
// blocks until all reads have ended; an error joins one *Error for each
// reference that could not be read, or is the session's.
func (s *Store) Get(ctx context.Context, refs map[string]secret.Ref, asOf time.Time, last secret.Snapshot) (secret.Snapshot, error) {
	unique, since := slices.Collect(maps.Values(refs)), uint64(0)
	for range 1 + looks {
		if err := s.take(ctx, unique, asOf, since); err != nil {
			return secret.Snapshot{}, err
		}
		var shot secret.Snapshot
		var err error
		if shot, since, err = s.snapshot(refs); err != nil || since == 0 || shot.SameVersions(last) {
			return shot, err
		}
	}
	return secret.Snapshot{}, fmt.Errorf("secrets %v: a version moved during each of %d looks", slices.Sorted(maps.Keys(refs)), looks)
}

// Begin announces a read of all these references as of now, but for those
// whose last read is still under way, and returns the function that carries it
// out, blocking until it has ended. A Get that comes between waits for the
// announced reads instead of making its own: this is how the apps of a role
// share a cold start in batches.
func (s *Store) Begin(refs []secret.Ref) func(context.Context) {
	fresh := s.announce(refs, time.Now(), terms{retry: true})
	return func(ctx context.Context) { s.carryOut(ctx, fresh) }
}

// take reads every reference no earlier than asOf and since, sharing what was or is
// being read since then. A read that began earlier and is still under way is
// waited for first: of one reference only one read is under way at a time, so
// that one which hangs does not pile up.
func (s *Store) take(ctx context.Context, refs []secret.Ref, asOf time.Time, since uint64) error {
	for _, retry := range []bool{true, false} {
		s.carryOut(ctx, s.announce(refs, asOf, terms{since, retry}))
		for _, ref := range refs {
			select {
			case <-s.underWay(ref):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
	return nil
}

// snapshot returns what the last reads and looks that have ended have found.
// When no moment is known at which all were so, since is the one after which
// each must be looked at: all had been found so by then. What has been looked
// at since is not asked for again because another was throttled.
func (s *Store) snapshot(refs map[string]secret.Ref) (shot secret.Snapshot, since uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	versions := make(map[string]secret.Version, len(refs))
	taken, still := time.Time{}, uint64(math.MaxUint64)
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(refs)) {
		e := s.entry(refs[name])
		if !e.known {
			errs = append(errs, &Error{Ref: e.ref, Message: "forgotten while it was read, since the configuration in force does without it"})
			continue
		}
		if e.err != nil {
			// Without a session every reference fails for the one reason.
			if !slices.Contains(errs, e.err) {
				errs = append(errs, e.err)
			}
			continue
		}
		versions[name], since, still = e.held, max(since, e.found), min(still, e.still)
		if taken.IsZero() || e.seen.Before(taken) {
			taken = e.seen
		}
	}
	if len(errs) > 0 {
		return secret.Snapshot{}, 0, errors.Join(errs...)
	}
	if len(versions) < 2 || still > since {
		since = 0
	}
	return secret.NewSnapshot(taken, versions), since, nil
}

// tick counts on. The caller holds the lock.
func (s *Store) tick() uint64 {
	s.ticks++
	return s.ticks
}

// terms are what announce goes by.
type terms struct {
	since uint64 // the tick since which all must have been looked at, when it is the second look at a whole snapshot
	retry bool   // what has failed is read again
}

// announce registers a read of each reference that is due for one, and returns
// those. What was never read, and a second look at a whole snapshot, goes in
// batches; the rest does not, since an account may make only a hundred batch
// calls a second.
func (s *Store) announce(refs []secret.Ref, asOf time.Time, t terms) fresh {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	var f fresh
	for _, ref := range refs {
		e := s.entry(ref)
		if e.busy() || !e.wanted(asOf, t.since, t.retry && !s.gateOf(ref).breaker.Open(now), now) {
			continue
		}
		batch := e.batchable() && (t.since > 0 || !e.known || e.held.ID == "" && wire.Is[wire.SessionError](e.err)) && refresher.Due(s.noBatch, now)
		f.add(s.begin(e, now), batch)
	}
	f.settle()
	return f
}

// entry returns what is known of a reference.
func (s *Store) entry(ref secret.Ref) *entry {
	if s.entries[ref] == nil {
		s.entries[ref] = &entry{ref: ref}
	}
	return s.entries[ref]
}

// underWay returns the channel that is closed when the read of a reference
// under way has ended, or that of the last one.
func (s *Store) underWay(ref secret.Ref) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.entry(ref).read; r != nil {
		return r.done
	}
	forgotten := make(chan struct{}) // by Plan, since it was read
	close(forgotten)
	return forgotten
}

// gateOf returns the gate of the service that keeps what ref names.
func (s *Store) gateOf(ref secret.Ref) *gate {
	if ref.Kind != secret.SecretsManager {
		return &s.parameterGate
	}
	return &s.regions[0].gate
}

// Package store reads secrets from Secrets Manager: references in, one snapshot out.
package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"outrider/secret"
)

const (
	// batchSize is the most ids that one BatchGetSecretValue takes.
	batchSize = 20
	// batchTimeout is after how long a batch is given up for single reads.
	batchTimeout = 3 * time.Second
	// looks bounds how often a snapshot is taken anew because a version moved
	// under it.
	looks = 5
)

// sessions is whose credentials sign the reads.
type sessions interface {
	aws.CredentialsProvider
	// Spent says that AWS refused these credentials; the next Retrieve must
	// return others.
	Spent(aws.Credentials)
}

// Options say where and as whom a Store reads.
type Options struct {
	Region      string
	Endpoint    string            // base URL; empty: AWS's own for the region
	Transport   http.RoundTripper // nil: http.DefaultTransport; redirects are not followed
	FIPS        bool              // the region's FIPS endpoint; not with Endpoint
	DualStack   bool              // the region's IPv4 and IPv6 endpoint; not with Endpoint
	Sessions    sessions
	Timeout     time.Duration // of one call; 0: 10 s
	Concurrency int           // calls under way at once; 0: 8
}

// Store reads the secrets of one role. A secret that several apps want at the
// same time is read once. It is safe for concurrent use.
type Store struct {
	client   *secretsmanager.Client
	sessions sessions
	region   string
	timeout  time.Duration
	slots    chan struct{}
	few      chan struct{} // slots for secrets whose last read did not end in time

	mu      sync.Mutex
	reads   map[secret.Ref]*read
	noBatch bool // BatchGetSecretValue is not allowed to this role
}

// read is one reading of one reference, under way until done is closed.
type read struct {
	began   time.Time
	done    chan struct{}
	version secret.Version // set before done is closed, like err
	err     error
	suspect bool // the read before it did not end in time
}

// New returns a Store that has read nothing yet.
func New(o Options) *Store {
	timeout, slots := o.Timeout, o.Concurrency
	if timeout <= 0 {
		timeout = 10 * time.Second
	}
	if slots <= 0 {
		slots = 8
	}
	options := secretsmanager.Options{
		Region:      o.Region,
		Credentials: o.Sessions,
		HTTPClient:  &http.Client{Transport: o.Transport, CheckRedirect: stay},
		Retryer:     aws.NopRetryer{}, // the loop that called backs off
	}
	if o.FIPS {
		options.EndpointOptions.UseFIPSEndpoint = aws.FIPSEndpointStateEnabled
	}
	if o.DualStack {
		options.EndpointOptions.UseDualStackEndpoint = aws.DualStackEndpointStateEnabled
	}
	if o.Endpoint != "" {
		options.BaseEndpoint = aws.String(o.Endpoint)
	}
	return &Store{
		client:   secretsmanager.New(options),
		sessions: o.Sessions,
		region:   o.Region,
		timeout:  timeout,
		slots:    make(chan struct{}, slots),
		few:      make(chan struct{}, 2),
		reads:    map[secret.Ref]*read{},
	}
}

// stay keeps a signed request from going where a captive portal sends it.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Get returns one snapshot of the references, by the names that templates
// use, no value of it read before asOf. With more than one reference the
// versions are looked at again after the last read, unless nothing moved
// since last, and the snapshot is taken anew if one did. It blocks until all
// reads have ended; an error joins one *Error for each reference that could
// not be read, or is the session's.
func (s *Store) Get(ctx context.Context, refs map[string]secret.Ref, asOf time.Time, last secret.Snapshot) (secret.Snapshot, error) {
	shot, err := s.take(ctx, refs, asOf, false)
	if err != nil {
		return secret.Snapshot{}, err
	}
	if len(refs) < 2 || shot.SameVersions(last) {
		return shot, nil
	}
	for range looks {
		again, err := s.take(ctx, refs, time.Now(), true)
		if err != nil {
			return secret.Snapshot{}, err
		}
		if again.SameVersions(shot) {
			return again, nil
		}
		shot = again
	}
	return secret.Snapshot{}, fmt.Errorf("secrets %v: a version moved during each of %d looks", slices.Sorted(maps.Keys(refs)), looks)
}

// Begin announces a read of all these references as of now, but for those
// whose last read is still under way, and returns the function that carries it
// out, blocking until it has ended; it reports whether AWS throttled. A Get
// that comes between waits for the announced reads instead of making its own:
// this is how the apps of a role share a cold start in batches, and every poll.
func (s *Store) Begin(refs []secret.Ref) func(context.Context) (throttled bool) {
	fresh := s.announce(refs, time.Now(), terms{retry: true})
	return func(ctx context.Context) bool {
		s.carryOut(ctx, fresh)
		return slices.ContainsFunc(slices.Concat(fresh.batch, fresh.single), func(r *read) bool {
			return classify(r.err) == throttled
		})
	}
}

// Keep forgets what was read of references other than these.
func (s *Store) Keep(refs []secret.Ref) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.reads, func(ref secret.Ref, _ *read) bool { return !slices.Contains(refs, ref) })
}

// take reads every reference no earlier than asOf, sharing what was or is
// being read since then. A read that began earlier and is still under way is
// waited for first: of one reference only one read is under way at a time, so
// that one which hangs does not pile up.
func (s *Store) take(ctx context.Context, refs map[string]secret.Ref, asOf time.Time, again bool) (secret.Snapshot, error) {
	unique := slices.Collect(maps.Values(refs))
	ended := map[secret.Ref]*read{}
	for _, retry := range []bool{true, false} {
		s.carryOut(ctx, s.announce(unique, asOf, terms{again: again, retry: retry}))
		for _, ref := range unique {
			// Held on to: by the time that it is looked at, somebody else
			// may have begun another one, which has no outcome yet.
			r := s.current(ref)
			select {
			case <-r.done:
				ended[ref] = r
			case <-ctx.Done():
				return secret.Snapshot{}, context.Cause(ctx)
			}
		}
	}
	versions := make(map[string]secret.Version, len(refs))
	taken := time.Time{}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(refs)) {
		r := ended[refs[name]]
		if r.err != nil {
			// Without a session every reference fails for the one reason.
			if !slices.Contains(errs, r.err) {
				errs = append(errs, r.err)
			}
			continue
		}
		versions[name] = r.version
		if taken.IsZero() || r.began.Before(taken) {
			taken = r.began
		}
	}
	if len(errs) > 0 {
		return secret.Snapshot{}, errors.Join(errs...)
	}
	return secret.NewSnapshot(taken, versions), nil
}

// terms are what announce goes by.
type terms struct {
	again bool // it is the second look at a whole snapshot
	retry bool // what has failed is read again
}

// announce registers a read of each reference whose last one has ended, and
// failed or began before asOf, and returns those. What was never read, and a
// second look at a whole snapshot, goes in batches; a poll does not, since an
// account may make only a hundred batch calls a second.
func (s *Store) announce(refs []secret.Ref, asOf time.Time, t terms) fresh {
	s.mu.Lock()
	defer s.mu.Unlock()
	var f fresh
	for _, ref := range refs {
		old := s.reads[ref]
		if old != nil && !old.due(asOf, t.retry) {
			continue
		}
		r := &read{began: time.Now(), done: make(chan struct{})}
		r.version.Ref = ref
		r.suspect = old != nil && errors.Is(old.err, context.DeadlineExceeded)
		s.reads[ref] = r
		if (old == nil || t.again) && !s.noBatch && ref.VersionID == "" && ref.Stage == secret.Current {
			f.batch = append(f.batch, r)
		} else {
			f.single = append(f.single, r)
		}
	}
	if len(f.batch) == 1 {
		f.single, f.batch = append(f.single, f.batch...), nil
	}
	return f
}

// due reports whether the reference is to be read again: not while this read
// is under way, and after a failure only if that is to be retried.
func (r *read) due(asOf time.Time, retry bool) bool {
	select {
	case <-r.done:
		return r.err != nil && retry || r.err == nil && r.began.Before(asOf)
	default:
		return false
	}
}

func (s *Store) current(ref secret.Ref) *read {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reads[ref]
}

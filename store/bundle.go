package store

import (
	"context"
	"slices"
	"sync"
	"time"

	"outrider/refresher"
)

// company is how long a read for which there is no turn of its own waits for
// others to share a call with.
const company = 20 * time.Millisecond

// bundle is up to twenty reads that wait for the turn of a batch.
type bundle struct {
	reads []*read
	rest  chan []*read // once they were in a call: those that it has not ended
}

// readBundle ends reads by BatchGetSecretValue: in a call of their own, or along
// with others whose turn comes first. The more there is to read at once, the
// fewer calls it takes for each. What the call does not settle is read singly.
func (s *Store) readBundle(ctx context.Context, reads []*read, wait time.Duration) {
	own := &bundle{reads, make(chan []*read, 1)}
	s.mu.Lock()
	s.bundles = append(s.bundles, own)
	s.mu.Unlock()
	var rest []*read
	select {
	case s.head <- struct{}{}:
		together := s.gather(ctx, own, wait)
		<-s.head
		s.readTogether(ctx, together)
		rest = <-own.rest
	case <-ctx.Done():
		s.readTogether(ctx, s.takeBundles(own, len(reads)))
		rest = <-own.rest
	case rest = <-own.rest:
	}
	var calls sync.WaitGroup
	for _, r := range rest {
		calls.Go(func() { s.readOne(ctx, r) })
	}
	calls.Wait()
}

// gather waits for the turn of a call, and takes the bundle with as many others
// as fit in it; none when it was taken before.
func (s *Store) gather(ctx context.Context, own *bundle, wait time.Duration) []*bundle {
	s.mu.Lock()
	waits := slices.Contains(s.bundles, own)
	s.mu.Unlock()
	if !waits {
		return nil
	}
	if pause(ctx, max(wait, s.turn("BatchGetSecretValue"))) != nil {
		return s.takeBundles(own, len(own.reads)) // the others have contexts of their own
	}
	return s.takeBundles(own, batchSize)
}

// takeBundles takes a bundle out of the line, unless that was done, and with it
// others in their order, so many reads at the most.
func (s *Store) takeBundles(own *bundle, most int) (together []*bundle) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.bundles, own) {
		return nil
	}
	together, most = append(together, own), most-len(own.reads)
	s.bundles = slices.DeleteFunc(s.bundles, func(b *bundle) bool {
		if b != own && len(b.reads) <= most {
			together, most = append(together, b), most-len(b.reads)
			return true
		}
		return b == own
	})
	return together
}

// readTogether makes one call for the bundles, and hands back to each what it
// has not ended.
func (s *Store) readTogether(ctx context.Context, together []*bundle) {
	if len(together) == 0 {
		return
	}
	var all []*read
	for _, b := range together {
		all = append(all, b.reads...)
	}
	rest := s.readBatch(ctx, all)
	for _, b := range together {
		b.rest <- slices.DeleteFunc(slices.Clone(b.reads), func(r *read) bool { return !slices.Contains(rest, r) })
	}
}

// crowded takes out of single reads those that may share a call, when there is
// no turn for calls of their own.
func (s *Store) crowded(single []*read) (alone, shared []*read) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.bucket("GetSecretValue").Wait(now) <= 0 {
		return single, nil
	}
	for _, r := range single {
		if e := r.entry; e.batchable() && !e.suspect && e.err == nil && refresher.Due(s.noBatch, now) {
			shared = append(shared, r)
		} else {
			alone = append(alone, r)
		}
	}
	return alone, shared
}

// bucket returns what bounds an operation's calls. The caller holds the lock.
func (s *Store) bucket(operation string) *refresher.Bucket {
	if s.buckets[operation] == nil {
		b := budget(operation)
		s.buckets[operation] = &b
	}
	return s.buckets[operation]
}

package deliver

// What stands here goes when nobody uses it any more: Ledger has taken its
// place.

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Owed is what one app has still to be told: its targets in order, and how
// far down the list the newest generation has come. It is safe for
// concurrent use, Deliver by one caller at a time.
type Owed struct {
	targets []Target

	mu     sync.Mutex
	newest Notification
	next   int // the first target that is still owed newest
}

// NewOwed returns an Owed for the targets that owes nothing yet.
func NewOwed(targets []Target) *Owed {
	return &Owed{targets: targets, next: len(targets)}
}

// Add makes n owed to every target, in place of what an older generation
// still owed.
func (o *Owed) Add(n Notification) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.newest, o.next = n, 0
}

// Names returns the targets that are still owed a notification, in order;
// none when all is delivered.
func (o *Owed) Names() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var names []string
	for _, t := range o.targets[o.next:] {
		names = append(names, t.String())
	}
	return names
}

// Deliver tells the targets that are owed, in order, until all are told, one
// of them fails or ctx ends. It does not try again by itself: the next call
// goes on where this one stopped. When Add comes in between, the list begins
// again for the newer generation. The results are in the order of the
// attempts, that of the error included. It blocks as long as the targets do.
func (o *Owed) Deliver(ctx context.Context) ([]Result, error) {
	var results []Result
	for {
		target, n := o.first()
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
		o.told(n)
	}
}

// first returns the target to tell next, nil when nothing is owed.
func (o *Owed) first() (Target, Notification) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.next == len(o.targets) {
		return nil, o.newest
	}
	return o.targets[o.next], o.newest
}

// told notes that the first target knows n, unless n is no longer the
// newest.
func (o *Owed) told(n Notification) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.newest == n {
		o.next++
	}
}

// Prepare is Ledger.Stage without a journal.
func Prepare(app string, generation uint64, files []File) (*Staged, error) {
	if err := checkName(app); err != nil {
		return nil, err
	}
	return stage(nil, app, standing{Generation: generation - 1}, files)
}

// Commit is Ledger.Commit without a journal.
func (s *Staged) Commit() error {
	err := s.repair()
	if err == nil {
		err = s.sync(nil)
	}
	if err == nil {
		_, err = s.publish()
	}
	if err != nil && s.flip == nil {
		err = errors.Join(err, s.Discard())
	}
	s.close()
	return err
}

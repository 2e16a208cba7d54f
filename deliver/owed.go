package deliver

import (
	"context"
	"fmt"
	"sync"
)

// Notification is what a target is told: an app's files are of a new
// generation.
type Notification struct {
	App        string
	Generation uint64
}

// Target is somebody to tell: a Signal, a Command or a Unit.
type Target interface {
	// Notify tells the target and blocks until it has taken notice, as far
	// as its kind can say so. A target that is not running is Absent, which
	// is no error. After an error Notify is to be called again.
	Notify(ctx context.Context, n Notification) (Outcome, error)
	// String returns what the target is, as logs and status show it.
	String() string
}

// Outcome is how one notification went.
type Outcome string

// The outcomes. Absent counts as delivered: what is not running reads the
// new files when it starts.
const (
	Delivered Outcome = "delivered"
	Absent    Outcome = "absent"
	Failed    Outcome = "failed"
)

// Result is the outcome at one target.
type Result struct {
	Target       string
	Notification Notification
	Outcome      Outcome
}

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

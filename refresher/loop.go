package refresher

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// Loop calls Look again and again, one call at a time: an Interval with
// jitter after the last one began when that went well, a back-off after it
// ended when it failed, and at once when Wake asks for it. Set the fields before Run.
type Loop struct {
	// Look's error says only that it failed, and with a method RetryAt when to
	// look again; reporting it is its own business.
	Look     func(context.Context) error
	Interval time.Duration // 0: after success only Wake looks again
	// Plan, in place of Interval, returns when to look again after success; the
	// zero time: only when Wake asks. Nil: there is only the Interval.
	Plan   func() time.Time
	Asleep bool // the first look, too, waits for Wake
	Retry  Backoff
	Roll   func() float64 // a random number in [0, 1)

	once sync.Once
	wake chan struct{}
	next atomic.Pointer[time.Time] // the next planned look; nil: none
}

// Next returns when the loop means to look next; the zero time while it looks
// or only Wake would make it.
func (l *Loop) Next() time.Time {
	if at := l.next.Load(); at != nil {
		return Shown(*at, time.Now())
	}
	return time.Time{}
}

// Wake makes the loop look at once, or again as soon as the look under way
// has ended. It never blocks. However many calls come together, two looks at
// the most come of them.
func (l *Loop) Wake() {
	select {
	case l.signal() <- struct{}{}:
	default:
	}
}

// Run looks for the first time at once, unless the loop starts asleep, and
// ends only with ctx, whose cause it returns.
func (l *Loop) Run(ctx context.Context) error {
	if l.Asleep {
		if err := until(ctx, time.Time{}, l.signal()); err != nil {
			return err
		}
	}
	failures := 0
	for ctx.Err() == nil {
		at, began := time.Time{}, time.Now()
		switch err := l.Look(ctx); {
		case err != nil:
			failures++
			at = time.Now().Add(l.Retry.Delay(failures, l.Roll()))
			if own, ok := errors.AsType[interface {
				error
				RetryAt() time.Time
			}](err); ok {
				at = own.RetryAt()
			}
		case l.Plan != nil:
			failures, at = 0, l.Plan()
		case l.Interval > 0:
			failures = 0
			at = began.Add(Poll(l.Interval, l.Roll()))
		default:
			failures = 0
		}
		if err := l.rest(ctx, at); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// rest waits for at, or for Wake; a zero at is never reached.
func (l *Loop) rest(ctx context.Context, at time.Time) error {
	if !at.IsZero() {
		l.next.Store(&at)
		defer l.next.Store(nil)
	}
	return until(ctx, at, l.signal())
}

func (l *Loop) signal() chan struct{} {
	l.once.Do(func() { l.wake = make(chan struct{}, 1) })
	return l.wake
}

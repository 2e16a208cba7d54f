// Package refresher decides when to look again, and is the loop that does.
package refresher

import (
	"context"
	"time"
)

// nap bounds how long a wait goes without looking at the wall clock, so that
// within it a machine that was suspended notices that the time has come.
const nap = 30 * time.Second

// Poll returns how long to wait for the next look at something polled every
// interval: between 0.8 and 1.2 of it. Roll is in [0, 1).
func Poll(interval time.Duration, roll float64) time.Duration {
	return time.Duration(float64(interval) * (0.8 + 0.4*roll))
}

// Renewal returns when to renew what is valid from one instant until another:
// between 0.40 and 0.55 of the time between them, so that a one-hour session
// always has more than 15 minutes left, below which clients that were handed
// it start to ask for another. Roll is in [0, 1) and belongs to the lease: it
// is rolled once for each.
func Renewal(from, until time.Time, roll float64) time.Time {
	life := max(until.Sub(from), 0)
	return from.Add(time.Duration(float64(life) * (0.40 + 0.15*roll)))
}

// Backoff is full-jitter exponential back-off. Its zero value waits up to one
// second after the first failure and up to sixty after the seventh and later.
type Backoff struct {
	First time.Duration // the bound after the first failure; 0: 1 s
	Limit time.Duration // the bound that doubling stops at; 0: 60 s
}

// Delay returns how long to wait after that many failures in a row: a random
// part of the bound, and never less than a twentieth of the first one, so
// that luck alone cannot make a tight loop. Roll is in [0, 1).
func (b Backoff) Delay(failures int, roll float64) time.Duration {
	first, limit := b.First, b.Limit
	if first <= 0 {
		first = time.Second
	}
	if limit <= 0 {
		limit = 60 * time.Second
	}
	bound := first
	for i := 1; i < failures && bound < limit; i++ {
		bound *= 2
	}
	bound = min(bound, limit)
	return max(time.Duration(float64(bound)*roll), min(first/20, limit))
}

// until waits for at to come, for wake, or for ctx, whose cause it then returns.
// When the wall clock is stepped meanwhile, either way, the wait is over too:
// what failed by the clock as it was may go well, and what was learned of it is
// wrong. A zero at is never reached.
func until(ctx context.Context, at time.Time, wake <-chan struct{}) error {
	began := time.Now()
	for {
		var timer <-chan time.Time
		if !at.IsZero() {
			now := time.Now()
			if Due(at, now) || step(began, now).Abs() > stepped {
				return context.Cause(ctx)
			}
			timer = time.After(min(-Ago(at, now), nap))
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-wake:
			return nil
		case <-timer:
		}
	}
}

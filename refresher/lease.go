package refresher

import (
	"context"
	"sync"
	"time"
)

// Term is something that was leased, and for how long it holds.
type Term[T any] struct {
	Value T
	From  time.Time // by this machine's clock
	Until time.Time // likewise; it must not be used from here on, whichever clock says so
}

// Lease keeps one leased thing fresh: it is renewed ahead of its end, one
// attempt at a time, and the old one serves until it truly ends. Set the
// fields before use.
type Lease[T any] struct {
	Create func(context.Context) (Term[T], error)
	// Granted is called after a new term was taken up: Get returns it by
	// then. It may be nil, and must not block.
	Granted func()
	Splay   time.Duration // the first attempt of a Run waits for a random part of it
	Retry   Backoff
	Roll    func() float64 // a random number in [0, 1)

	once    sync.Once
	wake    chan struct{}
	mu      sync.Mutex
	term    Term[T]
	held    bool
	serial  uint64 // counts the terms, so that one spent term is replaced once
	renewAt time.Time
	err     error         // of the last attempt; nil when it went well
	changed chan struct{} // closed and made anew after every attempt
}

// Run keeps the lease until ctx ends, whose cause it returns. A lease that
// holds already, from an earlier Run, is not renewed before its time.
func (l *Lease[T]) Run(ctx context.Context) error {
	l.init()
	failures, refused := 0, 0
	at := l.renewAt
	if _, held, _ := l.Now(); !held && l.Splay > 0 {
		first := time.Now().Add(time.Duration(float64(l.Splay) * l.Roll()))
		if err := until(ctx, first, nil); err != nil {
			return err
		}
	}
	for ctx.Err() == nil {
		if _, held, _ := l.Now(); !held || Due(at, time.Now()) {
			at, failures = l.attempt(ctx, failures)
			if failures == 0 {
				l.drain()
			}
		}
		if err := until(ctx, at, l.wake); err != nil {
			return err
		}
		switch {
		case !l.spentYoung():
			refused = 0
		default:
			// The first refusal is answered at once. Terms that are refused
			// one after the other are not: more of them would not mend it.
			if refused++; refused > 1 {
				pause := time.Now().Add(l.Retry.Delay(refused, l.Roll()))
				if err := until(ctx, pause, nil); err != nil {
					return err
				}
			}
		}
		at = time.Time{}
	}
	return context.Cause(ctx)
}

// attempt tries once, and says when to try next and how many attempts in a
// row have failed.
func (l *Lease[T]) attempt(ctx context.Context, failures int) (time.Time, int) {
	term, err := l.Create(ctx)
	if err != nil {
		failures++
		l.settle(term, err, time.Time{})
		return time.Now().Add(l.Retry.Delay(failures, l.Roll())), failures
	}
	at := Renewal(term.From, term.Until, l.Roll())
	// What holds for no time at all must not make a tight loop.
	if soonest := time.Now().Add(l.Retry.Delay(1, 1)); at.Before(soonest) {
		at = soonest
	}
	l.settle(term, nil, at)
	if l.Granted != nil {
		l.Granted()
	}
	return at, 0
}

// Renew makes Run try at once. It never blocks.
func (l *Lease[T]) Renew() {
	l.init()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Get returns the leased thing and its serial number. When there is none that
// holds, it waits for the attempt under way, until ctx ends; after a failed
// attempt it returns that one's error at once.
func (l *Lease[T]) Get(ctx context.Context) (T, uint64, error) {
	l.init()
	for {
		l.mu.Lock()
		value, serial, valid, err, changed := l.term.Value, l.serial, l.valid(), l.err, l.changed
		ended := l.held && !valid && l.err == nil
		l.mu.Unlock()
		if ended {
			// The end came unnoticed, while the machine slept: do not wait
			// out the nap. After a failed attempt the back-off has its way.
			l.Renew()
		}
		var none T
		switch {
		case valid:
			return value, serial, nil
		case err != nil:
			return none, 0, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return none, 0, context.Cause(ctx)
		}
	}
}

// Now returns the term in hand, whether it holds, and the cause of the last
// attempt if that failed, as it may have while an older term still holds. It
// never blocks. The term's end is as the wall clock shows it at this moment.
func (l *Lease[T]) Now() (term Term[T], held bool, err error) {
	l.init()
	l.mu.Lock()
	defer l.mu.Unlock()
	term = l.term
	term.Until = Shown(term.Until, time.Now())
	return term, l.valid(), l.err
}

// Spent says that the thing with that serial number is refused although it
// should hold: it is handed out no more, and Run gets another at once. Of
// many who say so, the first counts.
func (l *Lease[T]) Spent(serial uint64) {
	l.init()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held && l.serial == serial {
		l.held, l.err = false, nil
		l.Renew()
	}
}

// drain forgets a wake that the term just granted has answered; not one that
// says this very term is refused.
func (l *Lease[T]) drain() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.held {
		return
	}
	select {
	case <-l.wake:
	default:
	}
}

func (l *Lease[T]) init() {
	l.once.Do(func() {
		l.wake = make(chan struct{}, 1)
		l.changed = make(chan struct{})
	})
}

func (l *Lease[T]) valid() bool {
	return l.held && !Due(l.term.Until, time.Now())
}

// spentYoung reports whether the term in hand was refused within a minute of
// being granted.
func (l *Lease[T]) spentYoung() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.held && l.err == nil && time.Since(l.term.From) < time.Minute
}

func (l *Lease[T]) settle(term Term[T], err error, renewAt time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
	if err == nil {
		l.term, l.held, l.renewAt = term, true, renewAt
		l.serial++
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

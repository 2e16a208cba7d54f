package refresher

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// lender grants numbered terms of an hour, or fails while broken is set.
type lender struct {
	mu     sync.Mutex
	broken error
	asked  int
	given  int
	slow   time.Duration
}

func (l *lender) create(context.Context) (Term[int], error) {
	l.mu.Lock()
	l.asked++
	broken, slow := l.broken, l.slow
	l.mu.Unlock()
	time.Sleep(slow)
	if broken != nil {
		return Term[int]{}, broken
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.given++
	return Term[int]{Value: l.given, From: time.Now(), Until: time.Now().Add(time.Hour)}, nil
}

func (l *lender) set(broken error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken = broken
}

func (l *lender) counts() (asked, given int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asked, l.given
}

// leasing runs f in a bubble in which a lease from the lender is running.
func leasing(t *testing.T, from *lender, f func(t *testing.T, l *Lease[int])) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		lease := &Lease[int]{Create: from.create, Roll: middling}
		ended := make(chan error, 1)
		go func() { ended <- lease.Run(ctx) }()
		f(t, lease)
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v, want its context's cause", err)
		}
	})
}

func TestLeaseIsRenewedAheadOfItsEndAndAlwaysHolds(t *testing.T) {
	from := &lender{}
	leasing(t, from, func(t *testing.T, l *Lease[int]) {
		began := time.Now()
		for range 30 * 24 * 60 {
			// A renewal due at this very minute goes between no two looks.
			synctest.Wait()
			value, _, err := l.Get(t.Context())
			if err != nil {
				t.Fatalf("after %v: %v", time.Since(began), err)
			}
			term, held, _ := l.Now()
			if !held || term.Value != value || time.Until(term.Until) <= 15*time.Minute {
				t.Fatalf("term %d has %v left, want more than 15m", value, time.Until(term.Until))
			}
			time.Sleep(time.Minute)
		}
		// Thirty days of terms renewed at 0.475 of an hour.
		if _, given := from.counts(); given < 1500 || given > 1530 {
			t.Errorf("%d terms in thirty days, want about 1516", given)
		}
	})
}

func TestLeaseServesTheOldTermUntilItTrulyEnds(t *testing.T) {
	from := &lender{}
	leasing(t, from, func(t *testing.T, l *Lease[int]) {
		if _, _, err := l.Get(t.Context()); err != nil {
			t.Fatal(err)
		}
		away := errors.New("away")
		from.set(away)
		time.Sleep(59 * time.Minute)
		if value, _, err := l.Get(t.Context()); value != 1 || err != nil {
			t.Errorf("a minute before its end: %d, %v; want the first term", value, err)
		}
		time.Sleep(2 * time.Minute)
		if _, _, err := l.Get(t.Context()); !errors.Is(err, away) {
			t.Errorf("after its end: %v, want the cause", err)
		}
		if _, held, err := l.Now(); held || !errors.Is(err, away) {
			t.Errorf("Now after its end: held %v, %v", held, err)
		}
		from.set(nil)
		time.Sleep(time.Minute)
		if value, _, err := l.Get(t.Context()); value != 2 || err != nil {
			t.Errorf("a minute after mending: %d, %v; want the second term", value, err)
		}
	})
}

func TestLeaseIsAskedForOnceByAThousandAtOnce(t *testing.T) {
	from := &lender{slow: time.Second}
	leasing(t, from, func(t *testing.T, l *Lease[int]) {
		var all sync.WaitGroup
		for range 1000 {
			all.Go(func() {
				if _, _, err := l.Get(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if asked, _ := from.counts(); asked != 1 {
			t.Errorf("asked %d times, want once", asked)
		}
	})
}

func TestLeaseReplacesASpentTermOnceAndAtOnce(t *testing.T) {
	from := &lender{}
	leasing(t, from, func(t *testing.T, l *Lease[int]) {
		_, serial, err := l.Get(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		began := time.Now()
		for range 100 {
			l.Spent(serial)
		}
		value, _, err := l.Get(t.Context())
		if err != nil || value != 2 || time.Since(began) != 0 {
			t.Errorf("after it was spent: %d, %v, in %v; want the second term at once", value, err, time.Since(began))
		}
		synctest.Wait()
		if asked, _ := from.counts(); asked != 2 {
			t.Errorf("asked %d times, want twice", asked)
		}
	})
}

func TestLeaseSlowsDownWhenEveryTermIsRefused(t *testing.T) {
	from := &lender{}
	leasing(t, from, func(t *testing.T, l *Lease[int]) {
		for began := time.Now(); time.Since(began) < 10*time.Minute; time.Sleep(100 * time.Millisecond) {
			if _, serial, err := l.Get(t.Context()); err == nil {
				l.Spent(serial)
			}
		}
		if asked, _ := from.counts(); asked > 40 {
			t.Errorf("asked %d times in ten minutes of refusals, want a back-off", asked)
		}
	})
}

func TestLeaseGoesOnWithItsTermInASecondRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := &lender{}
		lease := &Lease[int]{Create: from.create, Roll: middling}
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			_ = lease.Run(ctx)
			cancel()
		}
		if asked, _ := from.counts(); asked != 1 {
			t.Errorf("asked %d times in three runs of a minute, want once", asked)
		}
	})
}

func TestLeaseGetEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lease := &Lease[int]{Create: (&lender{}).create, Roll: middling}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, _, err := lease.Get(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Get = %v, want the context's cause", err)
		}
	})
}

func TestLeaseWaitsARandomPartOfItsSplayBeforeTheFirstAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		lease := &Lease[int]{Create: (&lender{}).create, Roll: middling, Splay: 4 * time.Second}
		ended := make(chan error, 1)
		go func() { ended <- lease.Run(ctx) }()
		began := time.Now()
		if _, _, err := lease.Get(ctx); err != nil || time.Since(began) != 2*time.Second {
			t.Errorf("the first term came after %v (%v), want 2s", time.Since(began), err)
		}
		cancel()
		<-ended
	})
}

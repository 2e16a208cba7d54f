package refresher

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"outrider/internal/clocktest"
)

// near is how exact a time must be on a busy machine.
const near = 30 * time.Second

func TestWhatIsDueByEitherClockIsDue(t *testing.T) {
	clocktest.Inside(t, func(c *clocktest.Clock) {
		for _, tc := range []struct {
			name            string
			wall, monotonic time.Duration
			left            time.Duration // of an hour
		}{
			{"nothing happens", 0, 0, time.Hour},
			{"the wall clock is set back", -24 * time.Hour, 0, time.Hour},
			{"the wall clock is set forward", 40 * time.Minute, 0, 20 * time.Minute},
			{"the machine is suspended for longer", 2 * time.Hour, 0, -time.Hour},
			{"an hour has gone by on a clock that is set back", -24 * time.Hour, time.Hour, 0},
		} {
			at := time.Now().Add(time.Hour)
			c.Step(t, tc.wall, tc.monotonic)
			now := time.Now()
			if got := -Ago(at, now); (got - tc.left).Abs() > near {
				t.Errorf("%s: %v are left of an hour, want %v", tc.name, got, tc.left)
			}
			if got, want := Due(at, now), tc.left <= 0; got != want {
				t.Errorf("%s: due %t, want %t", tc.name, got, want)
			}
			if got := Shown(at, now).Round(0).Sub(now.Round(0)); (got - tc.left).Abs() > near {
				t.Errorf("%s: it is shown as %v from now, want %v", tc.name, got, tc.left)
			}
		}
	})
}

func TestATimeIsShownAsItIsUnlessTheWallClockWasStepped(t *testing.T) {
	at := time.Now().Add(time.Hour)
	if got := Shown(at, time.Now()); !got.Equal(at) {
		t.Errorf("got %v, want %v", got, at)
	}
	if got := Shown(time.Time{}, time.Now()); !got.IsZero() {
		t.Errorf("the zero time is shown as %v", got)
	}
}

func TestAStepOfTheWallClockEndsAWait(t *testing.T) {
	for name, by := range map[string]time.Duration{"back": -2 * time.Minute, "forward": 2 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			clocktest.Inside(t, func(c *clocktest.Clock) {
				ended := make(chan error, 1)
				go func() { ended <- until(t.Context(), time.Now().Add(100*365*24*time.Hour), nil) }()
				// The wait may be about to begin: the clock is stepped until it has
				// seen it. A nap is over each time by the monotonic one, so that no
				// timer of Go's would make a pause here.
				for pause := (syscall.Timespec{Nsec: 1e6}); len(ended) == 0; _ = syscall.Nanosleep(&pause, nil) {
					c.Step(t, by, nap+time.Second)
				}
				if err := <-ended; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestATermEndsAlsoWhenTheWallClockWasSetBack(t *testing.T) {
	clocktest.Inside(t, func(c *clocktest.Clock) {
		ctx, cancel := context.WithCancel(t.Context())
		away, asked := errors.New("away"), make(chan struct{}, 100)
		lease := &Lease[int]{Roll: middling, Create: func(context.Context) (Term[int], error) {
			asked <- struct{}{}
			if len(asked) > 1 {
				return Term[int]{}, away
			}
			now := time.Now()
			return Term[int]{Value: 1, From: now, Until: now.Add(time.Hour)}, nil
		}}
		ended := make(chan error, 1)
		go func() { ended <- lease.Run(ctx) }()
		if _, _, err := lease.Get(ctx); err != nil {
			t.Fatal(err)
		}
		c.Step(t, -24*time.Hour, 0)
		term, held, _ := lease.Now()
		if left := term.Until.Round(0).Sub(time.Now().Round(0)); !held || (left-time.Hour).Abs() > near {
			t.Errorf("set back: held %t for another %v by the wall clock, want an hour", held, left)
		}
		c.Step(t, time.Hour, time.Hour)
		if _, held, _ := lease.Now(); held {
			t.Error("it holds for longer than its hour")
		}
		if _, _, err := lease.Get(ctx); !errors.Is(err, away) {
			t.Errorf("Get = %v, want that there is none", err)
		}
		cancel()
		<-ended
	})
}

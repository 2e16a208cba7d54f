package refresher

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func middling() float64 { return 0.5 }

func TestLoopLooksAtItsIntervalAndBacksOffAfterFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var at []time.Duration
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		loop := &Loop{Interval: time.Minute, Roll: middling, Look: func(context.Context) error {
			at = append(at, time.Since(began))
			switch len(at) {
			case 2, 3:
				return errors.New("away")
			case 6:
				cancel()
			}
			return nil
		}}
		if err := loop.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v, want its context's cause", err)
		}
		s := time.Second
		want := []time.Duration{0, 60 * s, 60*s + s/2, 60*s + s/2 + s, 121*s + s/2, 181*s + s/2}
		if diff := cmp.Diff(want, at); diff != "" {
			t.Errorf("looks (-want +got):\n%s", diff)
		}
	})
}

func TestLoopGathersWakesThatComeTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		looks := 0
		ctx, cancel := context.WithCancel(t.Context())
		loop := &Loop{Asleep: true, Roll: middling, Look: func(context.Context) error { looks++; return nil }}
		ended := make(chan error, 1)
		go func() { ended <- loop.Run(ctx) }()
		synctest.Wait()
		if looks != 0 {
			t.Errorf("a sleeping loop looked %d times before it was woken", looks)
		}
		for range 5 {
			loop.Wake()
		}
		synctest.Wait()
		if looks < 1 || looks > 2 {
			t.Errorf("five wakes together made %d looks, want one or two", looks)
		}
		before := looks
		time.Sleep(time.Hour)
		if looks != before {
			t.Errorf("a loop without interval looked %d times unasked", looks-before)
		}
		cancel()
		<-ended
	})
}

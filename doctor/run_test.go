package doctor

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// after is a check that takes so long, unless its context ends first.
func after(subject string, d time.Duration) Check {
	return Check{subject, func(ctx context.Context) []Finding {
		select {
		case <-time.After(d):
			return []Finding{{OK, subject, "done", ""}}
		case <-ctx.Done():
			return []Finding{{Fail, subject, "called off", ""}}
		}
	}}
}

func TestChecksRunTogetherAndAreToldInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		got := Run(t.Context(), []Check{after("slow", 3*time.Second), after("quick", 0), after("middling", 2*time.Second)})
		want := []Finding{{OK, "slow", "done", ""}, {OK, "quick", "done", ""}, {OK, "middling", "done", ""}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("findings (-want +got):\n%s", diff)
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("it took %v, want as long as the slowest", took)
		}
	})
}

func TestWhatHangsIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung := make(chan struct{})
		defer close(hung)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		began := time.Now()
		got := Run(ctx, []Check{
			{"hangs", func(context.Context) []Finding { <-hung; return nil }},
			after("heeds its context", time.Hour), after("quick", 0),
		})
		want := []Finding{
			{Fail, "hangs", "no answer in time", "see what hangs: the network, or a file system whose server is away"},
			{Fail, "heeds its context", "called off", ""}, {OK, "quick", "done", ""},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("findings (-want +got):\n%s", diff)
		}
		if took := time.Since(began); took != 11*time.Second {
			t.Errorf("it took %v, want 11s", took)
		}
	})
}

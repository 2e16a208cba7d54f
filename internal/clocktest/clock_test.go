package clocktest

import (
	"testing"
	"time"
)

func TestEachClockIsSteppedByItself(t *testing.T) {
	Inside(t, func(c *Clock) {
		for _, step := range []struct {
			name            string
			wall, monotonic time.Duration
		}{
			{"the wall clock is set back", -56 * 365 * 24 * time.Hour, 0},
			{"the wall clock is set forward", 80 * 365 * 24 * time.Hour, 0},
			{"the process was stopped", time.Hour, time.Hour},
		} {
			before := time.Now()
			c.Step(t, step.wall, step.monotonic)
			now := time.Now()
			const slow = 30 * time.Second // a busy machine
			if wall := now.Round(0).Sub(before.Round(0)) - step.wall; wall < -slow || wall > slow {
				t.Errorf("%s: the wall clock is %v from where it should be", step.name, wall)
			}
			if monotonic := now.Sub(before) - step.monotonic; monotonic < 0 || monotonic > slow {
				t.Errorf("%s: the monotonic clock is %v from where it should be", step.name, monotonic)
			}
		}
	})
}

package agent

import (
	"testing"
	"time"
)

func TestFilesOfTheFutureAreOfNoKnownAge(t *testing.T) {
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name     string
		age      time.Duration
		maxStale time.Duration
		want     bool
	}{
		{"younger than that", time.Hour, 2 * time.Hour, true},
		{"older", 3 * time.Hour, 2 * time.Hour, false},
		{"any age will do", 1000 * time.Hour, 0, true},
		{"clocks that differ a little", -time.Minute, 2 * time.Hour, true},
		{"the clock was set back by years", -30000 * time.Hour, 2 * time.Hour, false},
		{"set back, and any age will do", -30000 * time.Hour, 0, true},
	} {
		if got := (progress{taken: now.Add(-tc.age)}).usable(now, tc.maxStale); got != tc.want {
			t.Errorf("%s: usable %t, want %t", tc.name, got, tc.want)
		}
	}
}

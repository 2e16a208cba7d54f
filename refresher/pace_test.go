package refresher

import (
	"testing"
	"time"
)

func TestPaceIsCloserTogetherWhileSomethingIsAfoot(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	const interval = 5 * time.Minute
	for _, tc := range []struct {
		name     string
		interval time.Duration
		pending  time.Duration // ago; 0: none
		due      time.Duration // from now; 0: none
		want     time.Duration // in the middle of the jitter
	}{
		{"nothing is", interval, 0, 0, interval},
		{"a change was just seen to begin", interval, time.Nanosecond, 0, 3 * time.Second},
		{"a change has been going on for two minutes", interval, 2 * time.Minute, 0, 12 * time.Second},
		{"a change that was given up is as good as none", interval, 24 * time.Hour, 0, interval},
		{"a change is scheduled in a week", interval, 0, 7 * 24 * time.Hour, interval},
		{"a change is scheduled in ten minutes", interval, 0, 10 * time.Minute, 150 * time.Second},
		{"a change is due", interval, 0, time.Nanosecond, 15 * time.Second},
		{"a change was due two minutes ago", interval, 0, -2 * time.Minute, 30 * time.Second},
		{"a change was due yesterday", interval, 0, -24 * time.Hour, interval},
		{"the interval is shorter than all that", time.Second, time.Minute, time.Minute, time.Second},
		{"a long interval does not miss the schedule", 24 * time.Hour, 0, 4 * time.Hour, time.Hour},
	} {
		f := Facts{Looked: now, Interval: tc.interval}
		if tc.pending != 0 {
			f.Pending = now.Add(-tc.pending)
		}
		if tc.due != 0 {
			f.Due = now.Add(tc.due)
		}
		if got := Pace(f, 0.5).Sub(now); got != tc.want {
			t.Errorf("%s: next look after %v, want %v", tc.name, got, tc.want)
		}
		if least, most := Pace(f, 0).Sub(now), Pace(f, 0.999).Sub(now); least < tc.want*79/100 || most > tc.want*121/100 {
			t.Errorf("%s: jitter from %v to %v, want a fifth either way of %v", tc.name, least, most, tc.want)
		}
	}
}

// TestPaceSpendsABoundedNumberOfLooksOnWhatNeverComes counts the looks at a
// rotation that was abandoned, and at one that was scheduled and did not come.
func TestPaceSpendsABoundedNumberOfLooksOnWhatNeverComes(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	const interval, day = 5 * time.Minute, 24 * time.Hour
	for _, tc := range []struct {
		name  string
		facts Facts
		most  int
	}{
		{"nothing", Facts{}, 288},
		{"abandoned", Facts{Pending: start}, 288 + 60},
		{"scheduled", Facts{Due: start.Add(day / 2)}, 288 + 40},
	} {
		looks, at := 0, start
		for at.Before(start.Add(day)) {
			looks++
			tc.facts.Looked, tc.facts.Interval = at, interval
			at = Pace(tc.facts, 0.5)
		}
		if looks < 288 || looks > tc.most {
			t.Errorf("%s: %d looks in a day, want 288 to %d", tc.name, looks, tc.most)
		}
	}
}

func TestFirstSpreadsWhatStartsTogether(t *testing.T) {
	for _, tc := range []struct {
		interval time.Duration
		roll     float64
		want     time.Duration
	}{
		{5 * time.Minute, 0, time.Minute},
		{5 * time.Minute, 0.5, 210 * time.Second},
		{time.Second, 0, 800 * time.Millisecond},
	} {
		if got := First(tc.interval, tc.roll); got != tc.want {
			t.Errorf("First(%v, %v) = %v, want %v", tc.interval, tc.roll, got, tc.want)
		}
	}
}

func TestSweepMakesAtMostTwelveCallsAnHour(t *testing.T) {
	for _, tc := range []struct {
		interval time.Duration
		calls    int
		want     time.Duration
	}{
		{time.Minute, 1, 5 * time.Minute},
		{time.Hour, 1, time.Hour},
		{time.Minute, 50, 250 * time.Minute},
		{time.Minute, 1000, 24 * time.Hour},
		{time.Minute, 0, time.Minute},
	} {
		if got := Sweep(tc.interval, tc.calls, 24*time.Hour); got != tc.want {
			t.Errorf("Sweep(%v, %d) = %v, want %v", tc.interval, tc.calls, got, tc.want)
		}
	}
}

func TestBucketLetsABurstThroughAndThenItsRate(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	b := Bucket{Rate: 10, Burst: 5}
	for i := range 5 {
		if wait := b.Take(now); wait != 0 {
			t.Fatalf("call %d of the burst waits %v", i, wait)
		}
	}
	for i := 1; i <= 3; i++ {
		if wait, want := b.Take(now), time.Duration(i)*100*time.Millisecond; wait != want {
			t.Errorf("call %d after the burst waits %v, want %v", i, wait, want)
		}
	}
	if wait := b.Take(now.Add(400 * time.Millisecond)); wait != 0 {
		t.Errorf("a call after the others' turn waits %v", wait)
	}
	now = now.Add(time.Hour)
	for range 5 {
		b.Take(now)
	}
	if wait := b.Take(now); wait != 100*time.Millisecond {
		t.Errorf("after an hour's rest the burst is not five: the sixth call waits %v", wait)
	}
	if wait := (&Bucket{}).Take(now); wait != 0 {
		t.Errorf("without a limit a call waits %v", wait)
	}
}

package refresher

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestPollStaysWithinAFifthOfItsInterval(t *testing.T) {
	for _, tc := range []struct {
		roll float64
		want time.Duration
	}{
		{0, 800 * time.Millisecond},
		{0.5, time.Second},
		{0.999999999, 1199999999 * time.Nanosecond},
	} {
		if got := Poll(time.Second, tc.roll); got.Round(time.Microsecond) != tc.want.Round(time.Microsecond) {
			t.Errorf("Poll(1s, %v) = %v, want %v", tc.roll, got, tc.want)
		}
	}
}

func TestRenewalLeavesMoreThanAQuarterOfAnHourOfAnHour(t *testing.T) {
	from := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	until := from.Add(time.Hour)
	for _, roll := range []float64{0, 0.5, 0.999} {
		got := Renewal(from, until, roll)
		if left := until.Sub(got); left <= 15*time.Minute || !got.After(from) {
			t.Errorf("Renewal with roll %v is at %v, which leaves %v", roll, got, left)
		}
	}
	if got := Renewal(until, from, 0.5); !got.Equal(until) {
		t.Errorf("Renewal of a term that ends before it begins is at %v, want its beginning", got)
	}
}

func TestBackoffDoublesUpToItsLimitAndNeverIsATightLoop(t *testing.T) {
	for _, tc := range []struct {
		name     string
		backoff  Backoff
		failures int
		roll     float64
		want     time.Duration
	}{
		{"the whole bound after one failure", Backoff{}, 1, 1, time.Second},
		{"twice that after two", Backoff{}, 2, 1, 2 * time.Second},
		{"the limit after many", Backoff{}, 1000, 1, 60 * time.Second},
		{"half the bound for a middling roll", Backoff{}, 3, 0.5, 2 * time.Second},
		{"a twentieth of the first bound for the luckiest roll", Backoff{}, 5, 0, 50 * time.Millisecond},
		{"its own bounds", Backoff{First: 10 * time.Millisecond, Limit: 40 * time.Millisecond}, 9, 1, 40 * time.Millisecond},
	} {
		if got := tc.backoff.Delay(tc.failures, tc.roll); got != tc.want {
			t.Errorf("%s: got %v, want %v", tc.name, got, tc.want)
		}
	}
}

func TestUntilReturnsAtTheTimeAndOnWake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if err := until(t.Context(), began.Add(95*time.Second), nil); err != nil {
			t.Fatal(err)
		}
		if got := time.Since(began); got != 95*time.Second {
			t.Errorf("until returned after %v, want 95s", got)
		}
		wake := make(chan struct{}, 1)
		wake <- struct{}{}
		began = time.Now()
		if err := until(t.Context(), time.Time{}, wake); err != nil {
			t.Fatal(err)
		}
		if got := time.Since(began); got != 0 {
			t.Errorf("until returned %v after a wake, want at once", got)
		}
	})
}

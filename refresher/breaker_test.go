package refresher

import (
	"testing"
	"time"
)

func TestBreakerOpensForLongerWithEachFailureAndClosesOnSuccess(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	b := Breaker{Retry: Backoff{First: time.Minute, Limit: 10 * time.Minute}}
	if b.Open(now) {
		t.Error("a new breaker is open")
	}
	for _, want := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 10 * time.Minute} {
		b.Record(false, now, 1)
		if got := b.Until().Sub(now); got != want || !b.Open(now.Add(want-1)) || b.Open(now.Add(want)) {
			t.Errorf("open for %v, want %v", got, want)
		}
	}
	b.Record(true, now, 1)
	if b.Open(now) {
		t.Error("open after a success")
	}
}

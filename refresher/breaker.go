package refresher

import "time"

// Breaker keeps from asking again what has just failed, for longer with each
// failure in a row. The zero Breaker is closed: ask. It is not safe for
// concurrent use.
type Breaker struct {
	Retry Backoff // how long it stays open, as a random part of a growing bound

	failures int
	until    time.Time
}

// Open reports whether it is too early to ask again.
func (b *Breaker) Open(now time.Time) bool { return !Due(b.until, now) }

// Until returns when it will be time to ask again; a past or zero time when
// it is.
func (b *Breaker) Until() time.Time { return b.until }

// Record notes how asking went. Roll is a random number in [0, 1).
func (b *Breaker) Record(ok bool, now time.Time, roll float64) {
	if ok {
		b.failures, b.until = 0, time.Time{}
		return
	}
	b.failures++
	b.until = now.Add(b.Retry.Delay(b.failures, roll))
}

package refresher

import "time"

// Bucket is a token bucket: it starts full, and fills at Rate up to Burst.
// It is not safe for concurrent use.
type Bucket struct {
	Rate  float64 // tokens a second; 0: there is no limit
	Burst float64 // at most so many are held

	debt float64 // tokens taken and not filled in yet
	at   time.Time
}

// Take takes a token and returns how long to wait before using it: zero while
// the bucket has any. Who takes must wait: the token is gone.
func (b *Bucket) Take(now time.Time) time.Duration {
	wait := b.Wait(now)
	b.debt++
	return wait
}

// Wait returns what Take would, and takes nothing.
func (b *Bucket) Wait(now time.Time) time.Duration {
	if b.Rate <= 0 {
		return 0
	}
	b.debt = max(0, b.debt-now.Sub(b.at).Seconds()*b.Rate)
	b.at = now
	return max(0, time.Duration((b.debt+1-b.Burst)/b.Rate*float64(time.Second)))
}

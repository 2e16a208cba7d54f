package refresher

import "time"

// Facts are what is known of something that is looked at again and again, by
// which Pace sets the time of the next look.
type Facts struct {
	Looked   time.Time     // the last look began then
	Interval time.Duration // between looks while nothing is afoot
	Pending  time.Time     // since when the change now under way has been seen; zero: none is
	Due      time.Time     // when a change is scheduled; zero: none is
}

// Pace returns when to look again: an interval after the last look, between
// 0.8 and 1.2 of it; sooner while a change is under way, 3 s after the last
// look at first and then a tenth of the time that it has been going on, and
// near a scheduled one, a quarter of the time to or from it and 15 s at the
// least. As waits grow with what they wait for, a change that never
// comes costs a bounded number of looks. Roll is in [0, 1).
func Pace(f Facts, roll float64) time.Time {
	wait := f.Interval
	if !f.Pending.IsZero() {
		wait = min(wait, max(f.Looked.Sub(f.Pending)/10, 3*time.Second))
	}
	if !f.Due.IsZero() {
		wait = min(wait, max(f.Due.Sub(f.Looked).Abs()/4, 15*time.Second))
	}
	return f.Looked.Add(Poll(wait, roll))
}

// First returns how long after the start the first planned look comes, so that
// what started together is not looked at together ever after: between 0.2 and
// 1.2 of the interval, if that is long enough to matter.
func First(interval time.Duration, roll float64) time.Duration {
	if interval < 10*time.Second {
		return Poll(interval, roll)
	}
	return time.Duration(float64(interval) * (0.2 + roll))
}

// Sweep returns how long a pass over everything takes that is made only to
// find what push has missed: the interval, or five minutes for each of the
// calls that a pass needs if that is longer, so that at most twelve are made an
// hour, but no longer than the limit.
func Sweep(interval time.Duration, calls int, limit time.Duration) time.Duration {
	return max(interval, min(time.Duration(calls)*5*time.Minute, limit))
}

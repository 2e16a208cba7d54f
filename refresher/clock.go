package refresher

import "time"

// stepped is by how much the wall clock must move against the monotonic one to
// count as stepped, or the machine as suspended.
const stepped = time.Minute

// Ago returns how long ago at was, negative when it is still to come: by the
// wall clock or by the monotonic one, whichever says more. The monotonic clock
// stands still while the machine is suspended, and the wall clock may be set
// back. A time without a monotonic reading goes by the wall clock alone.
func Ago(at, now time.Time) time.Duration {
	return max(now.Sub(at), now.Round(0).Sub(at.Round(0)))
}

// Due reports whether at has come, by Ago. The zero time has.
func Due(at, now time.Time) bool { return Ago(at, now) >= 0 }

// Shown returns what the wall clock will show when at comes: another time than
// at says when that clock was stepped since. Differences below a second are
// none.
func Shown(at, now time.Time) time.Time {
	if step(at, now).Abs() < time.Second {
		return at
	}
	return now.Add(-Ago(at, now))
}

// step returns by how much the wall clock has moved against the monotonic one
// between two readings.
func step(before, now time.Time) time.Duration {
	return now.Round(0).Sub(before.Round(0)) - now.Sub(before)
}

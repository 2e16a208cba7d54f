package agent

import (
	"context"
	"slices"
	"time"

	"outrider/secret"
)

// glance is the time between two looks at secrets that are in motion.
const glance = time.Second

// motion is what an app's secrets have been seen to do since they began to
// move: the beginning of a rotation of several is no state to deliver.
type motion struct {
	began time.Time // when the first change was seen
	last  time.Time // when the latest was
	seen  secret.Snapshot
}

// moving reports whether to wait before now is delivered in place of
// delivered: while one of a pair has changed and the other has not, and for
// settle after the latest change of several, but no longer than longest.
func (m *motion) moving(delivered, now secret.Snapshot, at time.Time, together [][]string, settle, longest time.Duration) bool {
	changed := changedNames(delivered, now)
	if len(changed) == 0 || delivered.Len() < 2 {
		return false
	}
	if m.began.IsZero() {
		m.began = at
	}
	if !now.SameVersions(m.seen) {
		m.seen, m.last = now, at
	}
	if at.Sub(m.began) >= longest {
		return false
	}
	return at.Sub(m.last) < settle || slices.ContainsFunc(together, func(group []string) bool {
		return halfChanged(group, changed)
	})
}

// changedNames returns the names whose version differs.
func changedNames(old, now secret.Snapshot) []string {
	var names []string
	for _, name := range now.Names() {
		a, had := old.Get(name)
		b, _ := now.Get(name)
		if had && (a.ID != b.ID || a.ARN != b.ARN) {
			names = append(names, name)
		}
	}
	return names
}

// halfChanged reports whether some of the group have changed and some not.
func halfChanged(group, changed []string) bool {
	n := 0
	for _, name := range group {
		if slices.Contains(changed, name) {
			n++
		}
	}
	return n > 0 && n < len(group)
}

// still returns a snapshot whose secrets are not in motion any more.
func (a *app) still(ctx context.Context, last secret.Snapshot) (secret.Snapshot, error) {
	var m motion
	for {
		now, err := a.get(ctx, last)
		if err != nil || !m.moving(last, now, time.Now(), a.Together, a.Settle, a.LongestWait) {
			return now, err
		}
		select {
		case <-time.After(glance):
			a.touch(time.Now())
		case <-ctx.Done():
			return secret.Snapshot{}, context.Cause(ctx)
		}
	}
}

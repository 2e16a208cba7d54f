package awslab

import (
	"slices"
	"time"
)

// memory bounds how far back a read may look.
const memory = time.Hour

// history is what a thing was before its latest changes, oldest first.
type history[T any] struct {
	past []moment[T]
	old  bool // the last read in doubt was answered from the past
}

type moment[T any] struct {
	until time.Time
	state T
}

// record keeps the state that ends now.
func (h *history[T]) record(now time.Time, state T) {
	h.past = slices.DeleteFunc(h.past, func(m moment[T]) bool { return m.until.Before(now.Add(-memory)) })
	h.past = append(h.past, moment[T]{until: now, state: state})
}

// at returns the state at a time, and false when it was what it is now.
func (h *history[T]) at(t time.Time) (state T, ok bool) {
	for _, m := range h.past {
		if m.until.After(t) {
			return m.state, true
		}
	}
	return state, false
}

// SetStaleness makes reads eventually consistent: for d after a change,
// readings of values, descriptions and parameters answer in turn with what was
// there d ago and with what is, the old first. Something made within d is at
// first not there; what was deleted is gone at once. Zero, as at the start,
// ends it; d is at most an hour.
func (l *Lab) SetStaleness(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.staleness = min(d, memory)
}

// look returns what a read sees of a thing: what it is, in a replica what it
// was lag ago, and by staleness what was before; the zero T when it was not
// there yet. A clock that was set back brings nothing back by itself.
func look[T any](l *Lab, h *history[T], now T, lag time.Duration) T {
	t := l.nowLocked().Add(-lag)
	if old, ok := h.at(t.Add(-l.staleness)); ok && l.staleness > 0 {
		if h.old = !h.old; h.old {
			return old
		}
	}
	if old, ok := h.at(t); ok && lag > 0 {
		return old
	}
	return now
}

package store

import (
	"fmt"
	"time"

	"outrider/refresher"
	"outrider/secret"
)

// Rung is how changes of a reference are noticed.
type Rung string

// The rungs: an event tells of it; DescribeSecret shows it; only the value
// shows it.
const (
	Push     Rung = "push"
	Describe Rung = "describe"
	Value    Rung = "get"
)

// Standing is how a reference is looked after.
type Standing struct {
	Rung   Rung
	Next   time.Time // the next planned look, with Push one that is to find what was missed; zero: none
	Region string    // that answered last; empty: none has
}

// Standing returns how a reference is looked after.
func (s *Store) Standing(ref secret.Ref) Standing {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entry(ref)
	standing := Standing{Rung: Describe, Next: s.at(e), Region: e.held.Region}
	switch {
	case s.swept(e):
		standing.Rung, standing.Next = Push, e.tried.Add(s.plan.pass)
		if standing.Next.Before(s.plan.sweep) {
			standing.Next = s.plan.sweep
		}
	case ref.Kind != secret.SecretsManager || s.dark.err != nil || !refresher.Due(e.blind, time.Now()):
		standing.Rung = Value
	}
	standing.Next = refresher.Shown(standing.Next, time.Now())
	return standing
}

// Dark returns why DescribeSecret, which is allowed, does not work for now: what
// it would tell is read by value. Nil: it works, or is not needed.
func (s *Store) Dark() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dark.err == nil {
		return nil
	}
	return fmt.Errorf("DescribeSecret fails, and values are read in its place: %w", s.dark.err)
}

// Seen returns since when all of the references are known to be at the
// versions of a snapshot; zero when they are not, or it is not known.
func (s *Store) Seen(refs map[string]secret.Ref, in secret.Snapshot) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	oldest := time.Time{}
	for name, ref := range refs {
		v, _ := in.Get(name)
		e := s.entries[ref]
		if e == nil || e.err != nil || e.held.ID != v.ID || e.held.ARN != v.ARN {
			return time.Time{}
		}
		if oldest.IsZero() || e.seen.Before(oldest) {
			oldest = e.seen
		}
	}
	return oldest
}

// Failing returns the planned references that could not be read or looked at.
func (s *Store) Failing() []secret.Ref {
	s.mu.Lock()
	defer s.mu.Unlock()
	var refs []secret.Ref
	for ref, e := range s.entries {
		if e.planned && e.err != nil {
			refs = append(refs, ref)
		}
	}
	return refs
}

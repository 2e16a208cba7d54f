package secret

import (
	"maps"
	"slices"
	"time"
)

// Snapshot is the values of all of one app's secrets, each from exactly one
// version, taken together. It is immutable; the zero Snapshot is empty.
type Snapshot struct {
	taken    time.Time
	versions map[string]Version
}

// NewSnapshot copies versions, whose keys are the names that the app's
// templates use. Taken is when the last read of the snapshot began.
func NewSnapshot(taken time.Time, versions map[string]Version) Snapshot {
	return Snapshot{taken: taken, versions: maps.Clone(versions)}
}

// Taken returns when the snapshot was known to be current.
func (s Snapshot) Taken() time.Time { return s.taken }

// Len returns how many secrets the snapshot holds.
func (s Snapshot) Len() int { return len(s.versions) }

// Names returns the names of the snapshot's secrets, sorted.
func (s Snapshot) Names() []string { return slices.Sorted(maps.Keys(s.versions)) }

// Get returns the version under a name.
func (s Snapshot) Get(name string) (Version, bool) {
	v, ok := s.versions[name]
	return v, ok
}

// SameVersions reports whether both hold the same versions under the same
// names.
func (s Snapshot) SameVersions(t Snapshot) bool {
	return maps.EqualFunc(s.versions, t.versions, func(a, b Version) bool {
		return a.Ref == b.Ref && a.ID == b.ID && a.ARN == b.ARN
	})
}

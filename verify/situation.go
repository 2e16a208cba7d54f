package verify

import (
	"maps"
	"slices"
	"strings"
	"time"

	"outrider/secret"
)

// Versions says, by a secret's name, which version of it is meant. It can be
// kept: it holds no value.
type Versions map[string]string

// VersionsOf returns the versions of a snapshot. Unlike
// secret.Snapshot.SameVersions, it is the same by whichever label they were
// read.
func VersionsOf(s secret.Snapshot) Versions {
	v := Versions{}
	for _, name := range s.Names() {
		version, _ := s.Get(name)
		v[name] = version.ARN + " " + version.ID
	}
	return v
}

// Rule is one check of an app, and what follows from it.
type Rule struct {
	Check        Check
	Name         string   // tells it from the others in the Ledger: rules with the same name and versions share their tries
	Secrets      []string // the names of those that it tries; nil: all of the app's
	Hold         bool     // Inconclusive: wait for as long as it is; else deliver after 30 s
	EarlyPending bool     // Wrong, and a rotation under way: deliver AWSPENDING when that is OK
}

// concerns reports whether the rule has anything to say of a candidate: what
// is delivered already is not tried again.
func (r Rule) concerns(candidate, delivered Versions) bool {
	if r.Secrets == nil {
		return !maps.Equal(candidate, delivered)
	}
	for _, name := range r.Secrets {
		if candidate[name] != delivered[name] {
			return true
		}
	}
	return false
}

// key names the rule and the versions that it would try.
func (r Rule) key(v Versions) string {
	names := r.Secrets
	if names == nil {
		names = slices.Sorted(maps.Keys(v))
	}
	parts := []string{r.Name}
	for _, name := range names {
		parts = append(parts, v[name])
	}
	return strings.Join(parts, "\n")
}

// Candidate is one of the snapshots that could be delivered.
type Candidate string

// The candidates.
const (
	Current  Candidate = "current"  // what the watched labels hold
	Pending  Candidate = "pending"  // the same, but AWSPENDING of those that are being rotated
	Previous Candidate = "previous" // the same, but AWSPREVIOUS of those that are refused
)

// Situation is what a decision rests on, beside what has been tried.
type Situation struct {
	Rules     []Rule
	Current   Versions
	Delivered Versions // what the files hold; nil: nothing yet

	// Surveyed says that this look has followed a Survey: the fields below
	// are filled in.
	Surveyed bool
	Pending  Versions // nil: AWSPENDING is nowhere else than AWSCURRENT, so no rotation is under way
	Previous Versions // nil: there is none, or something is delivered
}

func (s Situation) versions(c Candidate) Versions {
	switch c {
	case Pending:
		return s.Pending
	case Previous:
		return s.Previous
	}
	return s.Current
}

// Action is what is to be done next.
type Action string

// The actions.
const (
	Try     Action = "try"     // Verify the candidate by the rule, Note the result, and ask again
	Survey  Action = "survey"  // look for other versions of the secrets, and ask again
	Deliver Action = "deliver" // the candidate
	Wait    Action = "wait"    // deliver nothing, and begin anew with a look at the labels
)

// Step is what is to be done next.
type Step struct {
	Do        Action
	Candidate Candidate // of Try and Deliver
	Rule      int       // of Try: the index into the situation's rules
	Secrets   []string  // of Survey: which; nil: all
	At        time.Time // of Wait: when at the latest
	Alarm     bool      // of Wait: it does not mend itself, a person must act

	// Err says why a candidate waits, or why the one that is delivered is
	// not a verified Current; else nil.
	Err error

	key string // of Try
}

// substitutes returns what may be delivered in place of a Current that is
// refused by j.
func (s Situation) substitutes(j judgement) []Candidate {
	var all []Candidate
	if j.early && s.Pending != nil && !maps.Equal(s.Pending, s.Delivered) {
		all = append(all, Pending)
	}
	if s.Delivered == nil && s.Previous != nil {
		all = append(all, Previous)
	}
	return all
}

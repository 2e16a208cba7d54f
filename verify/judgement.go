package verify

import (
	"cmp"
	"fmt"
	"time"
)

// judgement is what is known of a candidate: what those rules have found that
// weigh most.
type judgement struct {
	verdict Verdict   // none: undecided
	rule    int       // one whose turn to be tried it is; -1: none
	next    time.Time // when the next one's turn is
	since   time.Time // when the verdict was reached
	hold    bool      // a rule says so
	early   bool      // every rule says so
	secrets []string  // the rules'; nil: all
	err     error     // nil for OK
}

// weight orders verdicts. A single Wrong decides: the other rules need not be
// tried.
func (v Verdict) weight() int {
	switch v {
	case OK:
		return 0
	case Inconclusive:
		return 1
	case Wrong:
		return 3
	}
	return 2
}

// add adds what rule i has found.
func (j *judgement) add(i int, r Rule, a Attempt, due, now time.Time) {
	isDue := !now.Before(due)
	if a.Verdict == OK && isDue {
		a.Verdict = ""
	}
	switch mine, all := a.Verdict.weight(), j.verdict.weight(); {
	case a.Verdict == OK, mine < all:
		return
	case mine > all:
		reason := cmp.Or(a.Reason, "is being tried")
		*j = judgement{verdict: a.Verdict, rule: -1, next: due, since: a.Since, early: true, secrets: []string{}, err: fmt.Errorf("verify %s: %s", r.Check, reason)}
	}
	if isDue && j.rule < 0 {
		j.rule = i
	}
	j.next = earlier(j.next, due)
	if a.Since.After(j.since) {
		j.since = a.Since
	}
	j.hold = j.hold || r.Hold
	j.early = j.early && r.EarlyPending
	if r.Secrets == nil || j.secrets == nil {
		j.secrets = nil
	} else {
		j.secrets = append(j.secrets, r.Secrets...)
	}
}

// judge returns what is known of a candidate.
func (l *Ledger) judge(s Situation, c Candidate, now time.Time) judgement {
	var least time.Duration
	if c == Previous || c == Current && s.Pending != nil {
		least = longestPause // it comes right only if a rotation is undone
	}
	versions := s.versions(c)
	j := judgement{verdict: OK, rule: -1}
	for i, r := range s.Rules {
		if r.concerns(versions, s.Delivered) {
			a := l.tried[r.key(versions)]
			j.add(i, r, a, a.due(least, now), now)
		}
	}
	return j
}

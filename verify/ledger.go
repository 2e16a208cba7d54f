package verify

import (
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"
)

const (
	// A version is tried again after a second, then after twice as long each
	// time: every refused login counts towards locking the account.
	firstPause   = time.Second
	longestPause = 5 * time.Minute
	// patience is how long a verdict is waited for before a version is
	// delivered without one.
	patience = 30 * time.Second
	// While a rotation is under way the labels are looked at often, for as
	// long as one takes that goes well.
	rotationPause    = 2 * time.Second
	rotationPatience = time.Minute
	lateRotation     = 30 * time.Second
	// memory is how long an attempt is remembered that nobody repeats.
	memory = time.Hour
)

// Attempt is what has come of trying one version by one rule. It can be kept,
// as JSON: it holds no value.
type Attempt struct {
	Tries   int       // since it was OK
	Last    time.Time // when the last one ended, or began while it goes on
	Verdict Verdict   // none while the first one goes on
	Since   time.Time // when this verdict was first reached
	Reason  string    // why it is not OK
}

// due returns when the version may be tried again, a refused one after least
// or more.
func (a Attempt) due(least time.Duration, now time.Time) time.Time {
	pause := min(firstPause<<min(max(a.Tries-1, 0), 9), longestPause)
	switch a.Verdict {
	case "":
		pause = loginLimit
	case OK:
		pause = longestPause
	case Wrong:
		pause = max(pause, least)
	}
	if a.Last.After(now) { // the clock was set back
		return now
	}
	return a.Last.Add(pause)
}

// Ledger remembers which versions were tried and what came of it, and decides
// by that what is to be done next. It reads no clock. It is safe for
// concurrent use: apps that share one try the same version only once between
// them. The zero Ledger is empty.
type Ledger struct {
	mu    sync.Mutex
	tried map[string]Attempt // by Rule.key
}

// Restore puts in what Attempts has returned before a restart, so that
// nothing is tried again before its time.
func (l *Ledger) Restore(tried map[string]Attempt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tried = maps.Clone(tried)
}

// Attempts returns a copy of what is remembered, to be kept over a restart.
func (l *Ledger) Attempts() map[string]Attempt {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.tried)
}

// Next returns what is to be done now. A Try is written down as begun: nobody
// else gets the same before it was noted, or has taken too long.
//
// What was refused stays refused until a login works, and is never delivered;
// what is OK stays so for 5 minutes. While nothing can be delivered the files
// keep what they hold.
func (l *Ledger) Next(s Situation, now time.Time) Step {
	l.mu.Lock()
	defer l.mu.Unlock()
	now = now.Round(0) // a suspended machine's time has gone on
	step := l.decide(s, now)
	if step.Do != Try {
		return step
	}
	step.key = s.Rules[step.Rule].key(s.versions(step.Candidate))
	a := l.tried[step.key]
	a.Tries, a.Last = a.Tries+1, now
	l.put(step.key, a)
	return step
}

// Note takes down the result of a Try. One that was called off need not be
// noted.
func (l *Ledger) Note(step Step, r Result, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now = now.Round(0)
	a := l.tried[step.key]
	a.Last = now
	if a.Verdict == Wrong && r.Verdict == Inconclusive {
		r = Result{Wrong, errors.New(a.Reason)}
	}
	if a.Verdict != r.Verdict || a.Since.After(now) {
		a.Since = now
	}
	if a.Verdict == OK {
		a.Tries = 1
	}
	a.Verdict, a.Reason = r.Verdict, ""
	if r.Err != nil {
		a.Reason = r.Err.Error()
	}
	l.put(step.key, a)
	maps.DeleteFunc(l.tried, func(_ string, a Attempt) bool { return now.Sub(a.Last) > memory })
}

func (l *Ledger) put(key string, a Attempt) {
	if l.tried == nil {
		l.tried = map[string]Attempt{}
	}
	l.tried[key] = a
}

// decide is Next without taking anything down.
func (l *Ledger) decide(s Situation, now time.Time) Step {
	j := l.judge(s, Current, now)
	switch {
	case j.verdict == OK:
		return Step{Do: Deliver, Candidate: Current}
	case j.verdict == Wrong && !s.Surveyed:
		return Step{Do: Survey, Secrets: j.secrets}
	case j.rule >= 0:
		return Step{Do: Try, Candidate: Current, Rule: j.rule}
	case j.verdict == Wrong:
		return l.refused(s, j, now)
	case j.verdict == "":
		return Step{Do: Wait, At: now.Add(firstPause), Err: j.err}
	}
	deadline := j.since.Add(patience)
	switch late := !now.Before(deadline); {
	case j.hold:
		return Step{Do: Wait, At: j.next, Alarm: late, Err: j.err}
	case late:
		return Step{Do: Deliver, Candidate: Current, Err: fmt.Errorf("%w; delivered unverified after %s", j.err, patience)}
	}
	return Step{Do: Wait, At: earlier(j.next, deadline), Err: j.err}
}

// refused decides when Current is Wrong by j, and its next try is not due.
func (l *Ledger) refused(s Situation, j judgement, now time.Time) Step {
	next := j.next
	for _, c := range s.substitutes(j) {
		switch k := l.judge(s, c, now); {
		case k.verdict == OK:
			return Step{Do: Deliver, Candidate: c, Err: fmt.Errorf("%w; the %s version works and is delivered in its place", j.err, c)}
		case k.rule >= 0:
			return Step{Do: Try, Candidate: c, Rule: k.rule}
		default:
			next = earlier(next, k.next)
		}
	}
	switch {
	case s.Pending == nil:
		return Step{Do: Wait, At: next, Alarm: true, Err: fmt.Errorf("%w; no rotation is under way: mend the secret, or set what it says where it is used", j.err)}
	case now.Sub(j.since) < rotationPatience:
		return Step{Do: Wait, At: earlier(next, now.Add(rotationPause)), Err: fmt.Errorf("%w; a rotation is under way and waited for", j.err)}
	}
	return Step{Do: Wait, At: earlier(next, now.Add(lateRotation)), Alarm: true, Err: fmt.Errorf("%w; a rotation has begun and does not end: see to it, or remove its AWSPENDING", j.err)}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

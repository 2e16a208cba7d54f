package store

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"outrider/refresher"
	"outrider/secret"
	"outrider/store/internal/wire"
)

// plan is how what the apps use is looked at again.
type plan struct {
	interval time.Duration // between looks at one reference; 0: there are none
	pass     time.Duration // in which all are looked at once, because events tell what changes; 0: they do not
	sweep    time.Time     // when the next few of the pass are looked at
}

// Plan sets which references are looked at again, and how often; 0: never.
// What is known of any others is forgotten.
func (s *Store) Plan(refs []secret.Ref, interval time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := make(map[secret.Ref]*entry, len(refs))
	now := time.Now()
	for _, ref := range refs {
		kept[ref] = s.entry(ref)
		kept[ref].planned = true
		if interval != s.plan.interval {
			s.spread(kept[ref], now, interval, s.roll())
		}
	}
	s.entries, s.plan.interval = kept, interval
	if kept[s.dark.ref] == nil {
		s.dark = darkness{}
	}
}

// spread sets the first look at what was read just now.
func (s *Store) spread(e *entry, now time.Time, interval time.Duration, roll float64) {
	if e.err == nil && e.known {
		e.next = now.Add(refresher.First(interval, roll))
	}
}

// replan sets when to look at an entry next, which had failed before or not.
// Reads that were not planned leave the plan as it is, so that it costs the same
// however much goes on.
func (s *Store) replan(e *entry, began time.Time, planned, failed bool, roll float64) {
	f := refresher.Facts{Looked: began, Interval: s.plan.interval, Pending: e.since, Due: e.rotation}
	switch {
	case e.err != nil:
		e.next = e.breaker.Until()
	case e.doubted != "":
		e.next = began.Add(refresher.Poll(1250*time.Millisecond, roll))
	case s.owes(e, began, roll):
	case failed: // what failed together does not go on together
		s.spread(e, began, s.plan.interval, roll)
		e.next = earlier(e.next, refresher.Pace(f, roll))
	case planned:
		e.next = refresher.Pace(f, roll)
	case refresher.Ago(e.next, began) > 0:
		s.spread(e, began, s.plan.interval, roll)
	}
	if s.dark.err != nil && s.dark.ref == e.ref && e.err == nil { // one asks for all whether it works again
		e.next = earlier(e.next, s.dark.breaker.Until())
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// Calls returns how many calls one look at every reference takes by which
// events are checked up on.
func (s *Store) Calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls(time.Now())
}

func (s *Store) calls(now time.Time) int {
	secrets, parameters, calls := 0, 0, 0
	for _, e := range s.entries {
		switch {
		case !e.planned || s.uncovered(e):
		case e.ref.Kind == secret.Parameter:
			parameters++
		case e.ref.Kind == secret.Parameters:
			calls += max(1, e.pages)
		case e.batchable() && refresher.Due(s.noBatch, now):
			secrets++
		default:
			calls++
		}
	}
	return calls + (secrets+batchSize-1)/batchSize + (parameters+parametersSize-1)/parametersSize
}

// uncovered reports whether no event tells of changes: AWS sends none for these
// labels, and none from another account.
func (s *Store) uncovered(e *entry) bool {
	foreign := false
	if strings.HasPrefix(e.ref.ID, "arn:") && s.account != "" { // asked at each event, of all
		parts := strings.SplitN(e.ref.ID, ":", 6)
		foreign = len(parts) == 6 && parts[4] != s.account
	}
	return foreign || e.ref.Kind == secret.SecretsManager && (e.ref.Stage == "AWSPENDING" || e.ref.Stage == "AWSPREVIOUS")
}

// swept reports whether the entry is looked at by the pass.
func (s *Store) swept(e *entry) bool {
	probing := s.dark.err != nil && s.dark.ref == e.ref // the pass may go on in batches, and never ask
	return s.plan.pass > 0 && !s.uncovered(e) && e.known && e.err == nil && e.doubted == "" && e.debt == nil && !probing && refresher.Due(e.behind, time.Now())
}

// Look begins the planned looks that are due, and returns the function that
// carries them out, blocking until they have ended; nil when none is due. Pass
// is in what time to look at everything once when events tell what changes; 0:
// they do not, and each reference has its interval.
func (s *Store) Look(now time.Time, pass time.Duration) func(context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turnTo(pass, now)
	var l look
	var parameters []*entry
	for _, e := range s.entries {
		switch at := s.at(e); {
		case at.IsZero() || !refresher.Due(at, now) || e.busy() || e.looking:
		case e.ref.Kind == secret.Parameter && e.err == nil:
			parameters = append(parameters, e)
		default:
			s.addLook(&l, e, now)
		}
	}
	for _, e := range s.company(parameters, now) {
		l.add(s.beginPlanned(e, now), false)
	}
	s.addSweep(&l, now)
	if l.empty() {
		return nil
	}
	return func(ctx context.Context) { s.lookAt(ctx, l) }
}

// turnTo changes between the interval and the pass.
func (s *Store) turnTo(pass time.Duration, now time.Time) {
	was := s.plan.pass
	s.plan.pass = pass
	switch {
	case was == 0 && pass > 0:
		s.plan.sweep = now.Add(time.Duration(float64(s.gap(now)) * s.roll()))
		s.dark = darkness{} // the pass can do without
	case was > 0 && pass == 0:
		for _, e := range s.entries {
			if !s.uncovered(e) {
				s.spread(e, now, s.plan.interval, s.roll())
			}
		}
	}
}

// gap returns how far the calls of the pass are apart.
func (s *Store) gap(now time.Time) time.Duration {
	return s.plan.pass / time.Duration(max(1, s.calls(now)))
}

// look is what is to be looked at.
type look struct {
	fresh
	describe []*entry
}

func (l look) empty() bool {
	return len(l.describe)+len(l.batch)+len(l.single)+len(l.parameters)+len(l.paths) == 0
}

// addLook adds a look at one entry: what DescribeSecret can tell of is not read.
func (s *Store) addLook(l *look, e *entry, now time.Time) {
	readIt := !e.known || e.err != nil || e.doubted != "" || e.debt != nil || e.dark != nil || e.ref.Kind != secret.SecretsManager
	if readIt || !refresher.Due(e.blind, now) || !s.probes(e, now) {
		l.add(s.beginPlanned(e, now), false)
		return
	}
	e.looking, e.opened = true, s.gateOf(e.ref).opened
	l.describe = append(l.describe, e)
}

func (s *Store) beginPlanned(e *entry, now time.Time) *read {
	r := s.begin(e, now)
	r.planned = true
	return r
}

// company returns the parameters that are due, and others that will be soon, as
// many as fit in the same calls.
func (s *Store) company(due []*entry, now time.Time) []*entry {
	if len(due) == 0 {
		return nil
	}
	soon := now.Add(s.plan.interval * 2 / 5)
	var others []*entry
	for _, e := range s.entries {
		if e.ref.Kind == secret.Parameter && e.err == nil && !e.busy() && !refresher.Due(s.at(e), now) && s.at(e).Before(soon) {
			others = append(others, e)
		}
	}
	byNext := func(a, b *entry) int { return a.next.Compare(b.next) }
	slices.SortFunc(due, byNext)
	slices.SortFunc(others, byNext)
	room := (parametersSize - len(due)%parametersSize) % parametersSize
	return append(due, others[:min(room, len(others))]...)
}

// addSweep adds the next few of the pass, if it is time for them.
func (s *Store) addSweep(l *look, now time.Time) {
	if s.plan.pass == 0 || !refresher.Due(s.plan.sweep, now) {
		return
	}
	few := s.stalest(now)
	late := len(few) > 0 && refresher.Ago(few[0].tried, now) > 2*s.plan.pass // the machine was suspended
	batch := len(few) > 1 && few[0].batchable()
	calls := 1
	for _, e := range few {
		calls = max(calls, e.pages)
		if batch {
			l.add(s.beginPlanned(e, now), true)
		} else {
			s.addLook(l, e, now)
		}
	}
	gap := s.gap(now)
	if late {
		gap = min(gap, time.Second)
	}
	s.plan.sweep = now.Add(refresher.Poll(gap*time.Duration(calls), s.roll()))
}

// stalest returns of those that the pass looks at the one that was looked at longest
// ago, and as many more of its kind as one call takes.
func (s *Store) stalest(now time.Time) []*entry {
	var all []*entry
	for _, e := range s.entries {
		if e.planned && s.swept(e) && !e.busy() && !e.looking {
			all = append(all, e)
		}
	}
	if len(all) == 0 {
		return nil
	}
	slices.SortFunc(all, func(a, b *entry) int {
		return cmp.Or(a.tried.Compare(b.tried), cmp.Compare(a.ref.ID, b.ref.ID))
	})
	first := all[0]
	size := 1
	switch {
	case first.ref.Kind == secret.Parameter:
		size = parametersSize
	case first.batchable() && refresher.Due(s.noBatch, now):
		size = batchSize
	}
	alike := slices.DeleteFunc(all, func(e *entry) bool {
		return e.ref.Kind != first.ref.Kind || e.batchable() != first.batchable()
	})
	return alike[:min(size, len(alike))]
}

// at returns when to look at an entry; zero when only the pass does, or nobody.
func (s *Store) at(e *entry) time.Time {
	if !e.planned || s.plan.interval <= 0 || s.swept(e) {
		return time.Time{}
	}
	if until := s.gateOf(e.ref).breaker.Until(); until.After(e.next) {
		return until
	}
	if e.next.IsZero() {
		return time.Unix(0, 0)
	}
	return e.next
}

// Next returns when the next planned look is due; zero when none is planned, or
// none before those under way have ended.
func (s *Store) Next() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	next, now := time.Time{}, time.Now()
	if s.plan.pass > 0 {
		next = s.plan.sweep
	}
	for _, e := range s.entries {
		if at := s.at(e); !at.IsZero() && !e.busy() && !e.looking && (next.IsZero() || refresher.Ago(at, now) > refresher.Ago(next, now)) {
			next = at
		}
	}
	return next
}

// lookAt carries out looks.
func (s *Store) lookAt(ctx context.Context, l look) {
	var all sync.WaitGroup
	all.Go(func() { s.carryOut(ctx, l.fresh) })
	for _, e := range l.describe {
		all.Go(func() { s.describeOne(ctx, e) })
	}
	all.Wait()
}

// describeOne looks where the labels of a secret are, and reads it when its own
// is not on the version that is held.
func (s *Store) describeOne(ctx context.Context, e *entry) {
	began, tick := s.now()
	seen, err := s.describe(ctx, e.ref, s.callOf(e, describeSecret))
	f, news := s.described(e, seen, err, began, tick)
	if len(f.single) > 0 {
		s.carryOut(ctx, f)
		return
	}
	s.ended(e.ref, news)
}

// described records what came of DescribeSecret, and returns the read that is
// to follow, if any: where it does not tell, the value does.
func (s *Store) described(e *entry, seen sight, err error, began time.Time, tick uint64) (f fresh, news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.looking = false
	was, failed := e.outcome(), e.err != nil
	switch {
	case err == nil:
		s.note(e, seen, began)
		s.lit(e.ref)
		if !seen.moved(e) {
			s.unmoved(e, began, tick)
			return fresh{}, was != e.outcome()
		}
	case wire.Is[wire.SessionError](err), wire.Is[shutError](err), errors.Is(err, context.Canceled):
		s.tried(e, began, explain(e.ref, describeSecret, err), s.roll())
		s.replan(e, began, true, failed, s.roll())
		return fresh{}, was != e.outcome()
	case classify(err) == denied:
		e.blind = began.Add(forgiving)
		s.lit(e.ref)
	default:
		e.dark, e.suspect = explain(e.ref, describeSecret, err), errors.Is(err, context.DeadlineExceeded)
		s.darken()
	}
	if now := time.Now(); !e.busy() && !s.gateOf(e.ref).breaker.Open(now) {
		return fresh{single: []*read{s.beginPlanned(e, now)}}, false
	}
	e.next = began // the read under way may be from before: look again after it
	return fresh{}, false
}

// unmoved records that a look has found nothing new. It says nothing of a read
// that has failed.
func (s *Store) unmoved(e *entry, began time.Time, tick uint64) {
	e.seen, e.still = began, tick
	if e.err == nil {
		s.tried(e, began, nil, s.roll())
	}
	s.replan(e, began, true, false, s.roll())
}

// now returns the time and a tick.
func (s *Store) now() (time.Time, uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now(), s.tick()
}

// note keeps what DescribeSecret says of a rotation, and who says so.
func (s *Store) note(e *entry, seen sight, began time.Time) {
	e.held.Region, e.rotation = seen.region, seen.rotation
	pending := seen.labels["AWSPENDING"]
	switch {
	case pending == "" || pending == seen.labels[secret.Current]:
		e.pending, e.since = "", time.Time{}
	case pending != e.pending:
		e.pending, e.since = pending, began
	}
}

package agent

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"outrider/refresher"
)

// spacing is the least time between two rounds of an app.
const spacing = time.Second

// rounds bounds how often callers make one app look, whoever and however many
// they are: at once, but no more than once a second, five times in a row, and for
// long once in ten seconds. Nobody is refused: who comes before a planned round
// shares it.
type rounds struct {
	mu     sync.Mutex
	bucket refresher.Bucket
	next   *round    // the latest that was planned
	last   time.Time // when a round last began
}

// round is one look that callers share.
type round struct {
	at     time.Time
	begun  bool
	before progress // how the app stood then
}

func newRounds() rounds { return rounds{bucket: refresher.Bucket{Rate: 0.1, Burst: 5}} }

// join returns a round that is still to begin.
func (r *rounds) join(now time.Time) *round {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next == nil || r.next.begun {
		at := now.Add(r.bucket.Take(now))
		r.next = &round{at: later(at, r.last.Add(spacing))}
	}
	return r.next
}

// begin begins the round unless another caller has, and returns how the app
// stood before it.
func (r *rounds) begin(shared *round, look func() progress) progress {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !shared.begun {
		shared.begun, r.last = true, time.Now()
		shared.before = look()
	}
	return shared.before
}

// ask makes the apps look at values no older than now, as soon as their rounds
// allow, and returns how each stood before that. It blocks until all looks are
// set going; its error is the end of ctx.
func (a *Agent) ask(ctx context.Context, apps []*app) ([]progress, error) {
	type planned struct {
		i     int
		round *round
	}
	plan := make([]planned, len(apps))
	for i, app := range apps {
		plan[i] = planned{i, app.standing.rounds.join(time.Now())}
	}
	slices.SortStableFunc(plan, func(p, q planned) int { return p.round.at.Compare(q.round.at) })
	before := make([]progress, len(apps))
	for _, p := range plan {
		if wait := time.Until(p.round.at); wait > 0 {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		}
		app := apps[p.i]
		if now, ok := a.current().apps[app.Name]; ok {
			app = now // a reload may have come between
		}
		before[p.i] = app.standing.rounds.begin(p.round, app.begin)
	}
	return before, nil
}

// LookNow makes every app look, as soon as their rounds allow. It blocks until
// the looks are set going, or ctx ends.
func (a *Agent) LookNow(ctx context.Context) {
	_, _ = a.ask(ctx, slices.Collect(maps.Values(a.current().apps))) // its error is the end of ctx
}

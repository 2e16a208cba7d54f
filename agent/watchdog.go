package agent

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"outrider/refresher"
	"outrider/session"
)

// slack is how long a turn of a loop may take beyond what the configuration
// itself allows for: requests to AWS one after the other, and a slow disk.
const slack = 2 * time.Minute

// slowest is how long each of many reads may take when all hang.
const slowest = 10 * time.Second

// turns are what the loops are at, so that one that hangs is found. The zero
// turns are ready to use, and safe for concurrent use.
type turns struct {
	mu    sync.Mutex
	under map[*turn]bool
}

// turn is one piece of a loop's work. Between two of them a loop cannot hang.
type turn struct {
	loop  string
	limit time.Time // with a monotonic clock, which a machine's sleep stops
}

// begin notes that a loop has something to do which takes no longer than
// limit, until end is called.
func (t *turns) begin(loop string, limit time.Duration) (end func()) {
	now := &turn{loop, time.Now().Add(limit)}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.under == nil {
		t.under = map[*turn]bool{}
	}
	t.under[now] = true
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.under, now)
	}
}

// overdue returns the loops that should have been done, in order.
func (t *turns) overdue() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var loops []string
	for turn := range t.under {
		if time.Now().After(turn.limit) {
			loops = append(loops, turn.loop)
		}
	}
	slices.Sort(loops)
	return loops
}

// excuse gives all turns that much longer.
func (t *turns) excuse(stopped time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for turn := range t.under {
		turn.limit = turn.limit.Add(stopped)
	}
}

// looking is a Look that counts as a turn.
func (t *turns) looking(loop string, limit func() time.Duration, look func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		defer t.begin(loop, limit())()
		return look(ctx)
	}
}

// count has the turns of the world's loops counted. That an identity's files
// are followed is no turn: it goes on for as long as they are there.
func (t *turns) count(w *world) {
	plain := func() time.Duration { return slack }
	for name, i := range w.identities {
		i.reads.Look = t.looking("identity "+name, plain, i.reads.Look)
	}
	for name, r := range w.roles {
		r.poll.Look = t.looking("polls of role "+name, plain, r.poll.Look)
		r.reading = func() func() {
			return t.begin("reads of role "+name, slack+r.longestRead())
		}
		r.out.Look = t.looking("files of role "+name, plain, r.out.Look)
		create := r.lease.Create
		r.lease.Create = func(ctx context.Context) (refresher.Term[session.Session], error) {
			defer t.begin("session of role "+name, slack)()
			return create(ctx)
		}
	}
	if w.queue != nil {
		w.queue.loop.Look = t.looking("queue", plain, w.queue.loop.Look)
	}
	for name, a := range w.apps {
		a.loop.Look = t.looking("app "+name, a.longestLook, a.loop.Look)
	}
}

// commandLimit is how long a command may take that has no limit of its own.
const commandLimit = 30 * time.Second

// longestLook is how long it may take to get a snapshot into the files. What
// is verified is at most the current, the pending and the previous version. The
// reads that it waits for are the role's.
func (a *app) longestLook() time.Duration {
	return slack + commandLimit + 3*a.longestVerify() + a.role.longestRead()
}

// longestRead is how long reading all that the role's apps need may take.
func (r *role) longestRead() time.Duration { return time.Duration(len(r.refs)) * slowest }

// longestVerify is how long all of an app's trials of one version may take.
func (a *app) longestVerify() time.Duration {
	var limit time.Duration
	for _, v := range a.Verify {
		limit += max(v.Timeout, commandLimit)
	}
	return limit
}

// longestNotify is how long it may take to tell the app's targets, and to see
// whether the application runs on what they were told of.
func (n *notifier) longestNotify() time.Duration {
	a := n.current()
	limit := slack + a.Splay
	for _, t := range a.targets() {
		if f, ok := t.(finishing); ok {
			limit += f.limit
		}
	}
	if a.Confirm != nil {
		limit += a.Confirm.Within + commandLimit + a.longestVerify()
	}
	return limit
}

// watchdog tells the service manager that every loop turns, for as long as it
// is so. It looks at the world as all others do, so that a lock which is never
// given back shows as well. A tick that comes late by more than another says
// that the whole process was stopped, and no loop could have been done.
func (a *Agent) watchdog(ctx context.Context) error {
	period := a.o.Watchdog / 3
	tick := time.NewTicker(period)
	defer tick.Stop()
	said, last := "", time.Now()
	for {
		a.current()
		if late := time.Since(last) - period; late > period {
			a.host.turns.excuse(late)
		}
		last = time.Now()
		hanging := a.host.turns.overdue()
		if len(hanging) == 0 {
			a.o.Notify("WATCHDOG=1")
		} else if now := strings.Join(hanging, ", "); now != said {
			said = now
			a.o.Log.Error("loop hangs", "loops", hanging)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

package main

import (
	"slices"
	"time"

	"outrider/refresher"
)

// scene is what happens to a fleet.
type scene struct {
	name    string
	hosts   int
	length  time.Duration
	session time.Duration // for how long a session holds
	rates   rates         // the account's quotas
	cold    bool          // the hosts power on within the first minute; else they have run for long
	push    bool          // every host has a queue
	outage  span          // the region answers nothing
	rotates time.Duration // when a secret that all hosts share changes; 0: never
	splay   time.Duration // at most so long after its start a host asks first
}

// mark is since when a host must have looked to count as fresh.
func (s scene) mark() time.Duration { return max(s.outage.until, s.rotates) }

// fleet is a scene under way.
type fleet struct {
	scene
	account *account
	events  events
	hosts   []host
	roll    func() float64
	now     time.Duration
}

// play lets the scene happen. With the same rolls the same happens.
func (s scene) play(roll func() float64) *fleet {
	f := &fleet{scene: s, account: newAccount(s.rates, s.outage, s.length), hosts: make([]host, s.hosts), roll: roll}
	for i := range f.hosts {
		h := &f.hosts[i]
		h.id = int32(i)
		if f.cold {
			f.powerOn(h)
		} else {
			f.goOn(h)
		}
		if f.rotates > 0 {
			f.add(h, hearing, f.rotates+time.Second+f.random(2*time.Second))
		}
	}
	for len(f.events.heap) > 0 {
		e := f.events.next()
		if e.at >= f.length {
			break
		}
		f.now = e.at
		f.happen(&f.hosts[e.host], e)
	}
	return f
}

func (f *fleet) random(d time.Duration) time.Duration { return time.Duration(float64(d) * f.roll()) }

func (f *fleet) add(h *host, what happening, at time.Duration) {
	f.events.add(event{at: at, host: h.id, what: what})
}

// powerOn starts a host within the first minute.
func (f *fleet) powerOn(h *host) {
	for i := range h.entries {
		h.entries[i].failed, h.entries[i].left = unread, 2
	}
	f.add(h, renewing, f.random(time.Minute)+f.random(f.splay))
	if f.push {
		f.add(h, sweeping, time.Minute+f.random(f.gap()))
	}
}

// goOn takes up a host that has run for long, wherever it is in its schedule.
func (f *fleet) goOn(h *host) {
	h.begun = true
	renewal := since(refresher.Renewal(moment(0), moment(f.session), f.roll()))
	age := f.random(renewal)
	h.until = f.session - age
	f.add(h, renewing, renewal-age)
	for i := range h.entries {
		h.entries[i].held = true
		h.entries[i].next = f.random(interval)
		if i > secrets {
			h.entries[i].next = h.entries[secrets].next // parameters share calls
		}
	}
	f.plan(h)
	if f.push {
		f.add(h, sweeping, f.random(f.gap()))
	}
}

func (f *fleet) happen(h *host, e event) {
	switch e.what {
	case renewing:
		f.renew(h)
	case sweeping:
		f.sweep(h)
	case hearing:
		f.read(h, calls([]int{0}), false)
	case looking:
		if h.due != e.at {
			return
		}
		f.look(h)
	}
	f.plan(h)
}

// plan has the next event look, when anything is due.
func (f *fleet) plan(h *host) {
	next := f.length
	for i := range h.entries {
		if e := &h.entries[i]; f.polled(e) {
			next = min(next, max(h.at(i), f.now))
		}
	}
	if next < f.length && (next != h.due || h.due <= f.now) {
		f.add(h, looking, next)
	}
	h.due = next
}

// renew asks for a session, as refresher.Lease does.
func (f *fleet) renew(h *host) {
	if f.account.call(createSession, f.now) != answered {
		h.failures++
		f.add(h, renewing, f.now+refresher.Backoff{}.Delay(h.failures, f.roll()))
		h.lapsed = h.lapsed || h.until > 0 && h.until <= f.now
		if !h.begun {
			h.begun = true
			for i := range h.entries {
				h.entries[i].failed = lacking
			}
		}
		return
	}
	waited := h.failures > 0 || !h.begun
	h.failures, h.begun, h.until = 0, true, f.now+f.session
	f.add(h, renewing, since(refresher.Renewal(moment(f.now), moment(h.until), f.roll())))
	if waited {
		f.readFailing(h)
	}
}

// readFailing reads at once what has waited for a session: what was never read
// in a batch, the rest singly.
func (f *fleet) readFailing(h *host) {
	var batch, rest []int
	for i := range h.entries {
		e := &h.entries[i]
		if e.failed == lacking {
			e.next = f.now + refresher.Backoff{}.Delay(8, f.roll()) // when it would have been tried again
		}
		switch {
		case e.failed == none:
		case e.failed != unread && h.gateOf(i).open(f.now):
			e.failed = refused
		case !e.held && e.failed != refused && i < secrets:
			batch = append(batch, i)
		default:
			rest = append(rest, i)
		}
	}
	all := calls(rest)
	if len(batch) > 0 {
		all = append(all, call{batchGetSecretValue, batch})
	}
	f.read(h, all, false)
}

// look looks at every entry that is due: with DescribeSecret, unless only the
// value will do.
func (f *fleet) look(h *host) {
	var all []call
	var values []int
	for i := range h.entries {
		switch e := &h.entries[i]; {
		case !f.polled(e) || h.at(i) > f.now:
		case e.failed == none && i < secrets:
			all = append(all, call{describeSecret, []int{i}})
		default:
			values = append(values, i)
		}
	}
	if n := len(values); n > 0 && values[n-1] >= secrets {
		values = append(values, f.company(h)...)
	}
	f.read(h, append(all, calls(values)...), true)
}

// company returns the parameters that will be due soon and share the call of
// those that are.
func (f *fleet) company(h *host) []int {
	var soon []int
	for i := secrets; i < len(h.entries); i++ {
		if at := h.at(i); h.entries[i].failed == none && f.now < at && at < f.now+interval*2/5 {
			soon = append(soon, i)
		}
	}
	return soon
}

// read makes calls, as many at once as a host may: those that come after are
// given up when an earlier one has its service left alone.
func (f *fleet) read(h *host, made []call, planned bool) {
	opened := [2]int{h.gates[0].opened, h.gates[1].opened}
	for n, c := range made {
		first := c.entries[0]
		if h.until <= f.now {
			h.lapsed = true
			for _, i := range c.entries {
				h.entries[i].failed = lacking
			}
			continue
		}
		g, a := h.gateOf(first), away
		if n < slots || g.opened == opened[first/secrets] || !g.open(f.now) {
			a = f.ask(g, c.operation)
			if c.operation == describeSecret && a != answered && !g.open(f.now) { // the value tells
				f.read(h, calls(c.entries), true)
				continue
			}
		}
		f.endAll(h, c, a == answered, planned)
		switch {
		case a != answered || first > 0 || h.version == f.version():
		case c.operation == describeSecret:
			f.read(h, calls([]int{0}), true)
		default:
			h.version = f.version()
			for i := 1; i < len(h.entries); i++ {
				h.entries[i].left = max(h.entries[i].left, 1)
			}
		}
	}
	f.settle(h)
}

// ask makes one call. DescribeSecret opens no gate.
func (f *fleet) ask(g *gate, o operation) answer {
	a := f.account.call(o, f.now)
	if o != describeSecret {
		g.record(a, f.now, f.roll())
	}
	return a
}

// endAll records how a call has ended. Parameters share the roll, so that what
// shares a call goes on to.
func (f *fleet) endAll(h *host, c call, ok, planned bool) {
	roll := f.roll()
	for _, i := range c.entries {
		if i < secrets {
			roll = f.roll()
		}
		f.end(h, i, ok, planned, roll)
	}
}

// end records how a look at an entry has ended, and plans the next.
func (f *fleet) end(h *host, i int, ok, planned bool, roll float64) {
	e := &h.entries[i]
	e.breaker.Record(ok, moment(f.now), roll)
	switch {
	case !ok:
		e.failed, e.next = refused, since(e.breaker.Until())
	case e.failed == refused || e.failed == lacking: // what failed together does not go on together
		e.next = f.now + refresher.First(interval, roll)
	case planned:
		e.next = since(refresher.Pace(refresher.Facts{Looked: moment(f.now), Interval: interval}, roll))
	case e.next < f.now:
		e.next = f.now + refresher.First(interval, roll)
	}
	if ok {
		e.failed, e.held, e.seen, e.left = none, true, f.now, max(e.left-1, 0)
	}
}

// settle takes the second look at a snapshot that differs from what is in the
// files, once all of it is read, and notes when the host has all that there is.
func (f *fleet) settle(h *host) {
	if !h.complete() {
		return
	}
	if second := h.again(); len(second) > 0 {
		f.read(h, second, false) // which settles, too
		return
	}
	if h.fresh == 0 && f.upToDate(h) {
		h.fresh = f.now
	}
}

// upToDate reports whether the files hold what has been current since the mark.
func (f *fleet) upToDate(h *host) bool {
	for i := range h.entries {
		if h.entries[i].seen < f.outage.until {
			return false
		}
	}
	return f.now >= f.mark() && h.version == f.version()
}

// version is that of the secret which all hosts share.
func (f *fleet) version() int {
	if f.rotates > 0 && f.now >= f.rotates {
		return 1
	}
	return 0
}

// sweep makes the next call of the pass that is to find what events have missed.
func (f *fleet) sweep(h *host) {
	f.add(h, sweeping, f.now+refresher.Poll(f.gap(), f.roll()))
	both := snapshot()
	next := both[0]
	if h.entries[secrets].seen < h.entries[0].seen {
		next = both[1]
	}
	next.entries = slices.DeleteFunc(next.entries, func(i int) bool { return !f.swept(&h.entries[i]) })
	if len(next.entries) > 0 {
		f.read(h, []call{next}, true)
	}
}

// gap is the time between two calls of the pass.
func (f *fleet) gap() time.Duration {
	calls := len(snapshot())
	return refresher.Sweep(interval, calls, 24*time.Hour) / time.Duration(calls)
}

// polled reports whether an entry is looked at when its own time has come.
func (f *fleet) polled(e *entry) bool {
	return e.failed != unread && e.failed != lacking && !f.swept(e)
}

// swept reports whether only the pass looks at an entry.
func (f *fleet) swept(e *entry) bool { return f.push && e.held && e.failed == none }

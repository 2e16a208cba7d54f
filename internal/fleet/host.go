package main

import (
	"slices"
	"time"

	"outrider/refresher"
)

const (
	secrets    = 10 // of each host: the first of its entries
	parameters = 5  // the others
	interval   = 5 * time.Minute
	slots      = 8 // calls of one host under way at once
	together   = 8 // failures in a row after which a service is left alone
)

// host is one sidecar with one role and one app, told of by its schedule alone:
// when it asks for what. Where a time is decided, refresher decides.
type host struct {
	id       int32
	failures int           // of asking for a session, in a row
	until    time.Duration // the session in hand holds so long
	begun    bool          // the first attempt at a session has ended, and the reads that waited for it
	gates    [2]gate       // of Secrets Manager and of Parameter Store
	entries  [secrets + parameters]entry
	due      time.Duration // of the next planned look; other events that would look are void
	version  int           // of its first secret, as held
	fresh    time.Duration // when it first had, since the scene's mark, all that there is; 0: not yet
	lapsed   bool          // it was without a session after its first one
}

// entry is what a host knows of one secret or parameter.
type entry struct {
	failed  failure
	held    bool
	left    int           // how often it is still to be read, to be of one moment with the others
	seen    time.Duration // when it was last known to be current
	next    time.Duration // when to look again, as far as its service is not left alone
	breaker refresher.Breaker
}

// failure is why an entry could not be read.
type failure int

const (
	none    failure = iota
	unread          // nobody has tried
	lacking         // there was no session; it is read as soon as there is
	refused         // AWS did not answer, or throttled
)

// gate keeps calls from a service that throttles, or fails too often in a row.
type gate struct {
	breaker refresher.Breaker
	until   time.Duration // as the breaker has it
	row     int
	opened  int
}

func (g *gate) open(now time.Duration) bool { return g.until > now }

func (g *gate) record(a answer, now time.Duration, roll float64) {
	switch a {
	case answered:
		g.row = 0
		g.breaker.Record(true, moment(now), roll)
		g.until = 0
		return
	case away:
		g.row++
	case throttled:
	}
	if !g.open(now) && (a == throttled || g.row >= together) {
		g.breaker.Record(false, moment(now), roll)
		g.until = since(g.breaker.Until())
		g.opened++
	}
}

// gateOf returns the gate of the service that keeps an entry.
func (h *host) gateOf(i int) *gate {
	if i >= secrets {
		return &h.gates[1]
	}
	return &h.gates[0]
}

// at returns when to look at an entry.
func (h *host) at(i int) time.Duration { return max(h.entries[i].next, h.gateOf(i).until) }

// complete reports whether all that the host reads could be read.
func (h *host) complete() bool {
	for i := range h.entries {
		if h.entries[i].failed != none {
			return false
		}
	}
	return true
}

// call is one call for some entries.
type call struct {
	operation
	entries []int
}

// calls are those that read entries by value: parameters in one, secrets each
// by itself.
func calls(entries []int) []call {
	n := slices.IndexFunc(entries, func(i int) bool { return i >= secrets })
	if n < 0 {
		n = len(entries)
	}
	all := make([]call, 0, n+1)
	for i := range n {
		all = append(all, call{getSecretValue, entries[i : i+1]})
	}
	if n < len(entries) {
		all = append(all, call{getParameters, entries[n:]})
	}
	return all
}

// again are the calls that look a second time at what must be.
func (h *host) again() []call {
	var batch, rest []int
	for i := range h.entries {
		switch {
		case h.entries[i].left == 0:
		case i < secrets:
			batch = append(batch, i)
		default:
			rest = append(rest, i)
		}
	}
	all := calls(rest)
	if len(batch) > 0 {
		all = append(all, call{batchGetSecretValue, batch})
	}
	return all
}

// snapshot are the calls that read everything anew.
func snapshot() []call {
	both := []call{{operation: batchGetSecretValue}, {operation: getParameters}}
	for i := range secrets + parameters {
		c := &both[i/secrets]
		c.entries = append(c.entries, i)
	}
	return both
}

// moment and since turn the simulation's time into the schedule's and back.
func moment(d time.Duration) time.Time { return time.Unix(0, int64(d)) }

func since(t time.Time) time.Duration { return time.Duration(t.UnixNano()) }

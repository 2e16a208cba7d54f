package main

import (
	"fmt"
	"time"
)

const (
	quiet = 10 * time.Minute // before something happens
	// startSplay is how far outrider run puts off its first CreateSession on a
	// machine that has just been started.
	startSplay = 3 * time.Second
)

// raised are the quotas that docs/scale.md says to ask for, for so many hosts.
func raised(hosts int) rates {
	r := documented()
	r[createSession] = float64(hosts) / 500
	r[getParameters] = 1000 // the account's setting for higher throughput
	return r
}

// size is a fleet and the quotas that it lives under.
type size struct {
	hosts int
	ask   bool // for the raised ones
}

// sizes are those of the document.
func sizes() []size { return []size{{1000, false}, {20_000, false}, {20_000, true}} }

// String names the size, in the document's marks and in the plots' file names.
func (s size) String() string {
	if s.ask {
		return fmt.Sprintf("%d-raised", s.hosts)
	}
	return fmt.Sprint(s.hosts)
}

// scenes are what happens to a fleet in the document.
func (s size) scenes() []scene {
	usual := scene{hosts: s.hosts, session: time.Hour, rates: documented(), splay: startSplay}
	if s.ask {
		usual.rates = raised(s.hosts)
	}
	// Time to open all sessions, as much again, and to come to rest.
	settled := time.Duration(2*float64(s.hosts)/usual.rates[createSession])*time.Second + 10*time.Minute
	cold, poll := usual, usual
	cold.name, cold.cold, cold.length = "cold start", true, settled
	poll.name, poll.length = "steady state", 24*time.Hour
	push := poll
	push.name, push.push = "steady state with push", true
	away := usual
	away.name, away.outage, away.length = "outage of an hour", span{quiet, quiet + time.Hour}, quiet+time.Hour+settled
	change := usual
	change.name, change.push, change.rotates, change.length = "rotation with push", true, quiet, quiet+30*time.Minute
	return []scene{cold, poll, push, away, change}
}

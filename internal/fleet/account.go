package main

import (
	"slices"
	"time"
)

// operation is what a sidecar asks AWS to do.
type operation int

const (
	createSession operation = iota
	batchGetSecretValue
	getSecretValue
	describeSecret
	getParameters
	operations int = iota
)

// String returns AWS's name of the operation.
func (o operation) String() string {
	return [...]string{"CreateSession", "BatchGetSecretValue", "GetSecretValue", "DescribeSecret", "GetParameters"}[o]
}

// rates are calls a second, by operation.
type rates [operations]float64

// documented are AWS's quotas for one account in one region, before any was
// raised. CreateSession: https://docs.aws.amazon.com/general/latest/gr/rolesanywhere.html.
// Secrets Manager: https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html.
// GetParameters at its default throughput: https://docs.aws.amazon.com/general/latest/gr/ssm.html.
func documented() rates {
	return rates{createSession: 10, batchGetSecretValue: 100, getSecretValue: 10_000, describeSecret: 40_000, getParameters: 40}
}

// account is what all sidecars share: quotas, each a token bucket that holds one
// second's worth, and a region that may be away. A refused call costs no token.
type account struct {
	rates
	outage span
	tokens rates
	filled [operations]time.Duration
	asked  [operations][]int // calls in each second since the start
	taken  [operations][]int // of which were answered
	missed [operations]int   // of which were throttled, in all
}

// span is from one instant until another, since the start.
type span struct{ from, until time.Duration }

func (s span) holds(at time.Duration) bool { return s.from <= at && at < s.until }

func newAccount(r rates, outage span, length time.Duration) *account {
	a := &account{rates: r, tokens: r, outage: outage}
	for o := range a.asked {
		a.asked[o] = make([]int, length/time.Second+1)
		a.taken[o] = make([]int, length/time.Second+1)
	}
	return a
}

// answer is what becomes of a call.
type answer int

const (
	answered answer = iota
	throttled
	away
)

// call answers at once.
func (a *account) call(o operation, now time.Duration) answer {
	a.asked[o][now/time.Second]++
	if a.outage.holds(now) {
		return away
	}
	a.tokens[o] = min(a.rates[o], a.tokens[o]+(now-a.filled[o]).Seconds()*a.rates[o])
	a.filled[o] = now
	if a.tokens[o] < 1 {
		a.missed[o]++
		return throttled
	}
	a.tokens[o]--
	a.taken[o][now/time.Second]++
	return answered
}

// busiest returns the calls in the busiest second.
func (a *account) busiest(o operation) int { return slices.Max(a.asked[o]) }

// Package cost foretells how many calls a configuration makes, and what they come to.
package cost

import (
	"cmp"
	"math"
	"slices"
	"time"

	"outrider/refresher"
)

// What one call reads at most: BatchGetSecretValue, and GetParameters or a page
// of GetParametersByPath.
const (
	batchSize      = 20
	parametersSize = 10
)

// longPoll is how long ReceiveMessage waits.
const longPoll = 20 * time.Second

const day = 24 * time.Hour

// Plan is what a configuration asks for, as far as it takes calls.
type Plan struct {
	Interval time.Duration // of the poll
	Queue    bool          // events come in
	Stale    time.Duration // with Queue: all is looked at once in half of it; 0: in a day
	Changes  float64       // how often each secret and parameter changes, a day
	Roles    []Role
}

// Role is what one role reads.
type Role struct {
	Session time.Duration // how long a session lasts; 0: an hour
	Chain   int           // roles that each session goes on to
	Stored  int           // secrets that the references are to, each once under all its labels
	All     Refs          // each reference once
	Apps    []Refs        // what each app reads
}

// Refs counts references by how they are read.
type Refs struct {
	Secrets    int // under AWSCURRENT, which goes in batches
	Labelled   int // secrets under another label, or of one version
	Parameters int // by name
	Pages      int // of parameters below paths, ten to a page

	// What no event tells of is counted here instead: what is under AWSPENDING
	// and AWSPREVIOUS, in another account, or not where the queue listens.
	UnheraldedSecrets    int
	UnheraldedParameters int
	UnheraldedPages      int
}

func (r Refs) total() int {
	return r.Secrets + r.Labelled + r.UnheraldedSecrets + r.Parameters + r.UnheraldedParameters + r.Pages + r.UnheraldedPages
}

// Calls is how often one operation is called.
type Calls struct {
	Service   string
	Operation string
	PerDay    float64
	Billed    float64 // a day; whether AWS bills a batch once or by secret is not known: by secret
	Values    float64 // secrets and parameters read, a day
}

// String is the operation with its service: "sqs.ReceiveMessage".
func (c Calls) String() string { return c.Service + "." + c.Operation }

// Dollars is what the calls cost a month, in US dollars.
func (c Calls) Dollars() float64 { return monthly(c.Billed) * priceOf(c.Service) }

// tally adds calls up by operation.
type tally map[string]*Calls

func (t tally) add(service, operation string, perDay, each float64) {
	c := t[service+"."+operation]
	if c == nil {
		c = &Calls{Service: service, Operation: operation}
		t[c.String()] = c
	}
	c.PerDay += perDay
	c.Billed += perDay
	switch operation {
	case "BatchGetSecretValue":
		c.Billed += perDay * (each - 1)
		fallthrough
	case "GetSecretValue", "GetParameters", "GetParametersByPath":
		c.Values += perDay * each
	}
}

// Foretell returns how often the plan calls each operation in the steady state,
// by service and operation, what is never called left out. It leaves starts
// out, and failures, and the closer looks during a rotation.
func (p Plan) Foretell() []Calls {
	t := tally{}
	for _, r := range p.Roles {
		r.sessions(t)
		p.looks(t, r.All)
		for _, app := range r.Apps {
			p.second(t, app)
		}
		news := p.Changes * float64(r.All.Secrets+r.All.Labelled+r.All.UnheraldedSecrets)
		t.add("secretsmanager", "GetSecretValue", news, 1)
		if p.Queue {
			p.events(t, r.All)
		}
	}
	if p.Queue {
		p.sweeps(t)
		t.add("sqs", "ReceiveMessage", float64(day/longPoll), 0)
	}
	var all []Calls
	for _, c := range t {
		if c.PerDay > 0 {
			all = append(all, *c)
		}
	}
	slices.SortFunc(all, func(a, b Calls) int { return cmp.Compare(a.String(), b.String()) })
	return all
}

// sessions adds the renewals of a role's session.
func (r Role) sessions(t tally) {
	life := cmp.Or(r.Session, time.Hour)
	var from time.Time
	renewals := float64(day) / float64(refresher.Renewal(from, from.Add(life), 0.5).Sub(from))
	t.add("rolesanywhere", "CreateSession", renewals, 0)
	t.add("sts", "AssumeRole", renewals*float64(r.Chain), 0)
}

// looks adds the planned looks, one an interval, at what no event tells of.
func (p Plan) looks(t tally, all Refs) {
	secrets, parameters, pages := all.UnheraldedSecrets, all.UnheraldedParameters, all.UnheraldedPages
	if !p.Queue {
		secrets += all.Secrets + all.Labelled
		parameters += all.Parameters
		pages += all.Pages
	}
	looks := float64(day) / float64(refresher.Poll(p.Interval, 0.5))
	t.add("secretsmanager", "DescribeSecret", looks*float64(secrets), 0)
	t.parameters(looks, parameters, pages)
}

// parameters adds so many reads of parameters.
func (t tally) parameters(times float64, parameters, pages int) {
	if calls := inCalls(parameters, parametersSize); calls > 0 {
		t.add("ssm", "GetParameters", times*calls, float64(parameters)/calls)
	}
	t.add("ssm", "GetParametersByPath", times*float64(pages), parametersSize)
}

// second adds the second look at all of an app's secrets that follows on each
// change of one of them.
func (p Plan) second(t tally, app Refs) {
	if app.total() < 2 {
		return
	}
	changes := p.Changes * float64(app.total())
	single := app.Labelled + app.UnheraldedSecrets
	if app.Secrets == 1 {
		single++
	} else if calls := inCalls(app.Secrets, batchSize); calls > 0 {
		t.add("secretsmanager", "BatchGetSecretValue", changes*calls, float64(app.Secrets)/calls)
	}
	t.add("secretsmanager", "GetSecretValue", changes*float64(single), 1)
	t.parameters(changes, app.Parameters+app.UnheraldedParameters, app.Pages+app.UnheraldedPages)
}

// events adds what each event brings with it: its message, and a read of the
// parameter, which a poll would have read anyway.
func (p Plan) events(t tally, all Refs) {
	told := p.Changes * float64(all.Secrets+all.Labelled+all.Parameters+all.Pages)
	t.add("sqs", "ReceiveMessage", told/2, 0) // it ends a wait half-way through, on average
	t.add("sqs", "DeleteMessageBatch", told, 0)
	t.add("ssm", "GetParameters", p.Changes*float64(all.Parameters), 1)
	t.add("ssm", "GetParametersByPath", p.Changes*float64(all.Pages), parametersSize)
}

// sweeps adds the passes over everything that find what events have missed.
func (p Plan) sweeps(t tally) {
	calls := 0
	for _, r := range p.Roles {
		calls += r.All.sweep()
	}
	limit := day
	if p.Stale > 0 {
		limit = min(limit, p.Stale/2)
	}
	passes := float64(day) / float64(refresher.Sweep(p.Interval, calls, limit))
	for _, r := range p.Roles {
		single := r.All.Labelled
		if r.All.Secrets == 1 {
			single++
		} else if calls := inCalls(r.All.Secrets, batchSize); calls > 0 {
			t.add("secretsmanager", "BatchGetSecretValue", passes*calls, float64(r.All.Secrets)/calls)
		}
		t.add("secretsmanager", "DescribeSecret", passes*float64(single), 0)
		t.parameters(passes, r.All.Parameters, r.All.Pages)
	}
}

// sweep is how many calls one pass takes.
func (r Refs) sweep() int {
	return int(inCalls(r.Secrets, batchSize)+inCalls(r.Parameters, parametersSize)) + r.Labelled + r.Pages
}

func inCalls(n, size int) float64 { return math.Ceil(float64(n) / float64(size)) }

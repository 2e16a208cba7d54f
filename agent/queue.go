package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"outrider/internal/config"
	"outrider/refresher"
	"outrider/serve"
	"outrider/store/events"
)

const (
	// eventually is how long reads may lag behind the change that an event
	// tells of. Older events do not say what a read must return.
	eventually = time.Minute
	// granularity is by how much the time of an event may be before the change.
	granularity = 5 * time.Second
	// remembered bounds the memory for what was read at an event's word.
	remembered = 10000
)

// queue has roles read again what events say has changed. It is one of the
// world, but what it remembers outlives a reload.
type queue struct {
	watch config.Watch
	log   *slog.Logger
	from  *events.Queue
	loop  refresher.Loop
	role  *role            // whose session receives; set, like roles, while the world stands still
	roles map[string]*role // who may be concerned
	read  map[topic]time.Time

	asked time.Time // when it was last received
	came  bool      // something came in then

	mu       sync.Mutex
	failures int       // in a row
	doubt    time.Time // until then only a message shows that messages come through
	state    serve.QueueState
	err      error     // while the state is failing
	full     error     // while what came in cannot be deleted
	heard    time.Time // when a message last came in
}

// topic is what events are about.
type topic struct {
	id        string
	parameter bool
	stage     string
}

// newQueue receives nothing yet. The world is still to be wired.
func newQueue(w config.Watch, r config.Role, o Options) *queue {
	q := &queue{watch: w, log: o.Log, read: map[topic]time.Time{}}
	endpoint := r.Endpoints.SQS
	if !r.FIPS && !r.DualStack {
		endpoint = cmp.Or(endpoint, w.Place.Endpoint)
	}
	q.from = events.New(events.Options{
		URL: w.Queue, Region: w.Place.Region, Endpoint: endpoint,
		FIPS: r.FIPS, DualStack: r.DualStack, Transport: o.Transport, Sessions: q,
	})
	q.loop = refresher.Loop{Look: q.look, Plan: q.next, Roll: o.Roll}
	return q
}

// same reports whether another queue is this one, read in the same way.
func (q *queue) same(other *queue) bool {
	return q.watch.Queue == other.watch.Queue && reflect.DeepEqual(q.role.Role, other.role.Role)
}

// wire makes the world's roles the queue's.
func (q *queue) wire(w *world) {
	q.role, q.roles = w.roles[q.watch.Role], w.roles
	q.tell()
}

// tell lets the roles know whether events come in: those whose events a rule
// can feed to this queue by itself. The others go on polling.
func (q *queue) tell() {
	receiving := q.status().State == serve.Receiving
	for _, r := range q.roles {
		own := r.Region == q.watch.Place.Region && r.account() == q.watch.Place.Account
		r.pushed(receiving && own)
	}
}

// Retrieve implements aws.CredentialsProvider.
func (q *queue) Retrieve(ctx context.Context) (aws.Credentials, error) { return q.role.Retrieve(ctx) }

// Spent is for credentials that SQS refused.
func (q *queue) Spent(c aws.Credentials) { q.role.Spent(c) }

// next returns when to receive again: at once where messages came in. Where none
// did, an endpoint that does not wait for any, be it a proxy, is not asked in a
// tight loop.
func (q *queue) next() time.Time {
	if q.came {
		return time.Now()
	}
	return q.asked.Add(time.Second)
}

// look receives one batch, and deletes it once the reads are under way. What is
// not deleted comes again, and does no harm.
func (q *queue) look(ctx context.Context) error {
	q.asked = time.Now()
	batch, err := q.from.Receive(ctx, q.patience())
	q.came = len(batch.Bodies) > 0
	if ctx.Err() == nil { // else it was called off, which says nothing about the queue
		q.record(err, time.Now())
	}
	if !q.came {
		return err
	}
	q.pass(batch)
	err = q.from.Delete(ctx, batch)
	if ctx.Err() == nil {
		q.emptied(err)
	}
	return err
}

// emptied notes whether what came in could be deleted. Events come in all the
// same, and again and again.
func (q *queue) emptied(err error) {
	q.mu.Lock()
	before := q.full
	q.full = err
	q.mu.Unlock()
	if changedError(before, err) {
		q.log.Warn("queue not emptied", "queue", q.watch.Queue, "error", err)
	}
}

// pass has the roles read again what a batch is about, each thing once.
func (q *queue) pass(b events.Batch) {
	if b.At.IsZero() {
		b.At = time.Now()
	}
	q.mu.Lock()
	q.heard = time.Now()
	q.mu.Unlock()
	latest := map[topic]events.Event{}
	for _, body := range b.Bodies {
		e, err := events.Parse(body)
		if err != nil {
			q.log.Debug("message ignored", "reason", err.Error())
			continue
		}
		about := topic{e.ID, e.Parameter, e.Stage}
		if last, ok := latest[about]; !ok || last.Time.Before(e.Time) {
			latest[about] = e
		}
	}
	for about, e := range latest {
		q.hint(about, e, b.At)
	}
}

// hint passes one event on, unless what it is about was read since: a queue
// that has filled meanwhile is emptied at the cost of a read for each secret. Now
// is by AWS's clock, like the time of the event.
func (q *queue) hint(about topic, e events.Event, now time.Time) {
	if !e.Time.IsZero() && e.Time.Add(granularity).Before(q.read[about]) {
		return
	}
	if !e.Time.IsZero() && now.Sub(e.Time) > eventually {
		e.Version, e.At = "", time.Time{}
	}
	ours := false
	for _, r := range q.roles {
		ours = r.reads(e.Region, e.Account) && r.hinted(e.Hint) || ours
	}
	if !ours {
		q.log.Debug("message ignored", "reason", fmt.Sprintf("not in the configuration: %s of account %.64s in %.64s", e.ID, e.Account, e.Region))
		return
	}
	if len(q.read) >= remembered {
		clear(q.read)
	}
	q.read[about] = now
}

// patience is how long to wait for messages: briefly, to know soon whether it
// works, after a failure and at the start.
func (q *queue) patience() time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.failures > 0 || q.state == "" {
		return time.Second
	}
	return events.LongestWait
}

// record notes how receiving went. One failure is none yet: connections that
// are open for long break now and then, and messages wait. But where an answer
// broke off, messages are lost for a while, and answers without any go well.
func (q *queue) record(err error, now time.Time) {
	told, ok := errors.AsType[*events.Error](err)
	torn := ok && told.Torn()
	q.mu.Lock()
	was, before := q.state, q.err
	if err == nil {
		q.failures = 0
		if q.came || refresher.Due(q.doubt, now) {
			q.state, q.err = serve.Receiving, nil
		}
	} else if q.failures++; q.failures > 1 || torn {
		q.state, q.err = serve.NotReceiving, err
	}
	if torn {
		q.doubt = now.Add(eventually)
	}
	state, err := q.state, q.err
	q.mu.Unlock()
	switch {
	case changedError(before, err):
		q.log.Warn("queue failing", "queue", q.watch.Queue, "error", err)
	case state == serve.Receiving && was != state:
		q.log.Info("queue receiving", "queue", q.watch.Queue)
	}
	if state != was {
		q.tell()
	}
}

// status returns how the queue stands.
func (q *queue) status() serve.Queue {
	q.mu.Lock()
	defer q.mu.Unlock()
	status := serve.Queue{URL: q.watch.Queue, State: q.state, Error: text(cmp.Or(q.err, q.full))}
	if heard := q.heard; !heard.IsZero() {
		status.LastMessage = &heard
	}
	return status
}

// account returns the account in which the role reads.
func (r *role) account() string {
	arn := r.Role.Role
	if n := len(r.Assume); n > 0 {
		arn = r.Assume[n-1]
	}
	_, account := placeOf(arn)
	return account
}

// reads reports whether the role has secrets or parameters in a region of an
// account: its own, or where an ARN in the configuration says.
func (r *role) reads(region, account string) bool {
	if account == r.account() && (region == r.Region || slices.ContainsFunc(r.Fallback, func(f config.Fallback) bool { return f.Region == region })) {
		return true
	}
	for _, ref := range r.refs {
		if r, a := placeOf(ref.ID); r == region && a == account {
			return true
		}
	}
	return false
}

// placeOf returns what an ARN says of its region and account; nothing, when it
// is none.
func placeOf(arn string) (region, account string) {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 || parts[0] != "arn" {
		return "", ""
	}
	return parts[3], parts[4]
}

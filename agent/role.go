package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"outrider/internal/config"
	"outrider/refresher"
	"outrider/secret"
	"outrider/session"
	"outrider/store"
)

// role holds one role's session and reads its secrets.
type role struct {
	config.Role
	log      *slog.Logger
	identity *identity
	client   *session.Client
	places   []*place // used by one attempt at a time
	roll     func() float64
	lease    refresher.Lease[session.Session]
	store    *store.Store
	apps     []*app       // that read with this role
	refs     []secret.Ref // what they read, each once
	poll     refresher.Loop
	sweep    func() time.Duration // in what time everything is looked at once, over all roles, while events come in
	out      refresher.Loop       // hands the session out in files
	local    *local
	spawn    func(func(context.Context)) // runs one function beside while the world runs
	reading  func() (end func())         // notes that such a function is running

	mu        sync.Mutex
	uses      map[secret.Ref][]*app // who reads what
	events    bool                  // they come in and tell what changes
	err       error                 // of the last attempt to open a session
	fileErr   error                 // of the last attempt to hand a session out in files
	recovered bool                  // a session was opened after a failure, and nobody was told yet
	skewed    bool                  // the clock was off at the last attempt
	dark      error                 // why secrets' labels cannot be read, as was said last
	keyID     string                // of the session last handed out
	serial    uint64                // the lease's number for it
}

// newRole wires a role to its identity. It starts nothing.
func newRole(c config.Role, id *identity, h *host, o Options) *role {
	r := &role{
		Role: c, log: o.Log, identity: id, client: h.client, local: &h.local,
		roll: o.Roll, spawn: func(func(context.Context)) {}, reading: func() func() { return func() {} },
	}
	r.places = r.newPlaces()
	r.lease = refresher.Lease[session.Session]{Create: r.open, Granted: r.granted, Splay: o.Splay, Roll: o.Roll}
	r.out = refresher.Loop{Look: r.handOut, Interval: time.Minute, Roll: o.Roll}
	r.store = store.New(store.Options{
		Region: c.Region, Endpoint: c.Endpoints.SecretsManager,
		Account: r.account(), SSMEndpoint: c.Endpoints.SSM, Fallback: regionsOf(c.Fallback),
		FIPS: c.FIPS, DualStack: c.DualStack, Transport: o.Transport, Sessions: r, Roll: o.Roll, Ended: r.ended,
	})
	r.poll = refresher.Loop{Look: r.look, Plan: r.store.Next, Roll: o.Roll}
	return r
}

// open opens one session and logs what changed by it.
func (r *role) open(ctx context.Context) (refresher.Term[session.Session], error) {
	s, err := r.create(ctx)
	r.mu.Lock()
	was := r.err
	r.err = err
	r.mu.Unlock()
	r.tellClock(err)
	if err != nil {
		if changedError(was, err) && ctx.Err() == nil {
			r.log.Error("session not opened", "role", r.Name, "error", err)
		}
		return refresher.Term[session.Session]{}, err
	}
	// AWS counts the end by its own clock. The time left is added to a reading of
	// both of ours, so that no step of the wall clock moves the end.
	now := time.Now()
	term := refresher.Term[session.Session]{Value: s, From: now, Until: now.Add(s.Expires.Sub(now) - s.Skew)}
	r.log.Info("session opened", "role", r.Name, "access_key_id", s.AccessKeyID, "expires", s.Expires)
	r.mu.Lock()
	r.recovered = r.recovered || was != nil
	r.mu.Unlock()
	return term, nil
}

// tellClock says whether this machine's clock is right, once each way, as an
// attempt to open a session has shown it. Without an answer it has shown
// nothing, unless that was for want of a certificate that is valid by it.
func (r *role) tellClock(err error) {
	skew, remedy := r.client.Skew(), "set this machine's clock; requests are signed with AWS's time until then"
	if told, ok := errors.AsType[*session.Error](err); ok && told.Status == 0 {
		if told.Skew == skew {
			return
		}
		skew, remedy = told.Skew, "set this machine's clock; until then TLS fails, and nothing is read"
	}
	r.mu.Lock()
	was := r.skewed
	r.skewed = skew != 0
	r.mu.Unlock()
	switch {
	case skew != 0 && !was:
		r.log.Warn("clock off", "role", r.Name, "aws_ahead_by", skew.Round(time.Second).String(), "remedy", remedy)
	case skew == 0 && was:
		r.log.Info("clock right", "role", r.Name)
	}
}

// granted sets to work who waits for a session: the files that it is handed
// out in, and after a failure the apps.
func (r *role) granted() {
	r.out.Wake()
	r.mu.Lock()
	recovered := r.recovered
	r.recovered = false
	r.mu.Unlock()
	if recovered {
		r.again()
	}
}

// create signs with the identity in hand, even one that is out of its dates:
// the clock that says so may be wrong, and AWS's is not.
func (r *role) create(ctx context.Context) (session.Session, error) {
	set, err := r.identity.current(ctx)
	if err != nil {
		return session.Session{}, fmt.Errorf("role %s: identity %s: %w", r.Name, r.Identity, err)
	}
	s, err := r.openSomewhere(ctx, set)
	if err == nil {
		s, err = r.chain(ctx, s, set)
	}
	if err != nil {
		return session.Session{}, fmt.Errorf("role %s: %w", r.Name, err)
	}
	return s, nil
}

// Retrieve implements aws.CredentialsProvider from the session in hand. It
// blocks only while a session is being opened.
func (r *role) Retrieve(ctx context.Context) (aws.Credentials, error) {
	s, serial, err := r.lease.Get(ctx)
	if err != nil {
		return aws.Credentials{}, err
	}
	r.mu.Lock()
	r.keyID, r.serial = s.AccessKeyID, serial
	r.mu.Unlock()
	return aws.Credentials{
		AccessKeyID:     s.AccessKeyID,
		SecretAccessKey: string(s.SecretAccessKey.Reveal()),
		SessionToken:    string(s.SessionToken.Reveal()),
	}, nil
}

// Spent makes the lease replace a session that AWS refused.
func (r *role) Spent(c aws.Credentials) {
	r.mu.Lock()
	serial, last := r.serial, r.keyID == c.AccessKeyID
	r.mu.Unlock()
	if last {
		r.log.Warn("session refused", "role", r.Name, "access_key_id", c.AccessKeyID)
		r.lease.Spent(serial)
	}
}

// hurry opens a session at once if the last attempt failed: with another
// identity, or for who cannot wait for its turn. One that holds stays: its
// renewal signs with the identity of then.
func (r *role) hurry() {
	r.mu.Lock()
	failing := r.err != nil
	r.mu.Unlock()
	if failing {
		r.lease.Renew()
	}
}

// begin sets a read of every secret of the role's apps going, and the apps to
// work on them as they come in. It waits for none of them: an app whose secrets
// could not be read tries again by itself.
func (r *role) begin() {
	r.touch() // before Begin, so that the apps take its reads for new
	carryOut := r.store.Begin(r.refs)
	r.spawn(carryOut)
	for _, a := range r.apps {
		a.loop.Wake()
	}
}

// look makes the planned looks that are due. It waits for none of them: they
// plan the next ones, and wake the apps that they have news for.
func (r *role) look(context.Context) error {
	if carryOut := r.store.Look(time.Now(), r.pass()); carryOut != nil {
		r.spawn(carryOut)
	}
	return nil
}

// ended is told when a read or look of one reference has ended.
func (r *role) ended(ref secret.Ref, news bool) {
	for _, a := range r.readers(ref) {
		if news {
			a.loop.Wake()
		} else {
			a.sighted()
		}
	}
	r.poll.Wake() // the next look may be due earlier than was planned
	r.darkened(r.store.Dark())
}

// darkened says once that DescribeSecret does not work, and once that it does.
func (r *role) darkened(err error) {
	r.mu.Lock()
	was := r.dark
	r.dark = err
	r.mu.Unlock()
	switch {
	case changedError(was, err):
		r.log.Warn("labels not read", "role", r.Name, "error", err)
	case err == nil && was != nil:
		r.log.Info("labels read again", "role", r.Name)
	}
}

// readers returns the apps that use a reference.
func (r *role) readers(ref secret.Ref) []*app {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.uses[ref]
}

// hinted reads again, at once and by value, what an event says has changed, and
// reports whether anything of this role's is meant. It does not wait for the
// reads; the apps that they concern are woken when they find something new.
func (r *role) hinted(h store.Hint) bool {
	refs := slices.DeleteFunc(slices.Clone(r.refs), func(ref secret.Ref) bool { return !h.About(ref) })
	if len(refs) == 0 {
		return false
	}
	r.spawn(r.store.Hinted(refs, h))
	return true
}

// pushed says whether events come in: while they do, planned looks only find
// what they have missed. It never blocks.
func (r *role) pushed(healthy bool) {
	r.mu.Lock()
	changed := r.events != healthy
	r.events = healthy
	r.mu.Unlock()
	if changed {
		r.poll.Wake()
	}
}

// pass returns in what time everything is looked at once while events come in;
// 0: they do not.
func (r *role) pass() time.Duration {
	if !r.hears() {
		return 0
	}
	return r.sweep()
}

// hears reports whether events come in.
func (r *role) hears() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.events
}

// again reads anew what could not be read for want of a session.
func (r *role) again() {
	r.spawn(r.store.Begin(r.store.Failing()))
	for _, a := range r.apps {
		a.loop.Wake()
	}
}

// touch makes the looks of all apps that follow read anew, and share what they
// read.
func (r *role) touch() {
	now := time.Now()
	for _, a := range r.apps {
		a.touch(now)
	}
}

// supply makes the role look at what its apps use, every interval.
func (r *role) supply(interval time.Duration) {
	uses := map[secret.Ref][]*app{}
	for _, a := range r.apps {
		a.loop.Interval = interval // files may drift
		for _, ref := range a.Secrets {
			if !slices.Contains(uses[ref], a) {
				uses[ref] = append(uses[ref], a)
			}
		}
	}
	r.mu.Lock()
	r.uses = uses
	r.mu.Unlock()
	r.refs = refsOf(r.apps)
	r.store.Plan(r.refs, interval)
}

// refsOf returns what the apps read, each once.
func refsOf(apps []*app) []secret.Ref {
	seen := map[secret.Ref]bool{}
	var refs []secret.Ref
	for _, a := range apps {
		for _, ref := range a.Secrets {
			if !seen[ref] {
				seen[ref] = true
				refs = append(refs, ref)
			}
		}
	}
	return refs
}

func regionsOf(fallbacks []config.Fallback) []string {
	var regions []string
	for _, f := range fallbacks {
		regions = append(regions, f.Region)
	}
	return regions
}

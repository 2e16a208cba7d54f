package agent

import (
	"context"
	"fmt"
	"log/slog"
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
	out      refresher.Loop // hands the session out in files
	local    *local
	spawn    func(func(context.Context)) // runs one function beside; set while the world runs

	mu        sync.Mutex
	tick      time.Time         // the last poll began then
	breaker   refresher.Breaker // open while AWS throttles
	err       error             // of the last attempt to open a session
	fileErr   error             // of the last attempt to hand a session out in files
	recovered bool              // a session was opened after a failure, and nobody was told yet
	skewed    bool              // the clock was off at the last attempt
	keyID     string            // of the session last handed out
	serial    uint64            // the lease's number for it
}

// newRole wires a role to its identity. It starts nothing.
func newRole(c config.Role, id *identity, h *host, interval time.Duration, o Options) *role {
	r := &role{
		Role: c, log: o.Log, identity: id, client: h.client, local: &h.local,
		roll: o.Roll,
	}
	r.places = r.newPlaces()
	r.lease = refresher.Lease[session.Session]{Create: r.open, Granted: r.granted, Splay: o.Splay, Roll: o.Roll}
	r.out = refresher.Loop{Look: r.handOut, Interval: time.Minute, Roll: o.Roll}
	r.store = store.New(store.Options{
		Region: c.Region, Endpoint: c.Endpoints.SecretsManager,
		FIPS: c.FIPS, DualStack: c.DualStack, Transport: o.Transport, Sessions: r,
	})
	r.poll = refresher.Loop{Look: r.look, Interval: interval, Roll: o.Roll}
	return r
}

// open opens one session and logs what changed by it.
func (r *role) open(ctx context.Context) (refresher.Term[session.Session], error) {
	s, err := r.create(ctx)
	skew := r.client.Skew()
	r.mu.Lock()
	was, wasSkewed := r.err, r.skewed
	r.err, r.skewed = err, skew != 0
	r.mu.Unlock()
	if skew != 0 && !wasSkewed {
		r.log.Warn("clock off", "role", r.Name, "aws_ahead_by", skew.Round(time.Second).String(),
			"remedy", "set this machine's clock; requests are signed with AWS's time until then")
	}
	if err != nil {
		if changedError(was, err) && ctx.Err() == nil {
			r.log.Error("session not opened", "role", r.Name, "error", err)
		}
		return refresher.Term[session.Session]{}, err
	}
	// AWS counts the end by its own clock.
	term := refresher.Term[session.Session]{Value: s, From: time.Now(), Until: s.Expires.Add(-skew)}
	r.log.Info("session opened", "role", r.Name, "access_key_id", s.AccessKeyID, "expires", s.Expires)
	r.mu.Lock()
	r.recovered = r.recovered || was != nil
	r.mu.Unlock()
	return term, nil
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
		r.wakeApps()
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

// identityChanged opens a session at once if the last attempt failed;
// otherwise the next renewal signs with the new identity.
func (r *role) identityChanged() {
	r.mu.Lock()
	failing := r.err != nil
	r.mu.Unlock()
	if failing {
		r.lease.Renew()
	}
}

// look sets a read of every secret of the role's apps going, and the apps to
// work on them as they come in. It waits for none of them: an app whose
// secrets could not be read tries again by itself. While AWS throttles, polls
// are left out.
func (r *role) look(context.Context) error {
	r.mu.Lock()
	throttled := r.breaker.Open(time.Now())
	r.mu.Unlock()
	if throttled {
		return nil
	}
	r.touch() // before Begin, so that the apps take its reads for new
	carryOut := r.store.Begin(r.refs)
	r.spawn(func(ctx context.Context) {
		throttled := carryOut(ctx)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.breaker.Record(!throttled, time.Now(), r.roll())
	})
	for _, a := range r.apps {
		a.loop.Wake()
	}
	return nil
}

// wakeApps makes every app of the role look, at values no older than now.
func (r *role) wakeApps() {
	r.touch()
	for _, a := range r.apps {
		a.loop.Wake()
	}
}

// touch makes the looks that follow read anew, and share what they read.
func (r *role) touch() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tick = time.Now()
}

func (r *role) asOf() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tick
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

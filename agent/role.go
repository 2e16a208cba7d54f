package agent

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
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
	lease    refresher.Lease[session.Session]
	store    *store.Store
	apps     []*app // that read with this role
	poll     refresher.Loop

	mu     sync.Mutex
	tick   time.Time         // the last poll began then
	err    error             // of the last attempt to open a session
	skewed bool              // the clock was off at the last attempt
	serial map[string]uint64 // the lease's serial by access key id, for the last session handed out
}

// newRole wires a role to its identity. It starts nothing.
func newRole(c config.Role, id *identity, client *session.Client, interval time.Duration, o Options) *role {
	r := &role{
		Role: c, log: o.Log, identity: id, client: client,
		serial: map[string]uint64{},
	}
	r.lease = refresher.Lease[session.Session]{Create: r.open, Roll: o.Roll}
	r.store = store.New(store.Options{
		Region: c.Region, Endpoint: c.Endpoints.SecretsManager,
		HTTP: &http.Client{Transport: o.Transport}, Sessions: r,
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
		r.log.Warn("clock off", "role", r.Name, "aws_ahead_by", skew.Round(time.Second),
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
	if was != nil {
		r.wakeApps()
	}
	return term, nil
}

// create signs with the identity in hand, even one that is out of its dates:
// the clock that says so may be wrong, and AWS's is not.
func (r *role) create(ctx context.Context) (session.Session, error) {
	set, err := r.identity.current()
	if err != nil {
		return session.Session{}, fmt.Errorf("role %s: identity %s: %w", r.Name, r.Identity, err)
	}
	s, err := r.client.Create(ctx, session.Role{
		Region: r.Region, TrustAnchor: r.TrustAnchor, Profile: r.Profile, Role: r.Role.Role,
		Duration: r.SessionDuration, Name: r.SessionName, Endpoint: r.Endpoints.RolesAnywhere,
	}, set)
	if err != nil {
		return s, fmt.Errorf("role %s: %w", r.Name, err)
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
	clear(r.serial)
	r.serial[s.AccessKeyID] = serial
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
	serial, ok := r.serial[c.AccessKeyID]
	r.mu.Unlock()
	if ok {
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

// look reads every secret of the role's apps, and sets the apps to work on
// them as they come in.
func (r *role) look(ctx context.Context) error {
	r.touch() // before Begin, so that the apps take its reads for new
	carryOut := r.store.Begin(r.refs())
	for _, a := range r.apps {
		a.loop.Wake()
	}
	carryOut(ctx)
	return nil // an app whose secrets could not be read tries again by itself
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
	r.tick = time.Now()
	r.mu.Unlock()
}

func (r *role) asOf() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tick
}

// refs returns what the role's apps read, each once.
func (r *role) refs() []secret.Ref {
	seen := map[secret.Ref]bool{}
	var refs []secret.Ref
	for _, a := range r.apps {
		for _, ref := range a.Secrets {
			if !seen[ref] {
				seen[ref] = true
				refs = append(refs, ref)
			}
		}
	}
	return refs
}

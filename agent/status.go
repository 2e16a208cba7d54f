package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"outrider/deliver"
	"outrider/secret"
	"outrider/serve"
)

// Status returns the state of everything that the caller may see: all of it
// for root and outrider's own user, else only what allow grants.
func (a *Agent) Status(c serve.Caller) serve.Status {
	now, w := time.Now(), a.current()
	status := serve.Status{
		Version:    a.o.Version,
		Ready:      len(a.waiting()) == 0,
		Identities: map[string]serve.Identity{},
		Roles:      map[string]serve.Role{},
		Apps:       map[string]serve.App{},
		Watch:      serve.Watch{IntervalSeconds: w.config.Watch.Interval.Seconds()},
	}
	if c.Trusted() {
		for name, i := range w.identities {
			status.Identities[name] = i.status()
		}
	}
	for name, r := range w.roles {
		if c.Is(r.Allow.Users, r.Allow.Groups) {
			status.Roles[name] = r.status()
		}
	}
	for name, app := range w.apps {
		if c.Is(app.Allow.Users, app.Allow.Groups) {
			status.Apps[name] = app.status(now)
		}
	}
	return status
}

// Refresh makes the apps, or all that the caller may refresh, look now, and
// blocks until they have.
func (a *Agent) Refresh(ctx context.Context, c serve.Caller, names []string) ([]serve.Outcome, error) {
	apps, err := a.current().named(names)
	if err != nil {
		return nil, err
	}
	var allowed []*app
	for _, app := range apps {
		if c.Is(app.Allow.Users, app.Allow.Groups) {
			allowed = append(allowed, app)
		} else if len(names) > 0 {
			return nil, fmt.Errorf("app %s: %w", app.Name, serve.ErrForbidden)
		}
	}
	if len(allowed) == 0 {
		return nil, serve.ErrForbidden
	}
	before := make([]progress, len(allowed))
	looks := make([]uint64, len(allowed))
	for i, app := range allowed {
		before[i], looks[i] = app.begin()
	}
	outcomes := make([]serve.Outcome, len(allowed))
	for i, app := range allowed {
		err := app.await(ctx, looks[i])
		after, _ := app.reached()
		outcomes[i] = serve.Outcome{
			App: app.Name, Generation: after.generation,
			Changed: after.generation != before[i].generation, Error: text(err),
		}
	}
	return outcomes, nil
}

// Wait blocks until the app's files are current.
func (a *Agent) Wait(ctx context.Context, c serve.Caller, name string) error {
	apps, err := a.current().named([]string{name})
	if err != nil {
		return err
	}
	app := apps[0]
	if !c.Is(app.Allow.Users, app.Allow.Groups) {
		return fmt.Errorf("app %s: %w", name, serve.ErrForbidden)
	}
	for !app.current() {
		_, looks := app.reached()
		if err := app.await(ctx, looks); ctx.Err() != nil {
			return fmt.Errorf("app %s: not current: %w", name, err)
		}
	}
	return nil
}

// Credentials returns the session in hand. It never asks AWS.
func (a *Agent) Credentials(_ context.Context, c serve.Caller, name string) (serve.Credentials, error) {
	r, err := a.current().role(name)
	if err != nil {
		return serve.Credentials{}, err
	}
	if !c.Is(r.Allow.Users, r.Allow.Groups) {
		return serve.Credentials{}, fmt.Errorf("role %s: %w", name, serve.ErrForbidden)
	}
	return r.credentials()
}

func (i *identity) status() serve.Identity {
	set, err := i.state()
	status := serve.Identity{Error: text(err)}
	if set != nil {
		leaf := set.Leaf()
		status.Subject = leaf.Subject.String()
		status.Serial = leaf.SerialNumber.String()
		status.SerialHex = fmt.Sprintf("%x", leaf.SerialNumber.Bytes())
		status.NotAfter = &leaf.NotAfter
		status.Key = set.KeyKind()
	}
	return status
}

func (r *role) status() serve.Role {
	term, err, held := r.lease.Now()
	status := serve.Role{Region: r.Region, Error: text(err)}
	if held {
		status.Expires, status.AccessKeyID = &term.Value.Expires, term.Value.AccessKeyID
	}
	return status
}

func (r *role) credentials() (serve.Credentials, error) {
	term, err, held := r.lease.Now()
	if !held {
		if err == nil {
			err = errors.New("no session yet")
		}
		return serve.Credentials{}, fmt.Errorf("role %s: %w", r.Name, err)
	}
	s := term.Value
	return serve.Credentials{
		AccessKeyID: s.AccessKeyID, SecretAccessKey: s.SecretAccessKey,
		SessionToken: s.SessionToken, Expiration: s.Expires,
	}, nil
}

func (a *app) status(now time.Time) serve.App {
	p, looks := a.reached()
	status := serve.App{
		State: serve.Current, Generation: p.generation,
		Secrets: map[string]serve.Secret{}, Files: map[string]serve.File{},
		Owed: p.owed.Names(), Error: text(errors.Join(p.err, p.notifyErr)),
	}
	if taken := p.snapshot.Taken(); !taken.IsZero() {
		status.AgeSeconds = now.Sub(taken).Seconds()
	}
	switch {
	case p.snapshot.Taken().IsZero() && looks == 0:
		status.State = serve.Starting
	case a.MaxStale > 0 && status.AgeSeconds > a.MaxStale.Seconds():
		status.State = serve.Stale
	case p.err != nil:
		status.State = serve.Failing
	}
	if next := earlier(a.loop.Next(), a.role.poll.Next()); !next.IsZero() {
		status.Next = &next
	}
	for _, name := range p.snapshot.Names() {
		v, _ := p.snapshot.Get(name)
		status.Secrets[name] = serve.Secret{ID: v.Ref.ID, Version: v.ID, Stage: stage(v), Region: v.Region}
	}
	for _, f := range a.Files {
		status.Files[f.Destination] = fileStatus(f.Destination, status.State, p.err)
	}
	return status
}

// earlier returns the earlier of two times, of which a zero one does not count.
func earlier(a, b time.Time) time.Time {
	if b.IsZero() || !a.IsZero() && a.Before(b) {
		return a
	}
	return b
}

func stage(v secret.Version) string {
	if v.Ref.VersionID != "" {
		return ""
	}
	return v.Ref.Stage
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// fileStatus says how one destination stands: as its app does, with the part
// of the app's error that is about this file.
func fileStatus(destination string, state serve.State, err error) serve.File {
	status := serve.File{State: state}
	for _, e := range leaves(err) {
		var file *deliver.FileError
		if errors.As(e, &file) && file.Destination == destination {
			status.Error = file.Error()
		}
	}
	return status
}

// leaves returns the errors that were joined into err, itself when it is one.
func leaves(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, leaves(e)...)
	}
	return all
}

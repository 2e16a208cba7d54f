package agent

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"outrider/deliver"
	"outrider/refresher"
	"outrider/secret"
	"outrider/serve"
	"outrider/session"
	"outrider/store"
)

// Status returns the state of everything that the caller may see: all of it
// for root and outrider's own user, else only what allow grants.
func (a *Agent) Status(c serve.Caller) serve.Status {
	now, w := time.Now(), a.current()
	waiting, _ := a.standings()
	status := serve.Status{
		Version:    a.o.Version,
		Ready:      len(waiting) == 0,
		Identities: map[string]serve.Identity{},
		Roles:      map[string]serve.Role{},
		Apps:       map[string]serve.App{},
		Watch:      serve.Watch{IntervalSeconds: w.config.Watch.Interval.Seconds()},
	}
	if c.Trusted() {
		for name, i := range w.identities {
			status.Identities[name] = i.status()
		}
		if w.queue != nil {
			status.Watch.Queue = w.queue.status()
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
	status.Watch.Rung, status.Watch.Next = w.rung()
	return status
}

// Refresh makes the apps, or all that the caller may refresh, look as soon as
// their rounds allow, and blocks until they have.
func (a *Agent) Refresh(ctx context.Context, c serve.Caller, names []string) ([]serve.Outcome, error) {
	apps, err := a.allowed(c, names)
	if err != nil {
		return nil, err
	}
	generations := make([]uint64, len(apps))
	for i, app := range apps {
		generations[i] = app.standing.delivered().Generation
	}
	before, err := a.ask(ctx, apps)
	if err != nil {
		return nil, err
	}
	outcomes := make([]serve.Outcome, len(apps))
	for i, app := range apps {
		_, err := app.after(ctx, before[i])
		now := app.standing.delivered().Generation
		outcomes[i] = serve.Outcome{App: app.Name, Generation: now, Changed: now != generations[i], Error: text(err)}
	}
	return outcomes, nil
}

// Retry makes the app try again what was set aside, and blocks until it has.
func (a *Agent) Retry(ctx context.Context, c serve.Caller, name string) (serve.Outcome, error) {
	apps, err := a.allowed(c, []string{name})
	if err != nil {
		return serve.Outcome{}, err
	}
	ledger := apps[0].standing.opened()
	if ledger == nil || !ledger.Retry() {
		return serve.Outcome{}, fmt.Errorf("app %s: nothing is set aside", name)
	}
	outcomes, err := a.Refresh(ctx, c, []string{name})
	if err != nil {
		return serve.Outcome{}, err
	}
	return outcomes[0], nil
}

// Wait blocks until an application may start on the app's files: they are
// this run's, and not older than max_stale.
func (a *Agent) Wait(ctx context.Context, c serve.Caller, name string) error {
	apps, err := a.allowed(c, []string{name})
	if err != nil {
		return err
	}
	app := apps[0]
	if _, err := app.standing.await(ctx, func(p progress) bool { return p.usable(time.Now(), app.MaxStale) }); err != nil {
		return fmt.Errorf("app %s: not current: %w", name, err)
	}
	return nil
}

// allowed returns the apps of those names, or all that the caller may ask
// about when there are none. Who may ask about none learns no name.
func (a *Agent) allowed(c serve.Caller, names []string) ([]*app, error) {
	apps, err := a.current().named(names)
	if err != nil && !c.Trusted() {
		return nil, serve.ErrForbidden
	}
	if err != nil {
		return nil, err
	}
	mine := slices.DeleteFunc(apps, func(app *app) bool { return !c.Is(app.Allow.Users, app.Allow.Groups) })
	if len(names) > len(mine) || len(mine) == 0 && !c.Trusted() {
		return nil, serve.ErrForbidden
	}
	return mine, nil
}

// Credentials returns the session in hand; while the first is being opened it
// waits, for three seconds at most. It never asks AWS by itself.
func (a *Agent) Credentials(ctx context.Context, c serve.Caller, name string) (serve.Credentials, error) {
	got, err := a.credentials(ctx, c, name, 3*time.Second)
	return got, a.o.witness.handedOut(c, name, got, err)
}

func (a *Agent) credentials(ctx context.Context, c serve.Caller, name string, patience time.Duration) (serve.Credentials, error) {
	r, err := a.current().role(name)
	if err != nil && !c.Trusted() {
		return serve.Credentials{}, serve.ErrForbidden
	}
	if err != nil {
		return serve.Credentials{}, err
	}
	if !c.Is(r.Allow.Users, r.Allow.Groups) {
		return serve.Credentials{}, serve.ErrForbidden
	}
	if term, held, _ := r.lease.Now(); held {
		return handed(term), nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("role %s: no session yet; it is being opened", name))
	defer cancel()
	return r.credentials(ctx)
}

func (i *identity) status() serve.Identity {
	set, err := i.state()
	status := serve.Identity{Error: text(err)}
	if set != nil {
		leaf := set.Leaf()
		status.Subject = leaf.Subject.String()
		status.Serial = leaf.SerialNumber.String()
		status.SerialHex = hexSerial(leaf.SerialNumber)
		status.NotAfter = &leaf.NotAfter
		status.Key = set.KeyKind()
		status.Place = set.KeyPlace()
		status.Issuer = leaf.Issuer.String()
		status.SAN = names(leaf)
	}
	return status
}

func (r *role) status() serve.Role {
	term, held, err := r.lease.Now()
	r.mu.Lock()
	fileErr := r.fileErr
	r.mu.Unlock()
	status := serve.Role{Region: r.Region, Error: text(errors.Join(err, fileErr, r.store.Dark()))}
	if held {
		status.Expires, status.AccessKeyID, status.Region = &term.Value.Expires, term.Value.AccessKeyID, term.Value.Region
	}
	return status
}

func (r *role) credentials(ctx context.Context) (serve.Credentials, error) {
	if _, _, err := r.lease.Get(ctx); err != nil {
		return serve.Credentials{}, err
	}
	term, _, _ := r.lease.Now()
	return handed(term), nil
}

// handed is a session as other programs get it.
func handed(term refresher.Term[session.Session]) serve.Credentials {
	s := term.Value
	return serve.Credentials{
		AccessKeyID: s.AccessKeyID, SecretAccessKey: s.SecretAccessKey,
		// By this host's clock, as whoever is handed it will read it.
		SessionToken: s.SessionToken, Expiration: term.Until,
	}
}

func (a *app) status(now time.Time) serve.App {
	p, done := a.standing.now(), a.standing.delivered()
	status := serve.App{
		State: a.standingState(p, now), Generation: done.Generation, AgeSeconds: p.age(now).Seconds(),
		Secrets: map[string]serve.Secret{}, Files: map[string]serve.File{},
		Owed: append([]string{}, done.Owed...), Error: text(errors.Join(p.err, p.note, p.sealErr, p.notifyErr, p.unconfirmed.of(done.Generation))),
	}
	next := a.loop.Next()
	files := a.inFiles()
	for _, name := range files.Names() {
		v, _ := files.Get(name)
		status.Secrets[name] = a.secretStatus(v)
		if at := status.Secrets[name].Next; at != nil {
			next = earlier(next, *at)
		}
	}
	if !next.IsZero() {
		status.Next = &next
	}
	for _, f := range a.Files {
		status.Files[f.Destination] = fileStatus(f.Destination, status.State, p.err)
	}
	return status
}

// rung returns how changes are noticed at best, and when something is looked at
// next without that.
func (w *world) rung() (string, *time.Time) {
	rung, next := store.Describe, time.Time{}
	for _, r := range w.roles {
		if r.hears() {
			rung = store.Push
		}
		if at := r.poll.Next(); !at.IsZero() {
			next = earlier(next, at)
		}
	}
	if next.IsZero() {
		return string(rung), nil
	}
	return string(rung), &next
}

func (a *app) secretStatus(v secret.Version) serve.Secret {
	now := a.role.store.Standing(v.Ref)
	status := serve.Secret{ID: v.Ref.ID, Version: v.ID, Stage: stage(v), Region: now.Region, Rung: string(now.Rung)}
	if !now.Next.IsZero() {
		status.Next = &now.Next
	}
	return status
}

func (a *app) standingState(p progress, now time.Time) serve.State {
	_, aside := errors.AsType[*asideError](p.err)
	switch {
	case !p.here && p.err == nil:
		return serve.Starting
	case aside:
		return serve.SetAside
	case is[*agedError](p.err):
		return serve.Stale
	case p.stale(now, a.MaxStale):
		return serve.Stale
	case p.err != nil:
		return serve.Failing
	}
	return serve.Current
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
// of the app's error that is about this file. When some file is at fault, the
// others are not.
func fileStatus(destination string, state serve.State, err error) serve.File {
	status := serve.File{State: state}
	faulty := false
	for _, e := range leaves(err) {
		file, ok := errors.AsType[*deliver.FileError](e)
		faulty = faulty || ok
		if ok && file.Destination == destination {
			status.Error = file.Error()
		}
	}
	if faulty && status.Error == "" {
		status.State = serve.Current
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

// hexSerial returns a serial number as AWS names sessions by it: hexadecimal,
// of even length.
func hexSerial(n *big.Int) string { return fmt.Sprintf("%x", n.Bytes()) }

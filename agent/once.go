package agent

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"outrider/serve"
)

// Once is one whole pass over the apps of those names, or over all: look,
// commit and, with notify, tell. Its error joins one for each app that is not
// current or still owes somebody a word; what went well stays done. It blocks
// until the pass is over, and refuses while a sidecar runs on the same state.
func (a *Agent) Once(ctx context.Context, names []string, notify bool) error {
	w := a.current()
	apps, err := w.named(names)
	if err != nil {
		return err
	}
	held, err := takeLock(w.config.State)
	if err != nil {
		return err
	}
	defer held.release()
	for _, app := range apps {
		app.gate = nil // there is no READY to wait for
	}
	return w.opened(ctx, rolesOf(apps), func(ctx context.Context) error {
		failures := make([]error, len(apps))
		group := new(errgroup.Group)
		for i, app := range apps {
			group.Go(func() error {
				if failures[i] = app.once(ctx, notify); failures[i] != nil {
					failures[i] = fmt.Errorf("app %s: %w", app.Name, failures[i])
				}
				return nil
			})
		}
		_ = group.Wait() // the errors are in failures, all of them
		return errors.Join(failures...)
	})
}

// Session opens a session of the role's own, for a caller without a running
// sidecar. It blocks until AWS has answered.
func (a *Agent) Session(ctx context.Context, name string) (serve.Credentials, error) {
	w := a.current()
	r, err := w.role(name)
	if err != nil {
		return serve.Credentials{}, err
	}
	var credentials serve.Credentials
	err = w.opened(ctx, []*role{r}, func(ctx context.Context) error {
		if _, _, err := r.lease.Get(ctx); err != nil {
			return err
		}
		credentials, err = r.credentials()
		return err
	})
	return credentials, err
}

// opened reads the identities and runs f while the roles' sessions are kept
// open and their secrets are read ahead of the apps that want them.
func (w *world) opened(ctx context.Context, roles []*role, f func(context.Context) error) error {
	for _, i := range w.identities {
		i.read()
	}
	leases, end := context.WithCancel(ctx)
	group := new(errgroup.Group)
	for _, r := range roles {
		r.touch()
		carryOut := r.store.Begin(r.refs())
		group.Go(func() error { return r.lease.Run(leases) })
		group.Go(func() error { carryOut(leases); return nil })
	}
	err := f(ctx)
	end()
	_ = group.Wait() // ends with the cancellation just made
	return err
}

// once is one look, and one round of telling.
func (a *app) once(ctx context.Context, notify bool) error {
	if _, err := a.pass(ctx); err != nil || !notify {
		return err
	}
	return a.notify(ctx)
}

func rolesOf(apps []*app) []*role {
	var roles []*role
	seen := map[*role]bool{}
	for _, app := range apps {
		if !seen[app.role] {
			seen[app.role] = true
			roles = append(roles, app.role)
		}
	}
	return roles
}

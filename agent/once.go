package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"outrider/serve"
)

// Once is one whole pass over the apps of those names, or over all: look,
// commit and, with notify, tell. Its error joins one for each cause that keeps
// apps from being current or told; what went well stays done. It blocks until
// the pass is over, and refuses while a sidecar runs on the same state.
func (a *Agent) Once(ctx context.Context, names []string, notify bool) error {
	w := a.current()
	apps, err := w.named(names)
	if err != nil {
		return err
	}
	held, err := a.open(w.config.State)
	if err != nil {
		return err
	}
	defer held.release()
	defer a.host.close()
	for _, app := range apps {
		app.state = held.state
	}
	return w.opened(ctx, rolesOf(apps), func(ctx context.Context, beside *errgroup.Group) error {
		for _, r := range rolesOf(apps) {
			mine := slices.DeleteFunc(slices.Clone(apps), func(app *app) bool { return app.role != r })
			r.touch()
			carryOut := r.store.Begin(refsOf(mine))
			beside.Go(func() error { carryOut(ctx); return nil })
		}
		failures := make([]error, len(apps))
		group := new(errgroup.Group)
		for i, app := range apps {
			group.Go(func() error {
				failures[i] = app.once(ctx, notify)
				return nil
			})
		}
		_ = group.Wait() // the errors are in failures, all of them
		return byCause(apps, failures)
	})
}

// byCause joins the apps' errors, one for each cause, which several may share.
func byCause(apps []*app, failures []error) error {
	names := map[string][]string{}
	var causes []error
	for i, err := range failures {
		if err == nil {
			continue
		}
		for _, cause := range leaves(err) {
			if names[cause.Error()] == nil {
				causes = append(causes, cause)
			}
			names[cause.Error()] = append(names[cause.Error()], apps[i].Name)
		}
	}
	for i, err := range causes {
		causes[i] = fmt.Errorf("app %s: %w", strings.Join(names[err.Error()], ", "), err)
	}
	return errors.Join(causes...)
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
	err = w.opened(ctx, []*role{r}, func(ctx context.Context, _ *errgroup.Group) error {
		credentials, err = r.credentials(ctx)
		return err
	})
	return credentials, err
}

// opened reads the identities and runs f while the roles' sessions are kept
// open. What f starts in the group is waited for.
func (w *world) opened(ctx context.Context, roles []*role, f func(context.Context, *errgroup.Group) error) error {
	ctx, end := context.WithCancel(ctx)
	beside := new(errgroup.Group)
	for _, r := range roles {
		beside.Go(func() error { return r.identity.read(ctx) })
	}
	for _, r := range roles {
		beside.Go(func() error { return r.lease.Run(ctx) })
	}
	err := f(ctx, beside)
	end()
	_ = beside.Wait() // ends with the cancellation just made
	return err
}

// waiting is how long one pass waits for a verdict on a new version: a little
// longer than it takes to deliver one that none is reached on.
const waiting = 35 * time.Second

// once is one look, again while a verdict is waited for, and then one round of
// telling and confirming: also what an earlier process still owed.
func (a *app) once(ctx context.Context, notify bool) error {
	deadline := time.Now().Add(waiting)
	err := a.look(ctx)
	for {
		wait, ok := errors.AsType[*waitError](err)
		if !ok || wait.at.After(deadline) {
			break
		}
		select {
		case <-time.After(time.Until(wait.at)):
			err = a.look(ctx)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if !notify || a.standing.opened() == nil {
		return err
	}
	n, looked := newNotifier(a, nil), a.standing.delivered().Generation
	told := n.notify(ctx)
	if told == nil && len(a.standing.delivered().Owed) > 0 {
		told = n.notify(ctx) // of the generation that it rolled back to
	}
	p, done := a.standing.now(), a.standing.delivered()
	if err == nil && done.Generation != looked && done.SetAside != "" {
		err = &asideError{done.SetAside}
	}
	return errors.Join(err, told, p.unconfirmed.of(done.Generation))
}

func rolesOf(apps []*app) []*role {
	var roles []*role
	for _, app := range apps {
		if !slices.Contains(roles, app.role) {
			roles = append(roles, app.role)
		}
	}
	return roles
}

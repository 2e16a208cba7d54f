package agent

import (
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"outrider/deliver"
	"outrider/secret"
)

// Preview is what a look would do to one app.
type Preview struct {
	App   string
	Files []deliver.Preview // and credentials, which are in none
	Err   error             // why it could not be told
}

// Plan tells what a look now would do to the apps of those names, or to all:
// it reads their secrets and renders their files, and writes, verifies and
// tells nothing. It may be used beside a running sidecar, and blocks until AWS
// has answered. Its error is that of a name that is not there.
func (a *Agent) Plan(ctx context.Context, names []string) ([]Preview, error) {
	w := a.current()
	apps, err := w.named(names)
	if err != nil {
		return nil, err
	}
	previews := make([]Preview, len(apps))
	err = w.opened(ctx, rolesOf(apps), func(ctx context.Context, _ *errgroup.Group) error {
		group := new(errgroup.Group)
		for i, app := range apps {
			group.Go(func() error {
				previews[i] = app.preview(ctx, w.config.State)
				return nil
			})
		}
		return group.Wait()
	})
	return previews, err
}

func (a *app) preview(ctx context.Context, state string) Preview {
	p := Preview{App: a.Name}
	snapshot, err := a.role.store.Get(ctx, a.Secrets, time.Now(), secret.Snapshot{})
	if err != nil {
		p.Err = err
		return p
	}
	var files []deliver.File
	for i, f := range a.Files {
		file, err := a.file(i, snapshot)
		if err != nil {
			p.Files = append(p.Files, deliver.Preview{Destination: f.Destination, Effect: deliver.Fails, Err: err})
			continue
		}
		files = append(files, file)
	}
	good, err := deliver.PreviewFiles(state, a.Name, files)
	values, broken := a.handedOut(snapshot)
	given, unread := deliver.PreviewImprint(state, a.Name, values)
	p.Files, p.Err = slices.Concat(p.Files, good, given), errors.Join(err, broken, unread)
	return p
}

package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"outrider/deliver"
	"outrider/internal/config"
	"outrider/refresher"
	"outrider/render"
	"outrider/secret"
)

// app turns the snapshots of one app's secrets into its files.
type app struct {
	config.App
	log       *slog.Logger
	role      *role
	templates []*render.Template // one for each file; nil for a raw one
	loop      refresher.Loop
	standing  *standing
	news      func() // told when a look has ended, and when a generation was committed
}

// newApp parses nothing and starts nothing.
func newApp(c config.App, templates []*render.Template, r *role, o Options) *app {
	a := &app{App: c, log: o.Log, role: r, templates: templates, standing: newStanding(targets(c.Notify)), news: func() {}}
	a.loop = refresher.Loop{Look: a.look, Asleep: true, Roll: o.Roll}
	return a
}

// look takes one snapshot all the way to the files.
func (a *app) look(ctx context.Context) error {
	a.standing.change(func(p *progress) { p.begun++ })
	before := a.standing.now()
	snapshot, err := a.still(ctx, before.snapshot)
	if err != nil {
		return a.settle(ctx, err)
	}
	files, err := a.render(snapshot)
	if err != nil {
		return a.settle(ctx, err)
	}
	staged, err := deliver.Prepare(a.Name, before.generation+1, files)
	if err != nil {
		return a.settle(ctx, err)
	}
	changed := staged.Changed()
	if err := staged.Commit(); err != nil {
		a.standing.change(func(p *progress) { p.torn = p.torn || len(changed) > 0 })
		return a.settle(ctx, err)
	}
	a.committed(snapshot, changed)
	return a.settle(ctx, nil)
}

// render executes every template of the app before any file is touched.
func (a *app) render(snapshot secret.Snapshot) ([]deliver.File, error) {
	files := make([]deliver.File, 0, len(a.Files))
	var errs []error
	for i, f := range a.Files {
		file, err := placed(f)
		if err == nil {
			file.Content, err = a.content(i, snapshot)
		}
		if err != nil {
			errs = append(errs, &deliver.FileError{Destination: f.Destination, Err: err})
			continue
		}
		files = append(files, file)
	}
	return files, errors.Join(errs...)
}

func (a *app) content(i int, snapshot secret.Snapshot) (secret.Value, error) {
	if t := a.templates[i]; t != nil {
		return t.Execute(snapshot)
	}
	v, ok := snapshot.Get(a.Files[i].Raw)
	if !ok {
		return secret.Value{}, fmt.Errorf("secret %s: not in the snapshot", a.Files[i].Raw)
	}
	return v.Value, nil
}

// committed records what is in the files now, and owes the targets a word
// about it if they changed.
func (a *app) committed(snapshot secret.Snapshot, changed []string) {
	news, generation := false, uint64(0)
	a.standing.change(func(p *progress) {
		p.snapshot, p.taken = snapshot, snapshot.Taken()
		news = len(changed) > 0 || p.torn
		p.torn = false
		if news {
			p.generation++
			p.owed.Add(deliver.Notification{App: a.Name, Generation: p.generation})
		}
		generation = p.generation
	})
	if news {
		a.log.Info("generation committed", "app", a.Name, "generation", generation, "files", changed)
	}
}

// settle records how a look ended, logs what changed by it, and releases who
// waits for it.
func (a *app) settle(ctx context.Context, err error) error {
	called := err != nil && ctx.Err() != nil // off, which says nothing about the app
	var was error
	a.standing.change(func(p *progress) {
		was = p.err
		p.ended++
		if !called {
			p.err, p.here = err, true
		}
	})
	a.news()
	switch {
	case called:
	case changedError(was, err):
		a.log.Error("app failing", "app", a.Name, "error", err)
	case err == nil && was != nil:
		a.log.Info("app recovered", "app", a.Name)
	}
	return err
}

// begin makes the app look at values no older than now, and returns its
// standing before that look.
func (a *app) begin() progress {
	before := a.standing.now()
	a.role.touch()
	a.loop.Wake()
	return before
}

// after waits for the end of a look that began after before was taken. Its
// error is that look's.
func (a *app) after(ctx context.Context, before progress) (progress, error) {
	p, err := a.standing.await(ctx, func(p progress) bool { return p.ended > before.begun })
	if err != nil {
		return p, err
	}
	return p, p.err
}

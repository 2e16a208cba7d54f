package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"outrider/deliver"
	"outrider/internal/config"
	"outrider/refresher"
	"outrider/render"
	"outrider/secret"
)

// app turns the snapshots of one app's secrets into its files, and tells it.
type app struct {
	config.App
	log       *slog.Logger
	role      *role
	templates []*render.Template // one for each file; nil for a raw one
	loop      refresher.Loop     // looks
	notifier  refresher.Loop     // delivers what is owed
	gate      <-chan struct{}    // closed when READY was sent; units are told only then
	settled   chan<- struct{}    // told, without waiting, when a look has ended; may be nil

	mu       sync.Mutex
	looks    uint64        // ended so far
	looked   chan struct{} // closed and made anew when a look ends
	progress progress
}

// progress is what an app has reached. It outlives a reload of the
// configuration.
type progress struct {
	snapshot   secret.Snapshot // the last one that is in the files
	generation uint64
	torn       bool  // a commit ended half-way: its files are news still
	err        error // of the last look; nil when it went well
	owed       *deliver.Owed
	notifyErr  error
}

// newApp parses nothing and starts nothing.
func newApp(c config.App, templates []*render.Template, r *role, o Options, gate <-chan struct{}) *app {
	a := &app{
		App: c, log: o.Log, role: r, templates: templates, gate: gate,
		looked: make(chan struct{}),
	}
	a.loop = refresher.Loop{Look: a.look, Asleep: true, Roll: o.Roll}
	a.notifier = refresher.Loop{Look: a.notify, Asleep: true, Roll: o.Roll}
	return a
}

// look takes one snapshot all the way to the files.
func (a *app) look(ctx context.Context) error {
	_, err := a.pass(ctx)
	if ctx.Err() != nil {
		return err // the loop is ending: its last breath says nothing about the app
	}
	return err
}

// pass is one whole look; it reports whether it committed a generation.
func (a *app) pass(ctx context.Context) (bool, error) {
	a.mu.Lock()
	last, generation := a.progress.snapshot, a.progress.generation
	a.mu.Unlock()
	snapshot, err := a.role.store.Get(ctx, a.Secrets, a.role.asOf(), last)
	if err != nil {
		return false, a.settle(ctx, err)
	}
	files, err := a.render(snapshot)
	if err != nil {
		return false, a.settle(ctx, err)
	}
	staged, err := deliver.Prepare(a.Name, generation+1, files)
	if err != nil {
		return false, a.settle(ctx, err)
	}
	changed := staged.Changed()
	if err := staged.Commit(); err != nil {
		a.mu.Lock()
		a.progress.torn = a.progress.torn || len(changed) > 0
		a.mu.Unlock()
		return false, a.settle(ctx, err)
	}
	a.committed(snapshot, changed)
	return len(changed) > 0, a.settle(ctx, nil)
}

// render executes every template of the app before any file is touched.
func (a *app) render(snapshot secret.Snapshot) ([]deliver.File, error) {
	files := make([]deliver.File, 0, len(a.Files))
	var errs []error
	for i, f := range a.Files {
		file, err := placed(f)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if t := a.templates[i]; t != nil {
			file.Content, err = t.Execute(snapshot)
		} else {
			v, _ := snapshot.Get(f.Raw)
			file.Content = v.Value
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("file %s: %w", f.Destination, err))
			continue
		}
		files = append(files, file)
	}
	return files, errors.Join(errs...)
}

// committed records what is in the files now, and owes the targets a word
// about it if they changed.
func (a *app) committed(snapshot secret.Snapshot, changed []string) {
	a.mu.Lock()
	p := &a.progress
	p.snapshot = snapshot
	news := len(changed) > 0 || p.torn
	p.torn = false
	if news {
		p.generation++
		p.owed.Add(deliver.Notification{App: a.Name, Generation: p.generation})
	}
	generation := p.generation
	a.mu.Unlock()
	if !news {
		return
	}
	a.log.Info("generation committed", "app", a.Name, "generation", generation, "files", changed)
	a.notifier.Wake()
}

// settle records how a look ended, logs what changed by it, and releases who
// waits for it.
func (a *app) settle(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return err // the look was called off, which says nothing about the app
	}
	a.mu.Lock()
	was := a.progress.err
	a.progress.err = err
	a.looks++
	close(a.looked)
	a.looked = make(chan struct{})
	a.mu.Unlock()
	select {
	case a.settled <- struct{}{}:
	default:
	}
	switch {
	case changedError(was, err):
		a.log.Error("app failing", "app", a.Name, "error", err)
	case err == nil && was != nil:
		a.log.Info("app recovered", "app", a.Name)
	}
	return err
}

// notify delivers what is owed, in order, from where it stands.
func (a *app) notify(ctx context.Context) error {
	if a.waitsForReady() {
		select {
		case <-a.gate:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	// A word to the application that has begun is finished: half of one
	// would be owed again, and told twice.
	results, err := a.progress.owed.Deliver(context.WithoutCancel(ctx))
	for _, r := range results {
		a.log.Info("application notified", "app", a.Name, "target", r.Target, "result", r.Outcome)
	}
	a.mu.Lock()
	was := a.progress.notifyErr
	a.progress.notifyErr = err
	a.mu.Unlock()
	if changedError(was, err) {
		a.log.Error("application not notified", "app", a.Name, "error", err)
	}
	return err
}

// waitsForReady reports whether telling the app goes through systemd, which
// may be holding the app's unit back until this process is ready.
func (a *app) waitsForReady() bool {
	for _, n := range a.Notify {
		if n.ReloadUnit != "" || n.RestartUnit != "" {
			return a.gate != nil
		}
	}
	return false
}

// inherit takes over what an app of the same name had reached before a reload.
// What was owed is owed to the new targets, from the first on.
func (a *app) inherit(before *app) {
	before.mu.Lock()
	was := before.progress
	before.mu.Unlock()
	a.mu.Lock()
	defer a.mu.Unlock()
	owed := a.progress.owed
	if len(was.owed.Names()) > 0 {
		owed.Add(deliver.Notification{App: a.Name, Generation: was.generation})
		a.notifier.Wake()
	}
	a.progress = was
	a.progress.owed = owed
}

// current reports whether a look has ended well and the last one did, too.
func (a *app) current() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.looks > 0 && a.progress.err == nil
}

// await blocks until a look that had not ended yet does, and returns how.
func (a *app) await(ctx context.Context, after uint64) error {
	for {
		a.mu.Lock()
		looks, err, looked := a.looks, a.progress.err, a.looked
		a.mu.Unlock()
		if looks > after {
			return err
		}
		select {
		case <-looked:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// reached returns what the app has reached, and how many looks have ended.
func (a *app) reached() (progress, uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.progress, a.looks
}

// begin makes the app look at values no older than now. It returns what the
// app had reached, and the number of looks after which that look has ended.
func (a *app) begin() (progress, uint64) {
	a.role.touch()
	before, looks := a.reached()
	a.loop.Wake()
	return before, looks
}

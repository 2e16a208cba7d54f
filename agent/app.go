package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"text/template"
	"time"

	"outrider/audit"
	"outrider/deliver"
	"outrider/internal/config"
	"outrider/refresher"
	"outrider/render"
	"outrider/secret"
	"outrider/verify"
)

// app turns the snapshots of one app's secrets into its files.
type app struct {
	config.App
	o         Options
	log       *slog.Logger
	role      *role
	templates []*render.Template // one for each file; nil for a raw one
	rules     []verify.Rule
	// By name. What units get of them is of the generation that is in the files.
	credentials map[string]*render.Template
	gate        *gate
	state       *deliver.State
	doubt       <-chan struct{} // until it is closed a generation awaits no confirmation; nil: it does
	loop        refresher.Loop
	standing    *standing
	news        func() // told when a look has ended
	tell        func() // told when there may be somebody to notify
	denial      denial
	away        time.Time // since when AWS is, and there are no files to start on; zero: it is not

	sealing      sync.Mutex
	kept         secret.Snapshot // what this run has sealed last
	sealFailures int             // in a row
	unsealed     *time.Timer     // makes the app look again after one; nil: there was none

	mu   sync.Mutex
	asOf time.Time // values that were last seen to be current before are read anew
}

// newApp parses the app's templates, every mistake in which it returns. It
// starts nothing.
func newApp(c config.App, r *role, h *host, o Options) (*app, error) {
	a := &app{App: c, o: o, log: o.Log, role: r, gate: &h.gate, standing: h.standing(c.Name), news: func() {}, tell: func() {}}
	a.loop = refresher.Loop{Look: a.look, Asleep: true, Roll: o.Roll}
	var parsing, crediting, checking, ruling error
	a.templates, parsing = parse(c)
	a.credentials, crediting = parseCredentials(c)
	a.rules, ruling = rules(c)
	_, checking = a.checkArgv(func(string) (string, error) { return "", nil })
	return a, errors.Join(parsing, crediting, ruling, checking)
}

// look takes one snapshot all the way to the files.
func (a *app) look(ctx context.Context) error {
	var number uint64
	a.standing.change(func(p *progress) {
		p.begun++
		number = p.begun
	})
	return a.settle(ctx, number, a.pass(ctx))
}

func (a *app) pass(ctx context.Context) error {
	ledger, err := a.open()
	if err != nil {
		return err
	}
	if is[*waitError](a.standing.now().err) {
		a.touch(time.Now()) // what is waited for shows in the labels: read them anew
	}
	snapshot, aged, err := a.newest(ctx, ledger)
	if err != nil {
		return err
	}
	snapshot, note, err := a.verified(ctx, ledger, snapshot)
	if err != nil {
		return err
	}
	files, err := a.render(snapshot)
	if err != nil {
		return err
	}
	if ledger.IsSetAside(snapshot, files) {
		return &asideError{ledger.Progress().SetAside}
	}
	staged, err := ledger.Stage(files)
	if err != nil {
		return err
	}
	if ledger.IsSetAside(snapshot, files) { // by a roll-back that Stage has waited for
		return errors.Join(&asideError{ledger.Progress().SetAside}, staged.Discard())
	}
	if err := a.check(ctx, staged); err != nil {
		return errors.Join(err, staged.Discard())
	}
	plan := deliver.Plan{Snapshot: snapshot, Confirm: a.confirms()}
	if aged == nil && (!plan.Confirm || !staged.News()) {
		a.seal(ledger, snapshot)
	}
	changed, began := staged.Changed(), time.Now()
	generation, err := ledger.Commit(staged, plan)
	if err != nil {
		a.tell() // of an older generation, perhaps: while this one was under way nobody was told
		return err
	}
	a.o.witness.timed(began, generation)
	if first := !a.standing.now().here; first || generation > 0 {
		a.tell()
	}
	a.committed(snapshot, note, generation, changed)
	if aged != nil {
		a.served(ledger, snapshot)
	}
	return aged
}

// asideError says that what the labels hold is what the application did not
// run on.
type asideError struct{ reason string }

// Error names the way to try again.
func (e *asideError) Error() string {
	return "set aside: " + e.reason + "; the files are the previous ones; outrider retry tries again"
}

// open opens the app's ledger. Files that are torn are no reason to stop:
// the commit that follows mends them.
func (a *app) open() (*deliver.Ledger, error) {
	if ledger := a.standing.opened(); ledger != nil {
		return ledger, nil
	}
	// Only the app's own loop opens, so no lock is held: a destination that
	// hangs must not hold up those who ask how the apps stand.
	ledger, err := a.state.Open(a.Name, a.targets())
	if err != nil {
		return nil, err
	}
	recovered, err := ledger.Recover()
	if err != nil {
		a.log.Error("files torn", "app", a.Name, "error", err)
	}
	if why := ledger.Progress().Withdrawn; why != "" && a.OnDenied == "remove" {
		a.withdraw(ledger, errors.New(why)) // a crash may have come in between
	}
	var files []deliver.File
	for _, f := range a.Files {
		if file, err := placed(f, a.Layout); err == nil {
			files = append(files, file)
		}
	}
	stands := len(files) == len(a.Files) && ledger.Stands(append(files, a.imprintPlace()...))
	a.standing.publish(ledger, stands)
	a.noteGeneration(audit.Recovered, recovered)
	if stands {
		a.tell() // what a crash has left owed; where files are gone, the first commit comes before that
	}
	a.news()
	return ledger, nil
}

// inFiles returns the versions that are in the files: those that this run has
// delivered, else, without values, those of the last generation.
func (a *app) inFiles() secret.Snapshot {
	p := a.standing.now()
	if p.snapshot.Len() > 0 {
		return p.snapshot
	}
	versions, done := map[string]secret.Version{}, a.standing.delivered()
	if done.Withdrawn != "" {
		return secret.Snapshot{}
	}
	for name, v := range done.Versions {
		versions[name] = secret.Version{Ref: a.Secrets[name], ID: v.ID, ARN: v.ARN}
	}
	return secret.NewSnapshot(p.taken, versions)
}

// render executes every template of the app before any file is touched.
func (a *app) render(snapshot secret.Snapshot) ([]deliver.File, error) {
	files := make([]deliver.File, 0, len(a.Files))
	var errs []error
	for i := range a.Files {
		file, err := a.file(i, snapshot)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		files = append(files, file)
	}
	imprint, err := a.imprint(snapshot)
	return append(files, imprint...), errors.Join(append(errs, err)...)
}

// file makes one file of the snapshot. Its error is a *deliver.FileError.
func (a *app) file(i int, snapshot secret.Snapshot) (deliver.File, error) {
	f := a.Files[i]
	file, err := placed(f, a.Layout)
	if err == nil {
		file.Content, err = a.content(i, snapshot)
	}
	if err != nil {
		return file, &deliver.FileError{Destination: f.Destination, Err: err}
	}
	return file, nil
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

// check runs the app's own check on what is staged, if anything is.
func (a *app) check(ctx context.Context, staged *deliver.Staged) error {
	if len(a.App.Check) == 0 || len(staged.Changed()) == 0 {
		return nil
	}
	argv, err := a.checkArgv(func(path string) (string, error) { return staged.Path(path), nil })
	if err != nil {
		return err
	}
	return staged.Check(ctx, argv)
}

// checkArgv expands {{ staged "/destination" }} in the arguments of the check.
func (a *app) checkArgv(staged func(string) (string, error)) ([]string, error) {
	known := func(path string) (string, error) {
		for _, f := range a.Files {
			if f.Destination == path {
				return staged(path)
			}
		}
		return "", fmt.Errorf("%q is no destination of the app", path)
	}
	var argv []string
	for i, text := range a.App.Check {
		t, err := template.New("").Funcs(template.FuncMap{"staged": known}).Parse(text)
		var out strings.Builder
		if err == nil {
			err = t.Execute(&out, nil)
		}
		if err != nil {
			return nil, fmt.Errorf("apps.%s.check[%d]: %w", a.Name, i, err)
		}
		argv = append(argv, out.String())
	}
	return argv, nil
}

// confirms reports whether a generation committed now must be confirmed: not
// before READY, when the application may wait for us to be up.
func (a *app) confirms() bool {
	if a.Confirm == nil {
		return false
	}
	select {
	case <-a.doubt:
		return true
	default:
		return a.doubt == nil
	}
}

// committed records what is in the files now.
func (a *app) committed(snapshot secret.Snapshot, note error, generation uint64, changed []string) {
	var was error
	a.standing.change(func(p *progress) {
		if generation > 0 && len(a.credentials) > 0 {
			p.previous = p.values()
		}
		p.snapshot, p.taken, p.sealed = snapshot, snapshot.Taken(), time.Time{}
		was, p.note = p.note, note
	})
	if ledger := a.standing.opened(); generation > 0 || snapshot.Taken().Sub(ledger.Seen()).Abs() > time.Minute {
		_ = ledger.Saw(snapshot.Taken()) // only the age after a restart depends on it
	}
	if changedError(was, note) {
		a.log.Warn("delivered with a reservation", "app", a.Name, "error", note)
	}
	if generation > 0 {
		a.log.Info("generation committed", "app", a.Name, "generation", generation, "files", few(changed))
		a.noteCommit(snapshot, generation, changed)
	}
}

// few returns the first of many names, and how many more there are.
func few(names []string) []string {
	const most = 5
	if len(names) <= most {
		return names
	}
	return append(slices.Clone(names[:most]), fmt.Sprintf("and %d more", len(names)-most))
}

// settle records how a look ended, logs what changed by it, and releases who
// waits for it.
func (a *app) settle(ctx context.Context, number uint64, err error) error {
	if err != nil && ctx.Err() != nil {
		return err // called off, which says nothing about the app
	}
	torn := err != nil && a.standing.delivered().Torn != ""
	var was error
	a.standing.change(func(p *progress) {
		was = p.err
		p.ended, p.err, p.here = number, err, true
		if torn {
			p.taken = time.Time{}
		}
	})
	a.news()
	wait, waits := errors.AsType[*waitError](err)
	switch {
	case waits && !wait.alarm && changedError(was, err):
		a.log.Warn("delivery waits", "app", a.Name, "error", err)
	case changedError(was, err):
		a.log.Error("app failing", "app", a.Name, "error", err)
	case err == nil && was != nil:
		a.log.Info("app recovered", "app", a.Name)
	}
	return err
}

// touch makes the looks that follow read anew what was last seen before now.
func (a *app) touch(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asOf = now
}

// get returns a snapshot that is as new as touch has asked for.
func (a *app) get(ctx context.Context, last secret.Snapshot) (secret.Snapshot, error) {
	a.mu.Lock()
	asOf := a.asOf
	a.mu.Unlock()
	return a.role.store.Get(ctx, a.Secrets, asOf, last)
}

// sighted notes that what is in the files was seen to be current.
func (a *app) sighted() {
	p := a.standing.now()
	if p.err != nil || p.snapshot.Len() == 0 {
		return
	}
	seen := a.role.store.Seen(a.Secrets, p.snapshot)
	if !seen.After(p.taken) {
		return
	}
	a.standing.change(func(p *progress) {
		if p.err == nil {
			p.taken = later(p.taken, seen)
		}
	})
}

// begin makes the app look at values no older than now, and returns its
// standing before that look.
func (a *app) begin() progress {
	before := a.standing.now()
	a.touch(time.Now())
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

// waitError is an error that says when to look again.
type waitError struct {
	error
	at    time.Time
	alarm bool // it does not mend itself
}

func is[T error](err error) bool {
	_, ok := errors.AsType[T](err)
	return ok
}

// Unwrap returns the reason.
func (e *waitError) Unwrap() error { return e.error }

// RetryAt implements what refresher.Loop looks for.
func (e *waitError) RetryAt() time.Time { return e.at }

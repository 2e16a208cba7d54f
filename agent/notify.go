package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"outrider/audit"
	"outrider/deliver"
	"outrider/internal/config"
	"outrider/refresher"
	"outrider/secret"
)

// notifier tells one app's targets what they are owed, and sees whether the
// application runs on it. It runs for as long as the process, whatever reloads
// come, so that no reload waits for a hook.
type notifier struct {
	gate <-chan struct{} // closed when READY was sent; nil: there is no READY
	loop refresher.Loop

	mu      sync.Mutex
	app     *app
	splayed uint64 // the generation that the random wait was made for
}

func newNotifier(a *app, gate <-chan struct{}) *notifier {
	n := &notifier{app: a, gate: gate}
	n.loop = refresher.Loop{Look: n.notify, Asleep: true, Roll: a.o.Roll}
	return n
}

// adopt takes over the app as another configuration has it.
func (n *notifier) adopt(a *app) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.app = a
}

func (n *notifier) current() *app {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.app
}

// notify delivers what is owed, in order, from where it stands. Units wait
// for READY: systemd may be holding the app's unit back until then.
func (n *notifier) notify(ctx context.Context) error {
	a := n.current()
	ledger := a.standing.opened()
	if ledger == nil || a.standing.now().gone {
		return nil
	}
	if err := n.hold(ctx, a, ledger); err != nil {
		return err
	}
	results, err := ledger.Deliver(ctx)
	a.o.witness.notified(a.Name, results)
	for _, r := range results {
		if r.Outcome != deliver.Failed {
			a.log.Info("application notified", "app", a.Name, "target", r.Target, "result", r.Outcome)
		}
	}
	if err == nil {
		err = n.confirm(ctx, a, ledger)
	}
	if err != nil && ctx.Err() != nil {
		return err // called off, which says nothing about the target
	}
	var was error
	a.standing.change(func(p *progress) { was, p.notifyErr = p.notifyErr, err })
	if changedError(was, err) {
		a.log.Error("application not notified", "app", a.Name, "error", err)
	}
	return err
}

// hold waits for READY where that is wanted, and for the app's splay, once
// for each generation.
func (n *notifier) hold(ctx context.Context, a *app, ledger *deliver.Ledger) error {
	p := ledger.Progress()
	if n.gate != nil && (a.tellsUnits() || p.Awaits) {
		select {
		case <-n.gate:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if a.Splay <= 0 || len(p.Owed) == 0 || n.splayed == p.Generation {
		return nil
	}
	n.splayed = p.Generation
	select {
	case <-time.After(time.Duration(float64(a.Splay) * a.o.Roll())):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// confirm waits for the application to show that it runs on the generation
// it was told of, and goes back to the previous files when it does not.
func (n *notifier) confirm(ctx context.Context, a *app, ledger *deliver.Ledger) error {
	p := ledger.Progress()
	if !p.Awaits || len(p.Owed) > 0 {
		return nil
	}
	if a.Confirm == nil {
		ledger.Keep(p.Generation, "confirm is no longer configured")
		return nil
	}
	err := n.awaits(ctx, a, ledger, p.Generation)
	switch {
	case errors.Is(err, errSuperseded) && a.standing.now().gone:
		ledger.Keep(p.Generation, "the app left the configuration")
		return nil
	case errors.Is(err, errSuperseded):
		n.loop.Wake() // a newer generation is to be told of
		return nil
	case err == nil:
		ledger.Confirmed(p.Generation)
		a.log.Info("generation confirmed", "app", a.Name, "generation", p.Generation)
		a.seal(ledger, a.standing.now().snapshot)
		return nil
	case ctx.Err() != nil, unasked(err):
		return err
	}
	n.rollBack(ctx, a, ledger, p.Generation, err)
	return nil
}

// unasked reports whether the confirmation could not even be run, for want of
// something that this host has too little of: that says nothing about the
// application, and the window begins anew.
func unasked(err error) bool {
	return errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ENOMEM) || errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE)
}

// errSuperseded says that there is a newer generation, or no such app any
// more, and so nothing to be confirmed.
var errSuperseded = errors.New("superseded")

// awaits runs the confirmation for as long as the generation is the newest.
func (n *notifier) awaits(ctx context.Context, a *app, ledger *deliver.Ledger, generation uint64) error {
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = a.standing.await(running, func(progress) bool { return ledger.Progress().Generation != generation })
		cancel() // also when the app is gone
	}()
	about := deliver.Notification{App: a.Name, Generation: generation}
	err := deliver.Confirm{Argv: a.Confirm.Run, User: a.Confirm.User, Within: a.Confirm.Within}.Await(running, about)
	superseded := ledger.Progress().Generation != generation || a.standing.now().gone
	cancel()
	<-done
	if superseded {
		return errSuperseded
	}
	return err
}

// rollBack goes back to the previous files, unless what they hold is refused
// by now: then the new ones stay.
func (n *notifier) rollBack(ctx context.Context, a *app, ledger *deliver.Ledger, generation uint64, reason error) {
	_, versions := ledger.Previous()
	refused := a.previousWorks(ctx, versions)
	if refused != nil {
		ledger.Keep(generation, reason.Error())
		reason = fmt.Errorf("%w; not rolled back, since what was there before is refused by now: %w", reason, refused)
	} else if back, err := ledger.RollBack(generation, reason.Error()); err != nil {
		reason = fmt.Errorf("%w; %w", reason, err)
	} else if back > 0 {
		a.standing.change(func(p *progress) { p.snapshot = secret.Snapshot{} }) // the journal knows what is in the files now
		a.noteGeneration(audit.RolledBack, back)
		a.log.Error("generation rolled back", "app", a.Name, "generation", generation, "now", back, "error", reason)
		n.loop.Wake() // the targets are owed a word about it
		n.current().loop.Wake()
		return
	}
	a.standing.change(func(p *progress) { p.unconfirmed = unconfirmed{generation, reason} })
	a.log.Error("generation not confirmed", "app", a.Name, "generation", generation, "error", reason)
}

// run tells until ctx ends, and says then what it leaves owed.
func (n *notifier) run(ctx context.Context) error {
	err := n.loop.Run(ctx)
	a := n.current()
	if owed := a.standing.delivered().Owed; len(owed) > 0 {
		a.log.Warn("application still owed a notification", "app", a.Name, "targets", owed)
	}
	return err
}

// tellsUnits reports whether some target of the app is a unit.
func (a *app) tellsUnits() bool {
	for _, t := range a.Notify {
		if t.ReloadUnit != "" || t.RestartUnit != "" {
			return true
		}
	}
	return false
}

// finishing is a target whose notification, once begun, is finished also when
// the sidecar is told to stop: half of one would be owed again and told twice.
type finishing struct {
	deliver.Target
	limit time.Duration
}

// Notify implements deliver.Target.
func (f finishing) Notify(ctx context.Context, n deliver.Notification) (deliver.Outcome, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.limit)
	defer cancel()
	return f.Target.Notify(ctx, n)
}

// targets returns whom to tell, in order.
func (a *app) targets() []deliver.Target {
	var ts []deliver.Target
	for _, n := range a.Notify {
		ts = append(ts, target(n))
	}
	return ts
}

func target(n config.Notify) deliver.Target {
	// systemd has its own limits for a job; this one is only for a systemd
	// that never answers.
	const unitLimit = 10 * time.Minute
	switch {
	case n.ReloadUnit != "":
		return finishing{deliver.Unit{Name: n.ReloadUnit}, unitLimit}
	case n.RestartUnit != "":
		return finishing{deliver.Unit{Name: n.RestartUnit, Restart: true}, unitLimit}
	case n.PIDFile != "":
		return finishing{deliver.Signal{Signal: n.Signal, PIDFile: n.PIDFile}, max(n.Timeout, time.Second)}
	}
	// The command's own limit says more than ours would.
	return finishing{deliver.Command{Argv: n.Run, User: n.User, Timeout: n.Timeout}, n.Timeout + time.Minute}
}

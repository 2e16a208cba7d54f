package agent

import (
	"context"
	"log/slog"
	"time"

	"outrider/deliver"
	"outrider/internal/config"
	"outrider/refresher"
)

// notifier tells one app's targets what they are owed. It runs for as long as
// the process, whatever reloads come, so that no reload waits for a hook.
type notifier struct {
	name     string
	log      *slog.Logger
	standing *standing
	loop     refresher.Loop
	gate     <-chan struct{} // closed when READY was sent; nil: there is no READY
	units    bool            // some target is a unit
}

func newNotifier(a *app, o Options, gate <-chan struct{}) *notifier {
	n := &notifier{name: a.Name, log: o.Log, standing: a.standing, gate: gate}
	n.adopt(a.App)
	n.loop = refresher.Loop{Look: n.notify, Asleep: true, Roll: o.Roll}
	return n
}

// adopt takes over what another configuration says of the targets.
func (n *notifier) adopt(c config.App) {
	n.units = false
	for _, t := range c.Notify {
		n.units = n.units || t.ReloadUnit != "" || t.RestartUnit != ""
	}
}

// notify delivers what is owed, in order, from where it stands. Units wait
// for READY: systemd may be holding the app's unit back until then.
func (n *notifier) notify(ctx context.Context) error {
	if n.units && n.gate != nil {
		select {
		case <-n.gate:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	results, err := n.standing.now().owed.Deliver(ctx)
	for _, r := range results {
		if r.Outcome != deliver.Failed {
			n.log.Info("application notified", "app", n.name, "target", r.Target, "result", r.Outcome)
		}
	}
	if err != nil && ctx.Err() != nil {
		return err // called off, which says nothing about the target
	}
	var was error
	n.standing.change(func(p *progress) { was, p.notifyErr = p.notifyErr, err })
	if changedError(was, err) {
		n.log.Error("application not notified", "app", n.name, "error", err)
	}
	return err
}

// run tells until ctx ends, and says then what it leaves owed.
func (n *notifier) run(ctx context.Context) error {
	err := n.loop.Run(ctx)
	if owed := n.standing.now().owed.Names(); len(owed) > 0 {
		n.log.Warn("application still owed a notification", "app", n.name, "targets", owed)
	}
	return err
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

// targets turns what the configuration says of notifications into whom to
// tell, in order.
func targets(list []config.Notify) []deliver.Target {
	// systemd has its own limits for a job; this one is only for a systemd
	// that never answers.
	const unitLimit = 10 * time.Minute
	var ts []deliver.Target
	for _, n := range list {
		switch {
		case n.ReloadUnit != "":
			ts = append(ts, finishing{deliver.Unit{Name: n.ReloadUnit}, unitLimit})
		case n.RestartUnit != "":
			ts = append(ts, finishing{deliver.Unit{Name: n.RestartUnit, Restart: true}, unitLimit})
		case n.PIDFile != "":
			ts = append(ts, finishing{deliver.Signal{Signal: n.Signal, PIDFile: n.PIDFile}, n.Timeout})
		default:
			// The command's own limit says more than ours would.
			ts = append(ts, finishing{deliver.Command{Argv: n.Run, User: n.User, Timeout: n.Timeout}, n.Timeout + time.Minute})
		}
	}
	return ts
}

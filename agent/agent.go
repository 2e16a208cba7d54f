// Package agent wires the parts of outrider together and owns every goroutine.
package agent

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"outrider/deliver"
	"outrider/internal/config"
	"outrider/internal/watch"
	"outrider/serve"
	"outrider/session"
)

// Options are what an Agent needs beside its configuration.
type Options struct {
	Log       *slog.Logger       // nil: nothing is logged
	Transport http.RoundTripper  // to AWS; nil: proxies from the environment, the system's roots and aws.ca_bundle
	Roll      func() float64     // random numbers in [0, 1); nil: math/rand
	Version   string             // shown in status
	Splay     time.Duration      // the first session waits for a random part of it, so that hosts which start together do not ask together
	Notify    func(state string) // tells the service manager; nil: nobody is told
	Watchdog  time.Duration      // the service manager is told at least that often that all loops turn; 0: never
	MachineID string             // the file that names this host; empty: /etc/machine-id
	// Watch calls changed after files may have changed, until ctx ends; nil:
	// package watch.
	Watch func(ctx context.Context, paths []string, changed func()) error

	witness witness
}

// Agent is one configuration brought to life.
type Agent struct {
	o     Options
	host  host
	ready chan struct{} // closed when READY was sent
	news  chan struct{} // has room for one: how the apps stand may have changed
	next  chan *world   // a configuration that is to replace the one in force

	mu      sync.Mutex
	world   *world
	refusal string // why the last reload was refused; empty when it was not
}

// New wires an Agent and starts nothing. Its error is a mistake in the text of
// a template.
func New(c *config.Config, o Options) (*Agent, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Transport == nil {
		o.Transport = newTransport(c.AWS.CABundle)
	}
	if o.Roll == nil {
		o.Roll = rand.Float64
	}
	if o.Notify == nil {
		o.Notify = func(string) {}
	}
	if o.Watch == nil {
		o.Watch = func(ctx context.Context, paths []string, changed func()) error {
			return (&watch.Watch{Paths: paths, Log: o.Log}).Run(ctx, changed)
		}
	}
	a := &Agent{ready: make(chan struct{}), news: make(chan struct{}, 1), next: make(chan *world)}
	o.witness = a.newWitness(c, o)
	o.Transport = o.witness.meter.Transport(o.Transport)
	a.o, a.host.client, a.host.local.witness = o, &session.Client{Transport: o.Transport}, o.witness
	w, err := build(c, &a.host, a.o)
	if err != nil {
		return nil, err
	}
	a.take(w)
	return a, nil
}

// Run is the sidecar. It returns nil when ctx ends, and an error only when
// another sidecar runs on the same state, or when that was taken away. While the
// state folder is not usable it answers who asks how it stands, and no more.
func (a *Agent) Run(ctx context.Context) error {
	w := a.current()
	var held *lock
	group, running := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		if held, err = a.holdState(running, w.config.State); err != nil {
			return err
		}
		group.Go(func() error { return held.keep(running) })
		settled := a.endpoints(running, group, w.config.Listen)
		group.Go(func() error { return a.readiness(running, settled) })
		return a.worlds(running, group, held.state)
	})
	if path := w.config.Listen.Admin; path != "" {
		a.serve(running, group, "admin socket", serve.Admin{Path: path, Agent: a, Log: a.o.Log}, func() {})
	}
	if a.o.Watchdog > 0 {
		group.Go(func() error { return a.watchdog(running) })
	}
	group.Go(func() error {
		<-running.Done()
		a.o.Notify("STOPPING=1")
		return nil
	})
	err := group.Wait()
	a.host.close()
	if held != nil {
		held.release()
	}
	if ctx.Err() != nil {
		return nil //nolint:nilerr // what ended with the context is no error
	}
	return err
}

// Reload replaces the configuration in force; a mistake in it leaves the old
// one going. Identities, sessions and how apps stand are kept where the new
// one says the same of them. It blocks until the new one is in force.
func (a *Agent) Reload(ctx context.Context, load func() (*config.Config, error)) error {
	select {
	case <-a.ready:
		// The service manager waits for READY again. Before the first READY
		// it is still waiting for that.
		a.o.Notify("RELOADING=1")
		defer a.o.Notify("READY=1")
	default:
	}
	w, err := a.reload(load)
	if err != nil {
		a.refuse(err.Error())
		return err
	}
	select {
	case a.next <- w:
		a.refuse("")
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (a *Agent) reload(load func() (*config.Config, error)) (*world, error) {
	c, err := load()
	if err != nil {
		return nil, err
	}
	if old := a.current().config; c.State != old.State || c.Listen != old.Listen || c.Log != old.Log || c.AWS != old.AWS || c.Audit != old.Audit || c.Confine != old.Confine {
		a.o.Log.Warn("restart needed", "reason", "state, listen, log, audit, aws and confine are taken up only at start")
	}
	return build(c, &a.host, a.o)
}

// refuse notes why a reload was refused, for the service manager to show.
func (a *Agent) refuse(why string) {
	a.mu.Lock()
	a.refusal = why
	a.mu.Unlock()
	a.tellNews()
}

// worlds runs one world at a time until ctx ends, and in the group a notifier
// for each app that there has ever been: no reload waits for a hook.
func (a *Agent) worlds(ctx context.Context, group *errgroup.Group, state *deliver.State) error {
	notifiers := map[*standing]*notifier{}
	for {
		w := a.current()
		for _, app := range w.apps {
			app.state, app.doubt = state, a.ready
			n, ok := notifiers[app.standing]
			if !ok {
				n = newNotifier(app, a.ready)
				n.loop.Look = a.host.turns.looking("notifications of app "+app.Name, n.longestNotify, n.loop.Look)
				notifiers[app.standing] = n
				group.Go(func() error { return n.run(ctx) })
			}
			n.adopt(app)
			app.news, app.tell = a.tellNews, n.loop.Wake
			n.loop.Wake()
		}
		stopped, stop := context.WithCancel(ctx)
		running := new(errgroup.Group)
		running.Go(func() error { return w.run(stopped) })
		var next *world
		select {
		case <-ctx.Done():
		case next = <-a.next:
		}
		stop()
		err := running.Wait()
		if next == nil {
			return err
		}
		next.adopt(w)
		a.take(next)
		a.tellNews()
		a.o.Log.Info("configuration reloaded", "apps", len(next.apps))
	}
}

// tellNews makes readiness look at how the apps stand. It never blocks.
func (a *Agent) tellNews() {
	select {
	case a.news <- struct{}{}:
	default:
	}
}

// take puts a world in force.
func (a *Agent) take(w *world) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.world = w
}

func (a *Agent) current() *world {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.world
}

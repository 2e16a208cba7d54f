// Package agent wires the parts of outrider together and owns every goroutine.
package agent

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"outrider/internal/config"
	"outrider/internal/watch"
	"outrider/refresher"
	"outrider/serve"
	"outrider/session"
)

// patience is how long apps that are not current yet hold up READY.
const patience = 60 * time.Second

// Options are what an Agent needs beside its configuration.
type Options struct {
	Log       *slog.Logger       // nil: nothing is logged
	Transport http.RoundTripper  // to AWS; nil: proxies from the environment, the system's roots
	Roll      func() float64     // random numbers in [0, 1); nil: math/rand
	Version   string             // shown in status
	Notify    func(state string) // tells the service manager; nil: nobody is told
	// Watch calls changed after files may have changed, until ctx ends; nil:
	// package watch.
	Watch func(ctx context.Context, paths []string, changed func()) error
}

// Agent is one configuration brought to life.
type Agent struct {
	o       Options
	client  *session.Client // one, since it learns this host's clock
	ready   chan struct{}   // closed when READY was sent
	settled chan struct{}   // has room for one: some app's state may have changed
	next    chan *world     // a configuration that is to replace the one in force

	mu    sync.Mutex
	world *world
}

// New wires an Agent and starts nothing. Its error is a mistake in the text of
// a template.
func New(c *config.Config, o Options) (*Agent, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Transport == nil {
		o.Transport = transport()
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
	a := &Agent{o: o, client: &session.Client{Transport: o.Transport}, ready: make(chan struct{}), settled: make(chan struct{}, 1), next: make(chan *world)}
	w, err := build(c, a.client, a.o, a.ready)
	if err != nil {
		return nil, err
	}
	a.take(w)
	return a, nil
}

// Run is the sidecar. It returns nil when ctx ends, and an error only when
// another sidecar runs on the same state.
func (a *Agent) Run(ctx context.Context) error {
	w := a.current()
	lock, err := a.holdState(ctx, w.config.State)
	if err != nil {
		return err
	}
	defer lock.release()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return a.worlds(ctx) })
	group.Go(func() error { return a.readiness(ctx) })
	if path := w.config.Listen.Admin; path != "" {
		group.Go(func() error { return a.admin(ctx, path) })
	}
	err = group.Wait()
	a.o.Notify("STOPPING=1")
	if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		return nil
	}
	return err
}

// Reload replaces the configuration in force; a mistake in a template's text
// leaves the old one going. Identities, sessions and what apps have reached
// are kept where the new one says the same of them. It blocks until the old
// one has come to rest.
func (a *Agent) Reload(ctx context.Context, c *config.Config) error {
	old := a.current().config
	w, err := build(c, a.client, a.o, a.ready)
	if err != nil {
		return err
	}
	if c.State != old.State || c.Listen != old.Listen {
		a.o.Log.Warn("restart needed", "reason", "state and listen are taken up only at start")
	}
	select {
	case a.next <- w:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// worlds runs one world at a time until ctx ends.
func (a *Agent) worlds(ctx context.Context) error {
	for {
		w := a.current()
		running, stop := context.WithCancel(ctx)
		group, running := errgroup.WithContext(running)
		group.Go(func() error { return w.run(running) })
		var next *world
		select {
		case <-running.Done():
		case next = <-a.next:
		}
		stop()
		err := group.Wait()
		if next == nil {
			return err
		}
		next.adopt(w)
		a.take(next)
		a.o.Log.Info("configuration reloaded", "apps", len(next.apps))
	}
}

// admin serves the admin socket, and tries on while it cannot.
func (a *Agent) admin(ctx context.Context, path string) error {
	var was error
	listen := refresher.Loop{Roll: a.o.Roll, Look: func(ctx context.Context) error {
		err := serve.Admin{Path: path, Agent: a, Log: a.o.Log}.Run(ctx)
		if ctx.Err() == nil && changedError(was, err) {
			a.o.Log.Error("admin socket not served", "error", err)
		}
		was = err
		return err
	}}
	return listen.Run(ctx)
}

// take puts a world in force.
func (a *Agent) take(w *world) {
	for _, app := range w.apps {
		app.settled = a.settled
	}
	a.mu.Lock()
	a.world = w
	a.mu.Unlock()
}

func (a *Agent) current() *world {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.world
}

// transport goes to AWS by the environment's proxies and the system's roots,
// and gives up on a peer that does not shake hands.
func transport() http.RoundTripper {
	t, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return http.DefaultTransport
	}
	t = t.Clone()
	t.MaxIdleConnsPerHost = 8
	t.IdleConnTimeout = 60 * time.Second
	t.TLSHandshakeTimeout = 5 * time.Second
	return t
}

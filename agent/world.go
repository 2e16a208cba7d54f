package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"outrider/internal/config"
	"outrider/refresher"
	"outrider/render"
	"outrider/session"
	"outrider/signer/source"
)

// host is what the process has one of, whatever the configuration says.
type host struct {
	client  *session.Client // it learns this host's clock
	devices source.Devices  // that keep keys; one caller at a time uses each
	gate    gate            // apps may share a database
	local   local           // tokens last as long as the process
	turns   turns           // of all loops

	mu        sync.Mutex
	standings map[string]*standing // of every app that there has ever been
}

// standing returns how the app of that name stands. One that a reload takes
// out of the configuration, and another puts back, is the same.
func (h *host) standing(name string) *standing {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.standings == nil {
		h.standings = map[string]*standing{}
	}
	if h.standings[name] == nil {
		h.standings[name] = newStanding()
	}
	return h.standings[name]
}

// close closes what the standings remember; what is owed stays owed.
func (h *host) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.standings {
		if ledger := s.opened(); ledger != nil {
			_ = ledger.Close()
		}
	}
}

// world is everything that one configuration asks for.
type world struct {
	config     *config.Config
	identities map[string]*identity
	roles      map[string]*role
	apps       map[string]*app
	queue      *queue // nil: none
	roll       func() float64
}

// build wires a world. It starts nothing and reads nothing but the templates
// in the configuration, every mistake in which it reports.
func build(c *config.Config, h *host, o Options) (*world, error) {
	w := &world{
		config:     c,
		identities: map[string]*identity{},
		roles:      map[string]*role{},
		apps:       map[string]*app{},
		roll:       o.Roll,
	}
	var mistakes []error
	clock := func() time.Time { return time.Now().Add(h.client.Skew()) }
	for _, name := range slices.Sorted(maps.Keys(c.Identities)) {
		i, err := newIdentity(c.Identities[name], &h.devices, clock, o)
		if err != nil {
			mistakes = append(mistakes, err)
		}
		w.identities[name] = i
	}
	for name, r := range c.Roles {
		w.roles[name] = newRole(r, w.identities[r.Identity], h, o)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Apps)) {
		a, err := newApp(c.Apps[name], w.roles[c.Apps[name].Role], h, o)
		if err != nil {
			mistakes = append(mistakes, err)
		}
		w.apps[name] = a
	}
	if len(mistakes) > 0 {
		return nil, errors.Join(mistakes...)
	}
	if c.Watch.Queue != "" {
		w.queue = newQueue(c.Watch, c.Roles[c.Watch.Role], o)
	}
	h.turns.count(w)
	w.wire()
	return w, nil
}

// parse parses the templates of an app's files, in their order.
func parse(a config.App) ([]*render.Template, error) {
	names := secretNames(a)
	templates := make([]*render.Template, len(a.Files))
	var mistakes []error
	for i, f := range a.Files {
		if f.Raw != "" {
			continue
		}
		t, err := render.ParseAs(render.Format(f.Format), f.Source, f.Text, names)
		if err != nil {
			mistakes = append(mistakes, err)
			continue
		}
		templates[i] = t
	}
	return templates, errors.Join(mistakes...)
}

func secretNames(a config.App) []string { return slices.Sorted(maps.Keys(a.Secrets)) }

// wire tells identities of the roles that sign with them, and roles of the
// apps that read with them.
func (w *world) wire() {
	for _, r := range w.roles {
		r.apps = nil
	}
	for _, name := range slices.Sorted(maps.Keys(w.apps)) {
		r := w.apps[name].role
		r.apps = append(r.apps, w.apps[name])
	}
	for _, r := range w.roles {
		r.supply(w.config.Watch.Interval)
		r.sweep = w.sweep
	}
	for name, i := range w.identities {
		i.changed = func() {
			for _, r := range w.roles {
				if r.Identity == name {
					r.hurry()
				}
			}
		}
	}
	if w.queue != nil {
		w.queue.wire(w)
		return
	}
	for _, r := range w.roles {
		r.pushed(false)
	}
}

// sweep returns in what time everything that the apps use is looked at once
// while events tell what changes: seldom, but twice before the files of any app
// count as stale.
func (w *world) sweep() time.Duration {
	calls, limit := 0, 24*time.Hour
	for _, r := range w.roles {
		if r.hears() {
			calls += r.store.Calls()
		}
	}
	for _, a := range w.apps {
		if a.MaxStale > 0 {
			limit = min(limit, a.MaxStale/2)
		}
	}
	return refresher.Sweep(w.config.Watch.Interval, calls, limit)
}

// adopt takes over from a world that has stopped what a reload must not
// lose: identities, sessions and a queue whose configuration is the same, and
// how each app stands.
func (w *world) adopt(old *world) {
	for name, i := range w.identities {
		if before, ok := old.identities[name]; ok && before.Identity == i.Identity {
			w.identities[name] = before
		}
	}
	for name, r := range w.roles {
		before, ok := old.roles[name]
		r.identity = w.identities[r.Role.Identity]
		if ok && reflect.DeepEqual(before.Role, r.Role) && before.identity == r.identity {
			w.roles[name] = before
		}
	}
	if w.queue != nil && old.queue != nil && w.queue.same(old.queue) {
		w.queue = old.queue
	}
	for _, a := range w.apps {
		a.role = w.roles[a.App.Role]
		a.inherit()
	}
	for name, before := range old.apps {
		if _, stays := w.apps[name]; !stays {
			before.standing.change(func(p *progress) { p.gone = true })
		}
	}
	w.wire()
}

// inherit goes on from where an app of the same name stands. What was owed to
// other targets than before is owed to the new ones, from the first on.
func (a *app) inherit() {
	a.standing.change(func(p *progress) { p.here, p.gone, p.sealErr = false, false, nil })
	if ledger := a.standing.opened(); ledger != nil {
		ledger.Retarget(a.targets())
	}
}

// run keeps everything going until ctx ends.
func (w *world) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, i := range w.identities {
		group.Go(func() error { return i.reads.Run(ctx) })
		group.Go(func() error { return i.watches.Run(ctx) })
		reminder := refresher.Loop{Look: i.remind, Interval: time.Hour, Roll: w.roll}
		group.Go(func() error { return reminder.Run(ctx) })
	}
	for _, a := range w.apps {
		group.Go(func() error { return a.loop.Run(ctx) })
	}
	for _, r := range w.roles {
		r.spawn = func(f func(context.Context)) {
			group.Go(func() error {
				defer r.reading()()
				f(ctx)
				return nil
			})
		}
		group.Go(func() error { return r.lease.Run(ctx) })
		r.begin()
		group.Go(func() error { return r.poll.Run(ctx) })
		if r.Token != nil || r.CredentialsFile != nil {
			group.Go(func() error { return r.out.Run(ctx) })
		}
	}
	if w.queue != nil {
		group.Go(func() error { return w.queue.loop.Run(ctx) })
	}
	return group.Wait()
}

// named returns the apps of those names, or all when there are none.
func (w *world) named(names []string) ([]*app, error) {
	if len(names) == 0 {
		names = slices.Sorted(maps.Keys(w.apps))
	}
	var apps []*app
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		a, ok := w.apps[name]
		if !ok {
			return nil, &UnknownError{Kind: "app", Name: name, Known: slices.Sorted(maps.Keys(w.apps))}
		}
		apps = append(apps, a)
	}
	return apps, nil
}

// role returns the role of that name.
func (w *world) role(name string) (*role, error) {
	r, ok := w.roles[name]
	if !ok {
		return nil, &UnknownError{Kind: "role", Name: name, Known: slices.Sorted(maps.Keys(w.roles))}
	}
	return r, nil
}

// UnknownError says that the configuration has no app or role of that name.
type UnknownError struct {
	Kind  string // "app" or "role"
	Name  string
	Known []string
}

// Error lists the names that there are.
func (e *UnknownError) Error() string {
	return fmt.Sprintf("no %s %q; the configuration has %v", e.Kind, e.Name, e.Known)
}

// Unknown tells this error from others across packages.
func (e *UnknownError) Unknown() bool { return true }

package agent

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"sync"
	"time"

	"outrider/internal/config"
	"outrider/refresher"
	"outrider/signer"
	"outrider/signer/source"
)

// identity holds who the host is, as last read as one right set.
type identity struct {
	config.Identity
	log     *slog.Logger
	source  source.Source
	devices *source.Devices
	watch   func(context.Context, []string, func()) error
	clock   func() time.Time // AWS's, as far as it is known
	changed func()           // called after another set was taken up; may be nil
	reads   refresher.Loop
	watches refresher.Loop

	first sync.Once
	ready chan struct{} // closed when it was read for the first time

	mu       sync.Mutex
	set      *signer.Identity // nil until a right set was read
	err      error            // of the last reading; nil when it went well
	reminded time.Time        // when its end was last spoken of, by this host's clock
}

// newIdentity reads nothing and starts nothing. Its error is a mistake in what
// the configuration says of the key.
func newIdentity(c config.Identity, d *source.Devices, clock func() time.Time, o Options) (*identity, error) {
	i := &identity{
		Identity: c, log: o.Log, devices: d, watch: o.Watch, clock: clock, ready: make(chan struct{}),
		source: source.Source{
			Certificate: c.Certificate, PrivateKey: c.PrivateKey, Chain: c.Chain,
			PKCS12: c.PKCS12, SPIFFE: c.SPIFFE, PasswordFile: c.PasswordFile,
		},
	}
	// A device or a token sends no event: what failed is tried again.
	i.reads = refresher.Loop{Look: i.read, Roll: o.Roll}
	i.watches = refresher.Loop{Look: i.follow, Roll: o.Roll}
	if err := i.source.Check(); err != nil {
		return nil, fmt.Errorf("identities.%s: %w", c.Name, err)
	}
	return i, nil
}

// follow has the identity read again when it may have changed, until ctx
// ends or there is nobody any more who would tell.
func (i *identity) follow(ctx context.Context) error {
	return i.source.Watch(ctx, i.watch, i.reads.Wake)
}

// read reads the identity as one set and takes it up if it is right. A set
// that is wrong, or out of its dates while the old one is within them, is
// refused.
func (i *identity) read(ctx context.Context) error {
	defer i.first.Do(func() { close(i.ready) })
	set, err := i.source.Load(ctx, i.devices)
	if err != nil && ctx.Err() != nil {
		return err // called off, which says nothing about the identity
	}
	now := i.clock()
	i.mu.Lock()
	old := i.set
	if err == nil && old != nil && old.CheckTime(now) == nil {
		err = set.CheckTime(now)
	}
	news := changedError(i.err, err)
	i.err = err
	taken := err == nil && (old == nil || !old.Equal(set))
	if taken {
		i.set, i.reminded = set, time.Time{}
	}
	i.mu.Unlock()
	if news {
		i.log.Error("identity not taken up", "identity", i.Name, "error", err, "going_on_with_old", old != nil)
	}
	if taken {
		i.tell(set)
	}
	return err
}

// tell says which set was taken up, and lets those know who sign with it.
func (i *identity) tell(set *signer.Identity) {
	leaf := set.Leaf()
	i.log.Info("identity loaded", "identity", i.Name, "subject", leaf.Subject.String(), "serial", leaf.SerialNumber.String(),
		"not_after", leaf.NotAfter, "key", set.KeyKind(), "place", set.KeyPlace())
	for _, warning := range set.Warnings() {
		i.log.Warn("identity weak", "identity", i.Name, "reason", warning)
	}
	if i.changed != nil {
		i.changed()
	}
}

// remind says that the identity nears its end, or has reached it: of each set
// once, and again each day. It waits for the first reading.
func (i *identity) remind(ctx context.Context) error {
	select {
	case <-i.ready:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	now := i.clock()
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.set == nil || refresher.Ago(i.reminded, time.Now()) < 24*time.Hour {
		return nil
	}
	leaf := i.set.Leaf()
	switch err := i.set.CheckTime(now); {
	case err != nil:
		i.log.Error("identity out of date", "identity", i.Name, "error", err)
	case soon(leaf.NotBefore, leaf.NotAfter, now):
		i.log.Warn("identity ends soon", "identity", i.Name, "not_after", leaf.NotAfter,
			"remedy", "renew the certificate; it is taken up when the files change")
	default:
		return nil
	}
	i.reminded = time.Now()
	return nil
}

// current returns the set in hand, or why there is none. It waits for the
// first reading.
func (i *identity) current(ctx context.Context) (*signer.Identity, error) {
	select {
	case <-i.ready:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.set == nil {
		return nil, i.err
	}
	return i.set, nil
}

// state returns the set in hand, nil when there is none, and what is wrong.
func (i *identity) state() (*signer.Identity, error) {
	now := i.clock()
	i.mu.Lock()
	defer i.mu.Unlock()
	err := i.err
	if err == nil && i.set != nil {
		err = i.set.CheckTime(now)
	}
	return i.set, err
}

// passing is what differs in an error at each attempt: request ids, and the
// digits of times and ports.
var passing = regexp.MustCompile(`request id [0-9A-Za-z-]+|[0-9]+([.hms][0-9]+)*`)

// changedError reports whether err says something that old did not, so that
// a state is logged once and not at each attempt.
func changedError(old, err error) bool {
	if err == nil || old == nil {
		return err != nil
	}
	bare := func(e error) string { return passing.ReplaceAllString(e.Error(), "") }
	return bare(old) != bare(err)
}

package agent

import (
	"context"
	"log/slog"
	"regexp"
	"sync"
	"time"

	"outrider/internal/config"
	"outrider/signer"
)

// identity holds who the host is, as last read from disk as one right set.
type identity struct {
	config.Identity
	log     *slog.Logger
	watch   func(context.Context, []string, func()) error
	clock   func() time.Time // AWS's, as far as it is known
	changed func()           // called after another set was taken up; may be nil

	mu       sync.Mutex
	set      *signer.Identity // nil until a right set was read
	err      error            // of the last reading; nil when it went well
	reminded time.Time        // when its end was last spoken of
}

func (i *identity) files() signer.Files {
	return signer.Files{Certificate: i.Certificate, PrivateKey: i.PrivateKey, Chain: i.Identity.Chain}
}

// run takes up what changes on disk until ctx ends.
func (i *identity) run(ctx context.Context) error {
	paths := []string{i.Certificate, i.PrivateKey}
	if i.Identity.Chain != "" {
		paths = append(paths, i.Identity.Chain)
	}
	return i.watch(ctx, paths, i.read)
}

// read reads the files as one set and takes it up if it is right. A set that
// is wrong, or out of its dates while the old one is within them, is refused.
func (i *identity) read() {
	now := i.clock()
	set, err := i.files().Load()
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
	if err != nil {
		if news {
			i.log.Error("identity not taken up", "identity", i.Name, "error", err, "going_on_with_old", old != nil)
		}
		return
	}
	if !taken {
		return
	}
	leaf := set.Leaf()
	i.log.Info("identity loaded", "identity", i.Name, "subject", leaf.Subject.String(),
		"serial", leaf.SerialNumber.String(), "not_after", leaf.NotAfter, "key", set.KeyKind())
	for _, warning := range set.Warnings() {
		i.log.Warn("identity weak", "identity", i.Name, "reason", warning)
	}
	if i.changed != nil {
		i.changed()
	}
}

// remind says that the identity nears its end, or has reached it: of each set
// once, and again each day.
func (i *identity) remind(context.Context) error {
	now := i.clock()
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.set == nil || now.Sub(i.reminded) < 24*time.Hour {
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
	i.reminded = now
	return nil
}

// current returns the set in hand, or why there is none.
func (i *identity) current() (*signer.Identity, error) {
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
var passing = regexp.MustCompile(`request id [0-9A-Za-z-]+|[0-9]+([hms][0-9]+)*`)

// changedError reports whether err says something that old did not, so that
// a state is logged once and not at each attempt.
func changedError(old, err error) bool {
	if err == nil || old == nil {
		return err != nil
	}
	bare := func(e error) string { return passing.ReplaceAllString(e.Error(), "") }
	return bare(old) != bare(err)
}

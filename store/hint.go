package store

import (
	"context"
	"strings"
	"sync"
	"time"

	"outrider/secret"
)

// Hint is what an event said of one secret or parameter: that it may have
// changed. It is no more than a reason to read again.
type Hint struct {
	ID        string    // name or ARN, in any spelling
	Parameter bool      // of Parameter Store; else of Secrets Manager
	Stage     string    // the staging label that moved; empty: unknown
	Version   string    // the version that it moved to; empty: unknown
	At        time.Time // when it changed; zero: unknown, or the change leaves the parameter's own date as it was (a label)
}

// About reports whether a reference may be to what the hint is about. In case
// of doubt it is: a read too many does no harm.
func (h Hint) About(ref secret.Ref) bool {
	switch {
	case h.ID == "" || h.Parameter != (ref.Kind != secret.SecretsManager):
		return false
	case ref.Kind == secret.SecretsManager:
		moved := h.Stage == "" || ref.VersionID == "" && h.Stage == ref.Stage
		return moved && sameSecret(ref.ID, h.ID)
	case ref.Kind == secret.Parameter:
		return parameterName(ref.ID) == parameterName(h.ID)
	}
	// The slash in front of both lets the path / hold all names.
	below, ok := strings.CutPrefix("/"+parameterName(h.ID), strings.TrimSuffix("/"+parameterName(ref.ID), "/")+"/")
	return ok && (ref.Recursive || !strings.Contains(below, "/"))
}

// sameSecret reports whether two SecretIds may denote one secret: names, full
// ARNs, and ARNs without the six random characters at their end.
func sameSecret(a, b string) bool {
	if strings.HasPrefix(a, "arn:") && strings.HasPrefix(b, "arn:") {
		return a == b || withoutSuffix(a) == b || withoutSuffix(b) == a
	}
	a, b = secretName(a), secretName(b)
	return a == b || withoutSuffix(a) == b || withoutSuffix(b) == a
}

// secretName returns what follows secret: in an ARN, else the id itself.
func secretName(id string) string {
	if parts := strings.SplitN(id, ":", 7); len(parts) == 7 && parts[0] == "arn" {
		return parts[6]
	}
	return id
}

// withoutSuffix cuts the hyphen and six characters that AWS puts after a
// secret's name in its ARN.
func withoutSuffix(id string) string {
	if i := len(id) - 7; i > 0 && id[i] == '-' {
		return id[:i]
	}
	return id
}

// parameterName returns a parameter's name without ARN, selector and the slash
// in front: an ARN drops the one that a name in a hierarchy starts with.
func parameterName(id string) string {
	id, _ = splitParameter(id)
	if parts := strings.SplitN(id, ":", 6); len(parts) == 6 {
		id = strings.TrimPrefix(parts[5], "parameter")
	}
	return strings.TrimLeft(id, "/")
}

// splitParameter takes the selector, a version number or label with its colon,
// off a parameter's name or ARN.
func splitParameter(id string) (base, selector string) {
	from := 0
	if strings.HasPrefix(id, "arn:") {
		from = max(0, strings.Index(id, ":parameter/")+1)
	}
	if i := strings.IndexByte(id[from:], ':'); i >= 0 {
		return id[:from+i], id[from+i:]
	}
	return id, ""
}

// Hinted begins a read of the references that an event is about, and returns
// the function that carries it out, blocking until it has ended: once more,
// and twice and three times within five seconds, while the read is older than
// the event. What is held already is not read.
func (s *Store) Hinted(refs []secret.Ref, h Hint) func(context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	var f fresh
	var about []*entry
	var before []secret.Version
	for _, ref := range refs {
		e := s.entry(ref)
		if h.Version != "" && h.Version == e.held.ID && e.err == nil {
			continue
		}
		about, before = append(about, e), append(before, e.held)
		if !e.busy() {
			f.add(s.begin(e, now), false)
		}
	}
	return func(ctx context.Context) {
		s.carryOut(ctx, f)
		var all sync.WaitGroup
		for i, e := range about {
			all.Go(func() { s.chase(ctx, e, before[i], h, now) })
		}
		all.Wait()
	}
}

// chase reads an entry as of the time of the hint, and again until it is as new
// as that says, a few times.
func (s *Store) chase(ctx context.Context, e *entry, before secret.Version, h Hint, asOf time.Time) {
	for _, wait := range []time.Duration{250 * time.Millisecond, time.Second, 3 * time.Second} {
		select {
		case <-s.underWay(e.ref):
		case <-ctx.Done():
			return
		}
		s.carryOut(ctx, s.announce([]secret.Ref{e.ref}, asOf, terms{}))
		if s.caughtUp(e, before, h) || pause(ctx, wait) != nil {
			return
		}
		asOf = time.Now()
	}
	s.carryOut(ctx, s.announce([]secret.Ref{e.ref}, asOf, terms{}))
}

// caughtUp reports whether an entry is as new as the hint says, or cannot be
// read for now. Events have whole seconds.
func (s *Store) caughtUp(e *entry, before secret.Version, h Hint) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	moved := e.held.ID != before.ID
	switch {
	case e.err != nil || moved && e.doubted == "":
		return true
	case h.Parameter:
		return h.At.IsZero() || !e.held.Created.Before(h.At.Add(-2*time.Second))
	default:
		return h.Version == "" || e.had(h.Version)
	}
}

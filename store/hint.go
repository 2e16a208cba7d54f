package store

import (
	"context"
	"strings"
	"sync"
	"time"

	"outrider/refresher"
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

// watched is for how long events alone are not relied on after one that told
// of something that was not found.
const watched = 10 * time.Minute

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
	if !strings.HasPrefix(id, "arn:") { // most are none, and all are asked at each event
		return id
	}
	if parts := strings.SplitN(id, ":", 7); len(parts) == 7 {
		return parts[6]
	}
	return id
}

// SecretName returns the name of a secret in its ARN, without the six characters
// that AWS adds, if they are there; else the id itself.
func SecretName(id string) string {
	if name := secretName(id); name != id {
		return withoutSuffix(name)
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
	var numbers []int
	for _, ref := range refs {
		e := s.entry(ref)
		if h.Version != "" && h.Version == e.held.ID && e.err == nil {
			continue
		}
		e.hints++
		about, before, numbers = append(about, e), append(before, e.held), append(numbers, e.hints)
		e.behind = now.Add(watched)
		if !e.busy() {
			f.add(s.begin(e, now), false)
		}
	}
	return func(ctx context.Context) {
		s.carryOut(ctx, f)
		var all sync.WaitGroup
		for i, e := range about {
			all.Go(func() {
				s.chase(ctx, e, before[i], h, now)
				s.watch(e, before[i], h, numbers[i])
			})
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
		s.carryOut(ctx, s.anew(e, asOf))
		s.carryOut(ctx, s.announce([]secret.Ref{e.ref}, asOf, terms{}))
		if s.caughtUp(e, before, h) || pause(ctx, wait) != nil {
			break
		}
		asOf = time.Now()
	}
	s.carryOut(ctx, s.announce([]secret.Ref{e.ref}, asOf, terms{}))
}

// anew begins another read of an entry whose last one has failed and had begun
// before asOf: it says nothing of what came after, however long the back-off.
func (s *Store) anew(e *entry, asOf time.Time) (f fresh) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.known && e.err != nil && e.tried.Before(asOf) && !e.busy() {
		f.add(s.begin(e, time.Now()), false)
	}
	return f
}

// caughtUp reports whether an entry is as new as the hint says, as far as that
// says it, or cannot be read for now.
func (s *Store) caughtUp(e *entry, before secret.Version, h Hint) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return e.err != nil || h.vague() || e.shows(before, h)
}

// watch ends a hint, unless another has come since. Unless what it told of was
// found, that is owed. Where it did not say what changed, the entry is looked at
// in ten seconds, and for a while at its interval although events come in.
func (s *Store) watch(e *entry, before secret.Version, h Hint, number int) {
	s.mu.Lock()
	switch {
	case number != e.hints:
	case e.shows(before, h) && e.err == nil && e.doubted == "":
		e.behind, e.debt = time.Time{}, nil
	case !h.vague():
		e.behind, e.debt = time.Time{}, &debt{hint: h, before: before}
		s.replan(e, time.Now(), true, false, s.roll())
	case e.err == nil && e.doubted == "": // else it is read again anyway
		e.next = time.Now().Add(10 * time.Second)
	}
	s.mu.Unlock()
	s.ended(e.ref, false)
}

// debt is what an event told of and no read has shown yet.
type debt struct {
	hint   Hint
	before secret.Version // held when the event came
	since  time.Time      // when a read first went well and did not show it; zero: none has
}

// owes sets when to look again for what an event told of, and reports whether
// that is owed still: the first wait is ten seconds, and each as long as all
// before it together. What does not come within watched is left to the plan.
func (s *Store) owes(e *entry, began time.Time, roll float64) bool {
	d := e.debt
	if d == nil || e.shows(d.before, d.hint) {
		e.debt = nil
		return false
	}
	if d.since.IsZero() {
		d.since = began
	}
	waited := refresher.Ago(d.since, began)
	if waited > watched {
		e.debt = nil
		return false
	}
	e.next = began.Add(refresher.Poll(min(max(waited, 10*time.Second), s.plan.interval), roll))
	return true
}

// vague reports whether the hint does not say what a read must show.
func (h Hint) vague() bool { return h.Version == "" && h.At.IsZero() }

// shows reports whether what a hint told of has been read: the version that it
// names, whether that was held before or others have come since; else any other
// than before, or one of its date. Events have whole seconds, and those with a
// date do not move labels.
func (e *entry) shows(before secret.Version, h Hint) bool {
	if h.Version != "" {
		return e.held.ID == h.Version
	}
	moved := e.held.ID != before.ID && e.doubted == ""
	_, selector := splitParameter(e.ref.ID)
	return moved || !h.At.IsZero() && (selector != "" || !e.held.Created.Before(h.At.Add(-2*time.Second)))
}

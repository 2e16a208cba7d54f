package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"outrider/deliver"
	"outrider/refresher"
	"outrider/sealed"
	"outrider/secret"
	"outrider/session"
	"outrider/store"
)

const (
	// grace is how long AWS is waited for before a sealed copy serves: most
	// starts without it are ahead of the network by a moment.
	grace = 5 * time.Second
	// silence is how long an attempt to open a session may last before it counts
	// as one that has failed.
	silence = 10 * time.Second
	// resealed is how often a copy is made anew only to say that what is in it is
	// still current.
	resealed = 5 * time.Minute
	// ahead is by how much a copy may seem to be of the future.
	ahead = 5 * time.Minute
)

// errSilent says that AWS has neither opened a session nor said why not.
var errSilent = errors.New("no session yet: no answer from AWS")

// agedError says that the files are the sealed copy's, and why.
type agedError struct {
	taken time.Time
	cause error
}

// Error tells the age of the values at this moment.
func (e *agedError) Error() string {
	return fmt.Sprintf("from the sealed copy, %s old: %v", roughly(time.Since(e.taken.Round(0))), e.cause)
}

// Unwrap returns why there is nothing newer.
func (e *agedError) Unwrap() error { return e.cause }

// roughly gives a duration in hours and minutes, a short one in seconds.
func roughly(d time.Duration) string {
	if d < time.Minute {
		return d.Round(time.Second).String()
	}
	return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
}

// sealedCopy is where the app's last good snapshot is kept.
func (a *app) sealedCopy() sealed.Copy {
	return sealed.Copy{App: a.Name, Path: a.Sealed.Path, Key: a.Sealed.Key, MachineID: a.o.MachineID}
}

// newest returns what is to be delivered: what AWS has, or, while AWS is away
// and there are no files to start on, what the sealed copy has, and then the
// reason for that as well, an *agedError.
func (a *app) newest(ctx context.Context, ledger *deliver.Ledger) (secret.Snapshot, error, error) {
	now, err := a.ask(ctx, silence)
	if err != nil && a.starved(err) {
		now, err = a.patiently(ctx, err)
	}
	if err == nil {
		a.denial, a.away = denial{}, time.Time{}
		return now, nil, nil
	}
	if ctx.Err() != nil {
		return secret.Snapshot{}, nil, err
	}
	if err = a.refused(ledger, err); !a.starved(err) {
		if taken := a.standing.now().sealed; !taken.IsZero() {
			err = &agedError{taken, err}
		}
		return secret.Snapshot{}, nil, err
	}
	last, sealedErr := a.sealedCopy().Read(a.Secrets)
	if sealedErr == nil {
		sealedErr = a.serviceable(ledger, last, time.Now())
	}
	if sealedErr != nil {
		return secret.Snapshot{}, nil, fmt.Errorf("%w; %w", err, sealedErr)
	}
	return last, &agedError{last.Taken(), err}, nil
}

// ask returns what AWS has. An app without files to start on does not wait
// longer than limit for a session, if the copy may serve in its place.
func (a *app) ask(ctx context.Context, limit time.Duration) (secret.Snapshot, error) {
	if a.starved(errSilent) {
		waiting, cancel := context.WithTimeoutCause(ctx, limit, errSilent)
		_, _, err := a.role.lease.Get(waiting)
		cancel()
		if errors.Is(err, errSilent) {
			return secret.Snapshot{}, err
		}
	}
	return a.still(ctx, a.inFiles())
}

// starved reports whether the app has no files to start on because AWS is
// away, and may have a sealed copy.
func (a *app) starved(err error) bool {
	return a.Sealed != nil && outage(err) && a.standing.now().taken.IsZero()
}

// patiently waits for the end of the grace, and has AWS asked once more shortly
// before that.
func (a *app) patiently(ctx context.Context, err error) (secret.Snapshot, error) {
	if a.away.IsZero() {
		a.away = time.Now()
	}
	left := grace - time.Since(a.away)
	if left <= 0 {
		return secret.Snapshot{}, err
	}
	last := time.AfterFunc(left-time.Second, a.role.hurry)
	defer last.Stop()
	select {
	case <-time.After(left):
		return a.ask(ctx, time.Second)
	case <-ctx.Done():
		return secret.Snapshot{}, context.Cause(ctx)
	}
}

// outage reports whether nothing but an outage, or the way to AWS, keeps the
// secrets from being read. A refusal is none, nor is an identity that is not
// there.
func outage(err error) bool {
	for _, e := range leaves(err) {
		opening, noSession := errors.AsType[*session.Error](e)
		reading, unread := errors.AsType[*store.Error](e)
		switch {
		case errors.Is(e, errSilent):
		case noSession && opening.Temporary():
		case unread && !noSession && reading.Temporary():
		default:
			return false
		}
	}
	return true
}

// serviceable refuses a copy that must not be delivered at this time.
func (a *app) serviceable(ledger *deliver.Ledger, last secret.Snapshot, now time.Time) error {
	done, age := ledger.Progress(), now.Round(0).Sub(last.Taken())
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("sealed copy %s: %s", a.Sealed.Path, fmt.Sprintf(format, args...))
	}
	switch {
	case done.Withdrawn != "":
		return refuse("not used, since access was denied when AWS was last asked")
	case a.MaxStale > 0 && age > a.MaxStale:
		return refuse("it is %s old, and max_stale is %s", roughly(age), roughly(a.MaxStale))
	case a.MaxStale > 0 && age < -ahead:
		return refuse("it was sealed %s in the future by this host's clock; set the clock", roughly(-age))
	case !last.Taken().After(done.Committed) && !madeFrom(done.Versions, last) && !a.goesBackTo(ledger, last):
		return refuse("it is older than generation %d, which was delivered on %s; remove it",
			done.Generation, done.Committed.UTC().Format(time.RFC3339))
	}
	return nil
}

// goesBackTo reports whether a generation that is in doubt would be rolled back
// to this snapshot.
func (a *app) goesBackTo(ledger *deliver.Ledger, s secret.Snapshot) bool {
	_, before := ledger.Previous()
	return ledger.Progress().Awaits && madeFrom(before, s)
}

// madeFrom reports whether a generation's versions are the snapshot's.
func madeFrom(versions deliver.Versions, s secret.Snapshot) bool {
	for _, name := range s.Names() {
		v, _ := s.Get(name)
		if was, ok := versions[name]; !ok || was.ID != v.ID || was.ARN != v.ARN {
			return false
		}
	}
	return true
}

// served notes that the files are the sealed copy's, whose age must be true
// after a restart as well.
func (a *app) served(ledger *deliver.Ledger, last secret.Snapshot) {
	a.standing.change(func(p *progress) { p.sealed = last.Taken() })
	_ = ledger.Saw(last.Taken())
	a.log.Warn("delivered from the sealed copy", "app", a.Name, "age", roughly(time.Since(last.Taken())), "taken", last.Taken())
}

// seal keeps a copy of a snapshot that is in the files, or about to be there:
// a crash in between must not leave an older one. While a generation is in
// doubt, the copy is of the one before. What cannot be kept is no reason not to
// deliver it.
func (a *app) seal(ledger *deliver.Ledger, s secret.Snapshot) {
	if a.Sealed == nil || s.Len() == 0 || ledger.Progress().Awaits {
		return
	}
	a.sealing.Lock()
	defer a.sealing.Unlock()
	if a.kept.SameVersions(s) && s.Taken().Sub(a.kept.Taken()) < resealed {
		return
	}
	err := a.sealedCopy().Write(s)
	if a.unsealed != nil {
		a.unsealed.Stop()
	}
	if err == nil {
		a.kept, a.sealFailures = s, 0
	} else {
		a.sealFailures++
		a.unsealed = time.AfterFunc(refresher.Backoff{}.Delay(a.sealFailures, a.o.Roll()), a.loop.Wake)
	}
	var was error
	a.standing.change(func(p *progress) { was, p.sealErr = p.sealErr, err })
	if changedError(was, err) {
		a.log.Warn("sealed copy not written", "app", a.Name, "error", err)
	}
}

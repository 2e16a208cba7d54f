package agent

import (
	"errors"
	"time"

	"outrider/audit"
	"outrider/deliver"
	"outrider/secret"
	"outrider/session"
	"outrider/store"
)

// considered is how long AWS must have refused an app before its files are
// withdrawn: who edits a policy may be in the middle of it.
const considered = time.Minute

// denial is what an app has heard of its access since it was last granted.
type denial struct {
	first time.Time // when AWS refused it; zero: it did not
	last  error     // the answer that was there when it was asked once more; nil: it was not yet
	done  bool      // the files are withdrawn
}

// withdrawnError says that the app's files are not there, and why.
type withdrawnError struct{ error }

// Error says what brings them back.
func (e *withdrawnError) Error() string {
	return "files withdrawn (on_denied: remove), until access is granted: " + e.error.Error()
}

// Unwrap returns why nothing can be read at this time.
func (e *withdrawnError) Unwrap() error { return e.error }

// refused returns the error of a look that got no values. Where AWS has said
// twice that the app may not have them, a minute apart or more and without
// granting them in between, the app's files are withdrawn.
func (a *app) refused(ledger *deliver.Ledger, err error) error {
	if a.OnDenied == "remove" {
		a.weigh(ledger, err)
	}
	if ledger.Progress().Withdrawn != "" {
		return &withdrawnError{err}
	}
	return err
}

func (a *app) weigh(ledger *deliver.Ledger, err error) {
	answer := a.deniedIn(err)
	switch now := time.Now(); {
	case answer == nil || a.denial.done:
	case ledger.Progress().Withdrawn != "": // not all of it was done
		a.withdraw(ledger, answer)
	case a.denial.first.IsZero():
		a.denial.first = now
	case now.Sub(a.denial.first) < considered:
	case a.denial.last == nil: // what is in hand may have been said at any time since
		a.denial.last = answer
		a.touch(now)
		a.role.hurry()
		a.loop.Wake()
	case !errors.Is(answer, a.denial.last):
		a.withdraw(ledger, answer)
	}
}

// deniedIn returns AWS's answer that denies the session or a secret; nil when
// there is none, or when the identity is out of its dates: that is no decision
// of anybody's.
func (a *app) deniedIn(err error) error {
	for _, e := range leaves(err) {
		if opening, ok := errors.AsType[*session.Error](e); ok && opening.Denied() {
			if _, bad := a.role.identity.state(); bad == nil {
				return opening
			}
		}
		if reading, ok := errors.AsType[*store.Error](e); ok && reading.Denied() {
			return reading
		}
	}
	return nil
}

// withdraw takes away the app's files, what units could get of it, and the
// sealed copy. Nobody is told: an application that runs goes on with what it
// has in memory.
func (a *app) withdraw(ledger *deliver.Ledger, reason error) {
	var files []deliver.File
	for _, f := range a.Files {
		file, _ := placed(f, a.Layout) // where it stands is known, whoever its owner should be
		files = append(files, file)
	}
	err := ledger.Withdraw(append(files, a.imprintPlace()...), reason.Error())
	if a.Sealed != nil {
		a.sealing.Lock()
		err = errors.Join(err, a.sealedCopy().Remove())
		a.kept = secret.Snapshot{}
		a.sealing.Unlock()
	}
	a.standing.change(func(p *progress) {
		p.snapshot, p.previous = secret.Snapshot{}, secret.Snapshot{}
		p.taken, p.sealed = time.Time{}, time.Time{}
	})
	if a.denial.done = err == nil; !a.denial.done {
		a.log.Error("files not withdrawn", "app", a.Name, "error", err)
		return
	}
	a.noteGeneration(audit.Withdrawn, ledger.Progress().Generation)
	a.log.Error("files withdrawn", "app", a.Name, "error", reason)
}

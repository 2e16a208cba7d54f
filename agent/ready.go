package agent

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

const (
	// patience is how long apps that have no files of this run hold up READY.
	patience = 60 * time.Second
	// extension is how much longer the service manager is asked to wait each
	// time that a start is not over yet; it is asked again well before that.
	extension = 30 * time.Second
	// pace is the least time between two lines of status, which take a walk
	// over all apps: a start of a thousand brings a thousand pieces of news.
	pace = time.Second
)

// readiness sends READY once every app's files are usable, or patience has
// run out, and keeps the one-line status before and after that. It begins when
// the endpoints are settled: who is ordered after us asks there.
func (a *Agent) readiness(ctx context.Context, settled <-chan struct{}) error {
	select {
	case <-settled:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	deadline := time.Now().Add(patience)
	ready, status, said := false, "", time.Time{}
	for {
		now := time.Now()
		if !ready && (a.allUsable(now) || !now.Before(deadline)) {
			waiting, _ := a.standings()
			a.o.Log.Info("ready", "not_current", waiting)
			a.o.Notify("READY=1")
			close(a.ready)
			ready, said = true, time.Time{}
		}
		var tick <-chan time.Time
		if wait := said.Add(pace).Sub(now); wait > 0 {
			tick = time.After(wait)
		} else {
			said = now
			_, failing := a.standings()
			if now := a.summary(failing); now != status {
				status = now
				a.o.Notify("STATUS=" + status)
			}
			if !ready {
				a.o.Notify(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", extension.Microseconds()))
				tick = time.After(min(extension/3, deadline.Sub(now)))
			}
		}
		select {
		case <-a.news:
		case <-tick:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// allUsable is what is asked after each look, and so stops at the first app
// of which it is not true.
func (a *Agent) allUsable(now time.Time) bool {
	for _, app := range a.current().apps {
		if p := app.standing.now(); !p.usable(now, app.MaxStale) {
			return false
		}
	}
	return true
}

// standings returns the names of the apps whose files an application must not
// start on yet, and of those whose last look failed or is still to come.
func (a *Agent) standings() (waiting, failing []string) {
	now, w := time.Now(), a.current()
	for _, name := range slices.Sorted(maps.Keys(w.apps)) {
		app := w.apps[name]
		p := app.standing.now()
		if !p.usable(now, app.MaxStale) {
			waiting = append(waiting, name)
		}
		if !p.here || p.err != nil {
			failing = append(failing, name)
		}
	}
	return waiting, failing
}

// summary is one line for the service manager.
func (a *Agent) summary(failing []string) string {
	a.mu.Lock()
	apps, refusal := len(a.world.apps), a.refusal
	a.mu.Unlock()
	line := fmt.Sprintf("%d apps current", apps)
	if len(failing) > 0 {
		line = fmt.Sprintf("%d of %d apps current; not: %s", apps-len(failing), apps, strings.Join(failing, ", "))
	}
	if refusal != "" {
		first, _, _ := strings.Cut(refusal, "\n")
		line += "; configuration refused, the old one goes on: " + first
	}
	return line
}

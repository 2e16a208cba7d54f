package agent

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// extension is how much longer the service manager is asked to wait each time
// that a start is not over yet, and asked again well before it has passed.
const extension = 30 * time.Second

// readiness sends READY once every app's files are current, or patience has
// run out, and keeps the one-line status before and after that.
func (a *Agent) readiness(ctx context.Context) error {
	deadline := time.Now().Add(patience)
	status := ""
	var tick <-chan time.Time // nil once READY was sent
	for ready := false; ; {
		waiting := a.waiting()
		if now := a.summary(waiting); now != status {
			status = now
			a.o.Notify("STATUS=" + status)
		}
		switch {
		case ready:
		case len(waiting) == 0 || !time.Now().Before(deadline):
			a.o.Log.Info("ready", "not_current", waiting)
			a.o.Notify("READY=1")
			close(a.ready)
			ready, tick = true, nil
		default:
			a.o.Notify(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", extension.Microseconds()))
			tick = time.After(extension / 3)
		}
		select {
		case <-a.settled:
		case <-tick:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// waiting returns the names of the apps that are not current.
func (a *Agent) waiting() []string {
	var names []string
	w := a.current()
	for _, name := range slices.Sorted(maps.Keys(w.apps)) {
		if !w.apps[name].current() {
			names = append(names, name)
		}
	}
	return names
}

func (a *Agent) summary(waiting []string) string {
	apps := len(a.current().apps)
	if len(waiting) == 0 {
		return fmt.Sprintf("%d apps current", apps)
	}
	return fmt.Sprintf("%d of %d apps current; not: %s", apps-len(waiting), apps, strings.Join(waiting, ", "))
}

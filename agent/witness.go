package agent

import (
	"slices"
	"strings"
	"time"

	"outrider/audit"
	"outrider/deliver"
	"outrider/internal/config"
	"outrider/meter"
	"outrider/secret"
	"outrider/serve"
)

// witness is told what was done, for the metrics and the audit log, where
// these are configured. The zero witness forgets it.
type witness struct {
	meter *meter.Meter
	audit *audit.Log
}

// newWitness returns the witness of an agent that is still to be wired.
func (a *Agent) newWitness(c *config.Config, o Options) witness {
	var w witness
	if c.Listen.Metrics.Address != "" {
		w.meter = meter.New(func() serve.Status { return a.Status(serve.Self()) })
	}
	if c.Audit.Path != "" {
		w.audit = &audit.Log{Path: c.Audit.Path, Log: o.Log}
	}
	return w
}

// Waiting returns the names of the apps whose files an application must not
// start on yet: of all, or of that one.
func (a *Agent) Waiting(app string) ([]string, error) {
	if app != "" {
		if _, err := a.current().named([]string{app}); err != nil {
			return nil, err
		}
	}
	waiting, _ := a.standings()
	return slices.DeleteFunc(waiting, func(name string) bool { return app != "" && name != app }), nil
}

// noteCommit notes which versions a generation put where.
func (a *app) noteCommit(snapshot secret.Snapshot, generation uint64, changed []string) {
	if a.o.witness.audit == nil || generation == 0 {
		return
	}
	for i, f := range a.Files {
		if slices.Contains(changed, f.Destination) {
			a.o.witness.audit.Note(audit.Entry{
				Event: audit.Delivered, App: a.Name, Generation: generation, File: f.Destination,
				Secrets: versionsIn(snapshot, a.inFile(i)),
			})
		}
	}
}

// inFile returns the names of the secrets that a file is made from.
func (a *app) inFile(i int) []string {
	if t := a.templates[i]; t != nil {
		return t.Secrets()
	}
	return []string{a.Files[i].Raw}
}

// noteGeneration notes that the files are of an older generation, or of one
// that an earlier process began.
func (a *app) noteGeneration(event audit.Event, generation uint64) {
	if a.o.witness.audit == nil || generation == 0 {
		return
	}
	inFiles := a.inFiles()
	a.o.witness.audit.Note(audit.Entry{Event: event, App: a.Name, Generation: generation, Secrets: versionsIn(inFiles, inFiles.Names())})
}

func versionsIn(snapshot secret.Snapshot, names []string) map[string]audit.Secret {
	versions := map[string]audit.Secret{}
	for _, name := range names {
		if v, ok := snapshot.Get(name); ok {
			versions[name] = audit.Secret{ID: v.Ref.ID, Version: v.ID}
		}
	}
	return versions
}

// handedOut notes who got a session, and returns err.
func (w witness) handedOut(c serve.Caller, role string, got serve.Credentials, err error) error {
	if w.audit != nil && err == nil {
		w.audit.Note(audit.Entry{Event: audit.Session, Role: role, AccessKeyID: got.AccessKeyID, UID: c.UID()})
	}
	return err
}

// notified counts what came of telling each target.
func (w witness) notified(app string, results []deliver.Result) {
	for _, r := range results {
		w.meter.Notified(app, label(r.Target), string(r.Outcome))
	}
}

// label returns what a target is called in metrics: a unit is named, and of
// what has a path only the kind.
func label(target string) string {
	kind, rest, _ := strings.Cut(target, " ")
	switch kind {
	case "reload_unit", "restart_unit":
		return target
	case "signal":
		signal, _, _ := strings.Cut(rest, " ")
		return kind + " " + signal
	}
	return "run"
}

// timed notes how long a commit took that made a generation.
func (w witness) timed(began time.Time, generation uint64) {
	if generation > 0 {
		w.meter.Committed(time.Since(began))
	}
}

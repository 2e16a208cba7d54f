package agent

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"outrider/deliver"
	"outrider/doctor"
	"outrider/secret"
	"outrider/verify"
)

// values renders an app's files and tries its secrets, when all of them could
// be read.
func (e *walk) values(ctx context.Context, app *app, versions map[secret.Ref]secret.Version) []doctor.Finding {
	named := map[string]secret.Version{}
	for name, ref := range app.Secrets {
		if named[name] = versions[ref]; named[name].ID == "" {
			return nil
		}
	}
	subject, snapshot := "app "+app.Name, secret.NewSnapshot(e.began, named)
	var findings []doctor.Finding
	for i, f := range app.Files {
		if _, err := app.content(i, snapshot); err != nil {
			err = &deliver.FileError{Destination: f.Destination, Err: err}
			findings = append(findings, doctor.Finding{Verdict: doctor.Fail, Subject: subject, Text: err.Error()})
		}
	}
	for _, rule := range app.rules {
		f := doctor.Finding{Verdict: doctor.OK, Subject: subject, Text: fmt.Sprintf("verify: %s: it works", rule.Check)}
		switch result := e.try(ctx, app, rule, snapshot); result.Verdict {
		case verify.OK:
		case verify.Wrong:
			f.Verdict, f.Text = doctor.Fail, fmt.Sprintf("verify: %s: %v", rule.Check, result.Err)
		default:
			f.Verdict, f.Text = doctor.Warn, fmt.Sprintf("verify: %s: %v", rule.Check, result.Err)
		}
		findings = append(findings, f)
	}
	return findings
}

// try tries a rule on what it is about, once for all apps that share it: each
// refused login counts towards locking the account.
func (e *walk) try(ctx context.Context, app *app, rule verify.Rule, snapshot secret.Snapshot) verify.Result {
	e.mu.Lock() // held while it is tried
	defer e.mu.Unlock()
	words := []string{rule.Name}
	for _, name := range snapshot.Names() {
		if v, _ := snapshot.Get(name); rule.Secrets == nil || slices.Contains(rule.Secrets, name) {
			words = append(words, v.ARN, v.ID)
		}
	}
	key := strings.Join(words, " ")
	if result, ok := e.tried[key]; ok {
		return result
	}
	result := rule.Check.Verify(ctx, verify.Trial{App: app.Name, Snapshot: snapshot, Now: time.Now()})
	if e.tried == nil {
		e.tried = map[string]verify.Result{}
	}
	e.tried[key] = result
	return result
}

// examineTargets looks for whom the app's notify would tell.
func (a *app) examineTargets(ctx context.Context) []doctor.Finding {
	var findings []doctor.Finding
	for _, n := range a.Notify {
		var running bool
		var err error
		switch told := target(n).(finishing).Target.(type) {
		case deliver.Unit:
			running, err = told.Examine(ctx)
		case deliver.Signal:
			running, err = told.Examine(ctx)
		default:
			continue // a command runs when there is something to tell
		}
		f := doctor.Finding{Verdict: doctor.OK, Subject: "app " + a.Name, Text: fmt.Sprintf("%s: it runs", target(n))}
		switch {
		case err != nil:
			f.Verdict, f.Text = doctor.Fail, fmt.Sprintf("%s: %v", target(n), err)
		case !running:
			f.Text = fmt.Sprintf("%s: it does not run now, and so has nothing to be told", target(n))
		}
		findings = append(findings, f)
	}
	return findings
}

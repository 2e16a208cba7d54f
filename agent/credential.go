package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"outrider/audit"
	"outrider/deliver"
	"outrider/internal/config"
	"outrider/render"
	"outrider/secret"
)

// parseCredentials parses the templates of what an app gives to units.
func parseCredentials(a config.App) (map[string]*render.Template, error) {
	templates := map[string]*render.Template{}
	var mistakes []error
	for _, name := range slices.Sorted(maps.Keys(a.Credentials)) {
		c := a.Credentials[name]
		t, err := render.Parse(c.Source, c.Text, secretNames(a))
		if err != nil {
			mistakes = append(mistakes, err)
			continue
		}
		templates[name] = t
	}
	return templates, errors.Join(mistakes...)
}

// Credential returns the value of a credential that the unit may have, of the
// app's current generation. It blocks until this run has one, and asks AWS
// nothing.
func (a *Agent) Credential(ctx context.Context, unit, name string) (secret.Value, error) {
	value, err := a.credential(ctx, unit, name)
	a.o.witness.meter.Served(err)
	return value, err
}

func (a *Agent) credential(ctx context.Context, unit, name string) (secret.Value, error) {
	for _, app := range a.current().apps {
		if c, ok := app.App.Credentials[name]; ok && c.Has(unit) {
			return app.credential(ctx, unit, name)
		}
	}
	return secret.Value{}, fmt.Errorf("no app gives it to that unit; add the unit to apps.NAME.credentials.%s.units", name)
}

// credential waits for values: after a restart the journal alone knows which
// versions are in the files.
func (a *app) credential(ctx context.Context, unit, name string) (secret.Value, error) {
	p, err := a.standing.await(ctx, func(p progress) bool { return p.values().Len() > 0 })
	if err != nil {
		return secret.Value{}, fmt.Errorf("app %s: %w", a.Name, err)
	}
	value, err := a.credentials[name].Execute(p.values())
	if err == nil {
		a.o.witness.audit.Note(audit.Entry{
			Event: audit.Credential, App: a.Name, Generation: a.standing.delivered().Generation, Unit: unit, Credential: name,
			Secrets: versionsIn(p.values(), a.credentials[name].Secrets()),
		})
	}
	return value, err
}

// values returns the snapshot that the application runs on, empty while only
// the journal knows it.
func (p progress) values() secret.Snapshot {
	if p.snapshot.Len() > 0 {
		return p.snapshot
	}
	return p.previous
}

// imprint returns the file that makes the app's credentials a part of its
// generations, or none: who is to be told of a change is told of theirs.
func (a *app) imprint(snapshot secret.Snapshot) ([]deliver.File, error) {
	if len(a.credentials) == 0 {
		return nil, nil
	}
	values, err := a.handedOut(snapshot)
	if err != nil {
		return nil, err
	}
	return []deliver.File{a.state.Imprint(a.Name, values)}, nil
}

// handedOut returns what units get of a snapshot, by the credentials' names. The
// error joins one for each.
func (a *app) handedOut(snapshot secret.Snapshot) (map[string]secret.Value, error) {
	values := map[string]secret.Value{}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(a.credentials)) {
		value, err := a.credentials[name].Execute(snapshot)
		if err != nil {
			errs = append(errs, fmt.Errorf("credential %s: %w", name, err))
			continue
		}
		values[name] = value
	}
	return values, errors.Join(errs...)
}

// imprintPlace returns where the imprint stands, for an app that has one.
func (a *app) imprintPlace() []deliver.File {
	if len(a.credentials) == 0 {
		return nil
	}
	return []deliver.File{a.state.Imprint(a.Name, nil)}
}

package agent

import (
	"maps"
	"slices"
	"time"

	"outrider/cost"
	"outrider/secret"
	"outrider/store"
)

// Costs returns what the configuration asks for, as far as it takes calls, when
// each secret and parameter changes so often a day. How many parameters are
// below a path is not known: they are taken for one page.
func (a *Agent) Costs(changes float64) cost.Plan {
	w := a.current()
	p := cost.Plan{Interval: w.config.Watch.Interval, Queue: w.config.Watch.Queue != "", Changes: changes}
	for _, name := range slices.Sorted(maps.Keys(w.roles)) {
		r := w.roles[name]
		heard := w.config.Watch.Queue == "" || w.config.Watch.Place.Region == r.Region && w.config.Watch.Place.Account == r.account()
		role := cost.Role{Session: r.SessionDuration, Chain: len(r.Assume), All: r.count(r.refs, heard), Stored: stored(r.refs)}
		for _, app := range r.apps {
			role.Apps = append(role.Apps, r.count(slices.Collect(maps.Values(app.Secrets)), heard))
			if app.MaxStale > 0 && (p.Stale == 0 || app.MaxStale < p.Stale) {
				p.Stale = app.MaxStale
			}
		}
		if role.Session == 0 || len(r.Assume) > 0 {
			role.Session = time.Hour
		}
		p.Roles = append(p.Roles, role)
	}
	return p
}

// stored counts the secrets that references are to, by name or ARN.
func stored(refs []secret.Ref) int {
	names := map[string]bool{}
	for _, ref := range refs {
		if ref.Kind == secret.SecretsManager {
			names[store.SecretName(ref.ID)] = true
		}
	}
	return len(names)
}

// count sorts references by how they are read, and by whether the queue hears
// of them.
func (r *role) count(refs []secret.Ref, heard bool) cost.Refs {
	var n cost.Refs
	for _, ref := range refs {
		_, account := placeOf(ref.ID)
		foreign := !heard || account != "" && account != r.account()
		switch {
		case ref.Kind == secret.Parameters && foreign:
			n.UnheraldedPages++
		case ref.Kind == secret.Parameters:
			n.Pages++
		case ref.Kind == secret.Parameter && foreign:
			n.UnheraldedParameters++
		case ref.Kind == secret.Parameter:
			n.Parameters++
		case foreign || ref.Stage == "AWSPENDING" || ref.Stage == "AWSPREVIOUS":
			n.UnheraldedSecrets++
		case ref.VersionID == "" && ref.Stage == secret.Current:
			n.Secrets++
		default:
			n.Labelled++
		}
	}
	return n
}

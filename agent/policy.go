package agent

import (
	"context"
	"maps"
	"path"
	"slices"

	"outrider/policy"
	"outrider/secret"
)

// Policies writes what the roles of those apps, or of all, need in AWS, by the
// names of the roles. It reads the certificates, to name them in the trust
// policies, and asks nobody on the network.
func (a *Agent) Policies(ctx context.Context, apps []string) (map[string]policy.Documents, error) {
	w := a.current()
	chosen, err := w.named(apps)
	if err != nil {
		return nil, err
	}
	roles := rolesOf(chosen)
	if len(apps) == 0 {
		roles = slices.Collect(maps.Values(w.roles)) // those without apps, too
	}
	documents := map[string]policy.Documents{}
	for _, r := range roles {
		mine := slices.DeleteFunc(slices.Clone(chosen), func(app *app) bool { return app.role != r })
		documents[r.Name] = policy.For(w.permissions(ctx, r, refsOf(mine)))
	}
	return documents, nil
}

// permissions is a role as package policy sees it, for these references.
func (w *world) permissions(ctx context.Context, r *role, refs []secret.Ref) policy.Role {
	p := policy.Role{
		ARN: r.Role.Role, Region: r.Region, TrustAnchors: []string{r.TrustAnchor}, Assume: r.Assume, Refs: refs,
	}
	for _, f := range r.Fallback {
		p.Fallback = append(p.Fallback, f.Region)
		p.TrustAnchors = append(p.TrustAnchors, f.TrustAnchor)
	}
	if set, err := r.identity.source.Load(ctx, r.identity.devices); err == nil {
		p.Subject = policy.SubjectOf(set.Leaf())
	}
	watch := w.config.Watch
	if watch.Queue == "" || watch.Role != r.Name {
		return p
	}
	p.Queue = policy.QueueARN(p.ARN, watch.Place.Region, watch.Place.Account, path.Base(watch.Queue))
	for _, other := range w.roles {
		if other.Region == watch.Place.Region && other.account() == watch.Place.Account {
			p.Events = append(p.Events, other.refs...)
		}
	}
	return p
}

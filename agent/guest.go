package agent

import (
	"context"
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"slices"

	"outrider/doctor"
	"outrider/internal/credfile"
	"outrider/secret"
)

// homes looks, for users who are to have sessions from the endpoints, for keys
// of their own, which every SDK would take instead.
func (e *walk) homes(context.Context) []doctor.Finding {
	var findings []doctor.Finding
	for _, name := range e.guests() {
		home := e.home(name)
		if home == "" {
			continue
		}
		path := filepath.Join(home, ".aws", "credentials")
		text, err := os.ReadFile(path)
		ours := slices.ContainsFunc(slices.Collect(maps.Values(e.world.roles)), func(r *role) bool {
			return r.CredentialsFile != nil && r.CredentialsFile.Path == path
		})
		if err != nil || ours {
			continue // not there, or not ours to read, or written by ourselves
		}
		const profile = "default"
		if keys, err := credfile.HasKeys(secret.NewValue(text), profile); err == nil && keys {
			findings = append(findings, doctor.Finding{
				Verdict: doctor.Warn, Subject: "user " + name,
				Text:   path + " has keys in [" + profile + "], which SDKs take before they ask an endpoint",
				Remedy: "remove them, or rename the profile",
			})
		}
	}
	return findings
}

// homeOf returns a user's home, by name or number; empty when there is none.
func homeOf(name string) string {
	u, err := user.Lookup(name)
	if err != nil {
		u, err = user.LookupId(name)
	}
	if err != nil {
		return ""
	}
	return u.HomeDir
}

// guests returns the users whom the configuration lets in at an endpoint.
func (e *walk) guests() []string {
	var names []string
	for _, r := range e.world.roles {
		if r.Token != nil && r.Token.Owner != "" {
			names = append(names, r.Token.Owner)
		}
		names = append(names, r.Allow.Users...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

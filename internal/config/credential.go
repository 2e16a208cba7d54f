package config

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// credentialName takes the name of a credential, which becomes a file's in
// the folder that systemd makes for the unit.
func credentialName() kind[string] {
	return kind[string]{takes: "name", parse: func(_ *source, text string) (string, error) {
		if len(text) > 64 || !spelled(text, "_.-@") || text[0] == '.' {
			return "", errors.New("a credential's name is at most 64 letters, digits, _, -, @ and ., and does not start with a dot")
		}
		return text, nil
	}}
}

func checkCredential(_ *reader, v *value, c *Credential) {
	c.Source = v.place() + ": " + v.path()
}

func checkAudit(r *reader, v *value, a *Audit) {
	if a.Path != "" {
		r.write(v.get("path"), a.Path)
	}
}

// checkDelivered sees to it that an app delivers something.
func checkDelivered(r *reader, v *value, a *App) {
	credentials := v.get("credentials")
	switch {
	case v.get("files") == nil && credentials == nil:
		r.missing(v, "files", "")
	case v.get("files") != nil && v.get("files").empty():
		r.atKey(v.get("files"), "is empty; there must be at least one")
	case credentials != nil && a.Layout == "directory":
		r.atKey(credentials, "excludes layout: directory")
	}
}

// checkCredentials looks at the credentials of all apps: one must be told
// from another by its name and unit, and the socket must be there.
func (r *reader) checkCredentials() {
	first := map[string]*value{} // by unit and name
	for _, app := range slices.Sorted(maps.Keys(r.config.Apps)) {
		for _, name := range slices.Sorted(maps.Keys(r.config.Apps[app].Credentials)) {
			v := r.entries[join(join(join("apps", app), "credentials"), name)]
			if v == nil {
				continue
			}
			if r.config.Listen.Systemd == "" {
				r.atKey(v, "is asked for at listen.systemd, which is not given")
			}
			for i, unit := range r.config.Apps[app].Credentials[name].Units {
				at := v.get("units").item(i)
				if other := first[unit+"/"+name]; other != nil {
					r.mistake(at, fmt.Sprintf("%s gets %s already, at %s", unit, name, other.place()))
					continue
				}
				first[unit+"/"+name] = at
			}
		}
	}
}

// Has reports whether the unit may have the credential.
func (c Credential) Has(unit string) bool {
	if slices.Contains(c.Units, unit) {
		return true
	}
	name, rest, instance := strings.Cut(unit, "@")
	return instance && slices.Contains(c.Units, name+"@"+filepath.Ext(rest))
}

package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"outrider/secret"
)

// checkConfig mends what reading cannot: a file without apps.
func checkConfig(_ *reader, _ *value, c *Config) {
	if c.Apps == nil {
		c.Apps = make(map[string]App)
	}
}

func checkIdentity(r *reader, v *value, i *Identity) {
	i.Name = v.key.Value
	if v.get("pkcs12") != nil || v.get("spiffe") != nil {
		return
	}
	for _, key := range []string{"certificate", "private_key"} {
		if v.get(key) == nil {
			r.missing(v, key, "")
		}
	}
}

func checkRole(r *reader, v *value, into *Role) {
	into.Name = v.key.Value
	refer(r, v, "identity", "identities", &into.Identity, r.config.Identities)
	for key, text := range map[string]string{"trust_anchor": into.TrustAnchor, "profile": into.Profile, "role": into.Role} {
		if why := misplaced(text, into.Region); why != "" {
			r.mistake(v.get(key), why)
		}
	}
	e := &into.Endpoints
	for _, over := range []struct{ own, environment *string }{
		{&e.RolesAnywhere, &r.endpoints.RolesAnywhere},
		{&e.SecretsManager, &r.endpoints.SecretsManager},
		{&e.SSM, &r.endpoints.SSM},
		{&e.SQS, &r.endpoints.SQS},
		{&e.STS, &r.endpoints.STS},
	} {
		if *over.own == "" {
			*over.own = *over.environment
		}
	}
}

func checkApp(r *reader, v *value, a *App) {
	a.Name = v.key.Value
	refer(r, v, "role", "roles", &a.Role, r.config.Roles)
	for name, ref := range a.Secrets {
		if why := misplaced(ref.ID, r.config.Roles[a.Role].Region); why != "" {
			r.mistake(v.get("secrets").get(name).get("secret"), why)
		}
	}
	for i, f := range a.Files {
		if _, ok := a.Secrets[f.Raw]; f.Raw != "" && len(a.Secrets) > 0 && !ok {
			names := slices.Collect(maps.Keys(a.Secrets))
			r.mistake(v.get("files").item(i).get("raw"), fmt.Sprintf("there is no secret %q%s", f.Raw, didYouMean(f.Raw, names)))
		}
	}
}

func checkSecret(r *reader, v *value, ref *secret.Ref) {
	stage, version := v.get("stage"), v.get("version")
	r.oneOf(v, "secret", "parameter", "parameters")
	if version == nil {
		return
	}
	if stage != nil {
		r.atKey(version, "excludes stage; give one of them")
	}
	ref.Stage = ""
}

func checkFile(r *reader, v *value, f *File) {
	f.Place = v.place() + ": " + v.path()
	source := r.oneOf(v, "template", "content", "raw")
	switch {
	case source == "template" && f.Source != "":
		text, err := r.text(f.Source)
		if err != nil {
			r.mistake(v.get("template"), f.Source+": "+cause(err))
		}
		f.Text = string(text)
	case source == "content":
		f.Source = f.Place
	}
	if f.Destination == "" {
		return
	}
	given := v.get("destination")
	if first, taken := r.destinations[f.Destination]; taken {
		r.mistake(given, "is written twice; the first is "+first.path()+" at "+first.place())
		return
	}
	r.destinations[f.Destination] = given
}

// checkDestinations refuses to overwrite what is read.
func (r *reader) checkDestinations() {
	read := slices.Clone(r.config.Files)
	for _, i := range r.config.Identities {
		read = append(read, i.Certificate, i.PrivateKey, i.Chain)
	}
	for _, path := range read {
		if v, ok := r.destinations[path]; ok {
			r.mistake(v, path+" is a file that outrider itself reads")
		}
	}
}

func checkNotify(r *reader, v *value, n *Notify) {
	n.Place = v.place() + ": " + v.path()
	verb := r.oneOf(v, "reload_unit", "restart_unit", "signal", "run")
	if verb == "signal" && v.get("pid_file") == nil {
		r.missing(v, "pid_file", "; a signal goes to the process that it names")
	}
	for key, owner := range map[string]string{"pid_file": "signal", "user": "run"} {
		if given := v.get(key); given != nil && verb != "" && verb != owner {
			r.atKey(given, "only goes with "+owner)
		}
	}
	if verb != "run" {
		return
	}
	run := v.get("run")
	switch {
	case run.Kind != yaml.SequenceNode, len(n.Run) != len(run.Content): // has a mistake of its own
	case len(n.Run) == 0 || n.Run[0] == "":
		r.mistake(run, "is empty; it starts with the program")
	case strings.Contains(n.Run[0], "/"):
		program, err := v.from.absolute(n.Run[0])
		if err != nil {
			r.mistake(run.item(0), err.Error())
		}
		n.Run[0] = program
	}
}

// oneOf returns the one key of several that a mapping has, or nothing after
// a mistake.
func (r *reader) oneOf(v *value, keys ...string) string {
	var have []string
	for _, key := range keys {
		if v.get(key) != nil {
			have = append(have, key)
		}
	}
	switch len(have) {
	case 0:
		r.atKey(v, "lacks one of "+strings.Join(keys, ", "))
	case 1:
		return have[0]
	default:
		r.atKey(v, "has "+strings.Join(have, " and ")+"; give one of them")
	}
	return ""
}

// refer checks a reference by name, and fills it in when there is only one
// thing that it can mean.
func refer[V any](r *reader, v *value, key, plural string, into *string, among map[string]V) {
	given := v.get(key)
	if _, ok := among[*into]; ok || len(among) == 0 { // none at all is a mistake already
		return
	}
	names := slices.Sorted(maps.Keys(among))
	switch {
	case given == nil && len(names) == 1:
		*into = names[0]
	case given == nil:
		r.missing(v, key, "; there are several "+plural+": "+strings.Join(names, ", "))
	case *into != "":
		r.mistake(given, fmt.Sprintf("there is no %s %q%s", key, *into, didYouMean(*into, names)))
	}
}

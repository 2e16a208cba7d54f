package config

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"

	"outrider/secret"
)

func argument() kind[string] { return anything("argument", 0, sizeLimit) }

// server takes the address of a database server.
func server() kind[string] {
	local := socket()
	return kind[string]{takes: "host, host:port or " + local.takes, parse: func(from *source, text string) (string, error) {
		if strings.HasPrefix(text, "unix:") {
			path, err := local.parse(from, text)
			return "unix:" + path, err
		}
		host, port, err := net.SplitHostPort(text)
		if err != nil {
			host = text
		}
		_, notIP := netip.ParseAddr(host)
		switch {
		case strings.Contains(text, "@"): // what stands before it may be a password
			return "", errors.New("is not host:port, such as db.internal:3306")
		case notIP != nil && !spelled(host, "_.-"), strings.ContainsFunc(host, unicode.IsControl), err == nil && port == "", !isPort(port):
			return "", fmt.Errorf("%q is not host:port, such as db.internal:3306", text)
		}
		return text, nil
	}}
}

func checkApp(r *reader, v *value, a *App) {
	a.Name = v.key.Value
	refer(r, v, "role", "roles", &a.Role, r.config.Roles)
	for name, ref := range a.Secrets {
		if why := misplaced(ref.ID, r.config.Roles[a.Role].Region, "role"); why != "" {
			r.mistake(v.get("secrets").get(name).get(ref.Kind.String()), why)
		}
	}
	for i, f := range a.Files {
		r.checkOneValue(a, v.get("files").item(i).get("raw"), f.Raw)
	}
	for i, t := range a.Verify {
		if t.MySQL != nil {
			r.checkOneValue(a, v.get("verify").item(i).get("mysql").get("secret"), t.MySQL.Secret)
		}
	}
	checkTogether(r, v, a)
	checkDelivered(r, v, a)
	if a.Layout == "directory" {
		checkOneFolder(r, v, a)
	}
	r.program(v.get("check"), a.Check)
	if a.Settle > a.LongestWait && a.LongestWait > 0 { // 0 was a mistake
		r.mistake(v.get("settle"), fmt.Sprintf("%s is longer than longest_wait, %s, which bounds it", brief(a.Settle), brief(a.LongestWait)))
	}
}

// checkSecretName checks a name that stands at v for one of an app's secrets.
func (r *reader) checkSecretName(a *App, v *value, name string) {
	if _, ok := a.Secrets[name]; ok || name == "" || len(a.Secrets) == 0 { // the last two have a mistake of their own
		return
	}
	r.mistake(v, fmt.Sprintf("there is no secret %q%s", name, didYouMean(name, slices.Collect(maps.Keys(a.Secrets)))))
}

// checkOneValue checks, beyond that, that it is no path of parameters.
func (r *reader) checkOneValue(a *App, v *value, name string) {
	r.checkSecretName(a, v, name)
	if a.Secrets[name].Kind == secret.Parameters {
		r.mistake(v, fmt.Sprintf("%s is a path of parameters, which has no value of its own; take one with parameter", name))
	}
}

func checkTogether(r *reader, v *value, a *App) {
	first := make(map[string]*value)
	for i, group := range a.Together {
		at := v.get("together").item(i)
		if at.Kind != yaml.SequenceNode || len(group) != len(at.Content) {
			continue // has a mistake of its own
		}
		if len(group) < 2 {
			r.mistake(at, "a group has two secrets or more")
		}
		for j, name := range group {
			item := at.item(j)
			if first[name] != nil {
				r.mistake(item, fmt.Sprintf("secret %s is in a group already, at %s", name, first[name].place()))
				continue
			}
			first[name] = item
			r.checkSecretName(a, item, name)
		}
	}
}

// checkOneFolder sees to it that one symbolic link, in place of one folder,
// can bring all files of an app.
func checkOneFolder(r *reader, v *value, a *App) {
	folder := ""
	for i, f := range a.Files {
		at := v.get("files").item(i)
		if f.InPlace {
			r.atKey(at.get("in_place"), "excludes layout: directory")
		}
		own := filepath.Dir(f.Destination)
		switch {
		case f.Destination == "": // has a mistake of its own
		case own == "/":
			r.mistake(at.get("destination"), "layout: directory replaces the folder of the files, and / cannot be replaced")
		case folder == "":
			folder = own
		case folder != own:
			r.mistake(at.get("destination"), "is not in "+folder+"; layout: directory replaces one folder, which holds all of the app's files")
		}
	}
}

func checkSecret(r *reader, v *value, ref *secret.Ref) {
	stage, version := v.get("stage"), v.get("version")
	form := r.oneOf(v, "secret", "parameter", "parameters")
	r.goesWith(v, form, "stage", "secret")
	r.goesWith(v, form, "version", "secret")
	r.goesWith(v, form, "recursive", "parameters")
	switch form {
	case "parameter":
		ref.Kind, ref.Stage = secret.Parameter, ""
	case "parameters":
		ref.Kind, ref.Stage = secret.Parameters, ""
	}
	if version == nil || ref.Kind != secret.SecretsManager {
		return
	}
	if stage != nil {
		r.atKey(version, "excludes stage; give one of them")
	}
	ref.Stage = ""
}

func checkSealed(r *reader, v *value, s *Sealed) {
	if s.Path != "" {
		r.write(v.get("path"), s.Path)
	}
}

func checkVerify(r *reader, v *value, t *Verify) {
	t.Place = v.place() + ": " + v.path()
	form := r.oneOf(v, "mysql", "run", "tls_pair")
	r.goesWith(v, form, "user", "run")
	r.goesWith(v, form, "timeout", "run")
	r.program(v.get("run"), t.Run)
}

func checkMySQL(r *reader, v *value, m *VerifyMySQL) {
	if strings.HasPrefix(m.Address, "unix:") {
		for _, key := range []string{"tls", "ca"} {
			if given := v.get(key); given != nil {
				r.atKey(given, "is for connections over TCP; over a socket there is no TLS")
			}
		}
		return
	}
	if m.CA != "" && (m.TLS == "require" || m.TLS == "off") {
		r.atKey(v.get("ca"), "is not used with tls: "+m.TLS+"; leave one of them out")
	}
}

func checkNotify(r *reader, v *value, n *Notify) {
	n.Place = v.place() + ": " + v.path()
	verb := r.oneOf(v, "reload_unit", "restart_unit", "signal", "run")
	if verb == "signal" && v.get("pid_file") == nil {
		r.missing(v, "pid_file", "; a signal goes to the process that it names")
	}
	r.goesWith(v, verb, "pid_file", "signal")
	r.goesWith(v, verb, "user", "run")
	if verb == "run" {
		r.program(v.get("run"), n.Run)
	}
}

func checkConfirm(r *reader, v *value, c *Confirm) {
	r.program(v.get("run"), c.Run)
}

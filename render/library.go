package render

import (
	"iter"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/Masterminds/sprig/v3"
)

// entry is a function under one of its names. The tables below are lists, as
// these cost next to nothing to make for each template.
type entry struct {
	name     string
	function any
}

// ours returns the functions that differ from all models, or are new.
func ours() []entry {
	return []entry{
		{"dig", dig},
		{"fail", fail},
		{"get", get},
		{"keys", keys},
		{"raw", func(v any) any { return v }},
		{"values", values},
		// Under Sprig's names as well, whose own have no order.
		{"sprig_keys", keys},
		{"sprig_values", values},
		{"sprig_fail", fail},
	}
}

// own returns all functions that are not Sprig's. They win over Sprig's.
func own(yield func(entry) bool) {
	for _, table := range []func() []entry{ours, builtins, consul} {
		for _, e := range table() {
			if !yield(e) {
				return
			}
		}
	}
}

// library finds functions while one template is parsed.
type library struct {
	sprig map[string]any // all of Sprig's; a copy, made when the first is needed
}

func (l *library) load() {
	if l.sprig == nil {
		l.sprig = sprig.TxtFuncMap()
		l.sprig["durationRound"] = durationRound(l.sprig["durationRound"])
	}
}

// find returns the function of a name.
func (l *library) find(name string) (reflect.Value, error) {
	bare, isSprig := strings.CutPrefix(name, "sprig_")
	if why := refused(bare); why != "" {
		return reflect.Value{}, faultf("there is no such function: %s", why)
	}
	for e := range own {
		if e.name == name {
			return reflect.ValueOf(e.function), nil
		}
	}
	l.load()
	if f, ok := l.sprig[bare]; ok {
		return reflect.ValueOf(f), nil
	}
	near := suggestion(name, l.names())
	if isSprig {
		near = suggestion(bare, maps.Keys(l.sprig))
	}
	return reflect.Value{}, faultf("there is no such function%s", near)
}

// names yields the names of all functions, sorted: text/template's "and" and
// "or" too, and of Sprig's two names for a function the short one, where it
// is Sprig's.
func (l *library) names() iter.Seq[string] {
	l.load()
	all := []string{"and", "or"}
	for e := range own {
		all = append(all, e.name)
	}
	for name := range l.sprig {
		if slices.Contains(all, name) {
			name = "sprig_" + name
		}
		if refused(strings.TrimPrefix(name, "sprig_")) == "" {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return slices.Values(slices.Compact(all))
}

// fail ends the execution. Its message is shown only if it stands in the
// template's text.
func fail(c call, message string) (string, error) {
	if c.shown(0, message) == "" {
		message = "the template ends itself here; its message is not shown, it may hold a value"
	}
	return "", fault(message)
}

// durationRound keeps Sprig's from reading the clock, as it does for a date.
func durationRound(function any) func(any) (string, error) {
	return func(v any) (string, error) {
		round, ok := function.(func(any) string)
		if _, isDate := v.(time.Time); isDate || !ok {
			return "", fault("the time since a date is not available: a template does not read the clock")
		}
		return round(v), nil
	}
}

// refused returns why there is no function of that name here, and what to
// write in its place; empty for every other name.
func refused(name string) string {
	switch name {
	case "env", "mustEnv", "envOrDefault", "expandenv":
		return "a template does not read the environment; write the value into the template, or into a secret"
	case "timestamp", "now", "ago", "date", "dateInZone", "date_in_zone", "htmlDate", "htmlDateInZone":
		return "a template does not read the clock, or the file would change at every look; for a date in a secret write (toDate \"2006-01-02\" .NAME).Format \"02.01.2006\""
	case "dateModify", "date_modify":
		return "a template does not read the clock; write mustDateModify"
	case "file":
		return "a template reads no files; write the text into the template, or into a secret"
	case "writeToFile":
		return "a template writes no files; add an entry under files:"
	case "plugin":
		return "a template runs no programs; run it where the secret is made, or under notify:"
	case "call":
		return "templates have no functions as values; write the function's name alone"
	case "randAlpha", "randAlphaNum", "randAscii", "randNumeric", "randBytes", "randInt", "shuffle", "uuidv4",
		"bcrypt", "htpasswd", "encryptAES", "genPrivateKey", "genCA", "genCAWithKey", "genSelfSignedCert",
		"genSelfSignedCertWithKey", "genSignedCert", "genSignedCertWithKey":
		return "its result is random, so the file would change at every look; keep the result in a secret"
	case "getHostByName", "sockaddr":
		return "a template does not use the network; write the address into the template, or into a secret"
	case "spew_dump", "spew_printf", "spew_sdump", "spew_sprintf":
		return "write toJSON"
	case "byKey":
		return "it takes what a store returns; write explode"
	case "byTag", "byMeta", "byPort":
		return "it takes what a store returns; write range"
	case "secret", "secrets", "key", "keyExists", "keyOrDefault", "ls", "safeLs", "tree", "safeTree",
		"service", "services", "node", "nodes", "datacenters", "partitions", "peerings", "exportedServices",
		"connect", "caLeaf", "caRoots", "pkiCert", "pkiSign",
		"nomadService", "nomadServices", "nomadVar", "nomadVarExists", "nomadVarList", "nomadVarListSafe":
		return "a template asks no store; name the secret under secrets: and write {{ .NAME.field }}"
	}
	return ""
}

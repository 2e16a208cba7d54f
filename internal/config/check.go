package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// checkConfig mends what reading cannot: a file without apps.
func checkConfig(r *reader, v *value, c *Config) {
	if place := v.get("confine"); place != nil {
		r.confine = place
	}
	if c.Apps == nil {
		c.Apps = make(map[string]App)
	}
}

// program makes the program of a command absolute when it is a path. Run may
// be nil: no command is given.
func (r *reader) program(run *value, argv []string) {
	switch {
	case run == nil, run.Kind != yaml.SequenceNode, len(argv) != len(run.Content): // nothing, or a mistake of its own
	case len(argv) == 0 || argv[0] == "":
		r.mistake(run, "is empty; it starts with the program")
	case strings.Contains(argv[0], "/"):
		program, err := run.from.absolute(argv[0])
		if err != nil {
			r.mistake(run.item(0), err.Error())
		}
		argv[0] = program
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

// goesWith refuses a key beside another than those that it goes with. Chosen
// is what oneOf gave.
func (r *reader) goesWith(v *value, chosen, key string, owners ...string) {
	if given := v.get(key); given != nil && chosen != "" && !slices.Contains(owners, chosen) {
		r.atKey(given, "only goes with "+strings.Join(owners, " or "))
	}
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

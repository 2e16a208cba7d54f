package render

import (
	"maps"
	"reflect"
	"slices"
)

// The functions that look fields up. Unlike their models in text/template and
// Sprig they fail when a field does not exist.

// shown returns a name for errors if it stands in the template's text, else
// an empty one: it may be a value.
func (c call) shown(argument int, name string) string {
	if argument < len(c.site.literal) && c.site.literal[argument] {
		return name
	}
	return ""
}

// index returns v[key][key]….
func index(c call, v any, keys ...any) (any, error) {
	at, where := reflect.ValueOf(v), c.site.base
	for i, key := range keys {
		k := reflect.ValueOf(key)
		switch {
		case at.Kind() == reflect.Map:
			name, ok := convert(k, at.Type().Key())
			if !ok {
				return nil, faultf("argument %d is %s, it wants %s", i+2, kindOf(k), kindOf(reflect.Zero(at.Type().Key())))
			}
			text, _ := scalar(concrete(name))
			shown := c.shown(i+1, text)
			next := at.MapIndex(name)
			if !next.IsValid() {
				return nil, c.missing(where, shown)
			}
			at, where = concrete(next), where.append([]string{shown})
			if shown == "" {
				where = origin{}
			}
		case at.Kind() == reflect.Slice || isText(at):
			n, ok := numberOf(k)
			if !ok || !n.whole || n.i < 0 || n.i >= int64(at.Len()) {
				return nil, fault("the index is out of range")
			}
			at, where = concrete(at.Index(int(n.i))), origin{}
		default:
			return nil, faultf("it cannot index %s", kindOf(at))
		}
	}
	if !at.IsValid() {
		return nil, nil
	}
	return at.Interface(), nil
}

func get(c call, object map[string]any, name string) (any, error) {
	v, ok := object[name]
	if !ok {
		return nil, c.missing(c.site.base, c.shown(1, name))
	}
	return v, nil
}

// dig takes what Sprig's does: names, a default, an object. The default is
// not used.
func dig(c call, first, second, third any, more ...any) (any, error) {
	args := append([]any{first, second, third}, more...)
	names, at := args[:len(args)-2], args[len(args)-1]
	for i, n := range names {
		object, ok := at.(map[string]any)
		name, isText := n.(string)
		if !ok || !isText {
			return nil, faultf("it wants names, a default and an object; %s has no fields", kindOf(reflect.ValueOf(at)))
		}
		if at, ok = object[name]; !ok {
			return nil, faultf("%v; the default is for sprig_dig", c.missing(origin{}, c.shown(i, name)))
		}
	}
	return at, nil
}

// keys returns the names of all the objects, sorted.
func keys(objects ...map[string]any) []string {
	names := []string{}
	for _, o := range objects {
		names = slices.AppendSeq(names, maps.Keys(o))
	}
	slices.Sort(names)
	return names
}

// values returns the values of an object, sorted by their names.
func values(object map[string]any) []any {
	out := []any{}
	for _, name := range keys(object) {
		out = append(out, object[name])
	}
	return out
}

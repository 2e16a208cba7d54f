package config

import (
	"slices"

	"go.yaml.in/yaml/v3"
)

// row is what is known of a key without the type that it fills: enough to
// document it.
type row struct {
	name     string
	takes    string // what a value looks like
	preset   string // what is taken when the key is left out; empty: nothing
	doc      string // one line
	required bool
	unbuilt  bool
	step     string // of nested rows: what follows the parent's path
	inner    []row
}

// key is one line of a table: a key, and how its value gets into a T.
type key[T any] struct {
	row
	read func(r *reader, v *value, into *T)
	fill func(into *T) // what is done when the key is left out; nil: nothing
}

// table is the keys of one mapping. They are read in the table's order, not
// the file's, so that a reference finds what it refers to.
type table[T any] struct {
	keys  []key[T]
	check func(r *reader, v *value, into *T) // what no key can tell alone; nil: nothing
}

func (t table[T]) rows() []row {
	rows := make([]row, len(t.keys))
	for i, k := range t.keys {
		rows[i] = k.row
	}
	return rows
}

func (t table[T]) names() []string {
	names := make([]string, len(t.keys))
	for i, k := range t.keys {
		names[i] = k.name
	}
	return names
}

// read fills into from a mapping.
func (t table[T]) read(r *reader, v *value, into *T) {
	if !r.is(v, yaml.MappingNode, "a mapping") {
		return
	}
	seen := t.seen(r, v)
	for i, k := range t.keys {
		switch {
		case seen[i] != nil && k.required && k.inner != nil && seen[i].empty():
			r.atKey(seen[i], "is empty; there must be at least one")
		case seen[i] != nil:
			k.read(r, seen[i], into)
		case k.required:
			r.missing(v, k.name, "")
		case k.fill != nil:
			k.fill(into)
		}
	}
	if t.check != nil {
		t.check(r, v, into)
	}
}

// seen returns the mapping's values in the table's order.
func (t table[T]) seen(r *reader, v *value) []*value {
	seen := make([]*value, len(t.keys))
	children := v.children()
	for i := range children {
		child := &children[i]
		at := t.index(child.key.Value)
		switch {
		case child.key.Tag == "!!merge":
			r.atKey(child, noAliases)
		case at < 0:
			r.atKey(child, "unknown key"+didYouMean(child.key.Value, t.names()))
			// Read on as if it were spelled right: it is one mistake, not also
			// a missing key, and the value may hold others.
			if near := nearest(child.key.Value, t.names()); near != "" && v.get(near) == nil {
				child.key.Value = near
				seen[t.index(near)] = child
			}
		case seen[at] != nil:
			r.atKey(child, "duplicate key; the first is at "+seen[at].place())
		default:
			seen[at] = child
		}
	}
	return seen
}

func (t table[T]) index(name string) int {
	return slices.IndexFunc(t.keys, func(k key[T]) bool { return k.name == name })
}

// fill gives every key its default, for a mapping that is left out.
func (t table[T]) fill(into *T) {
	for _, k := range t.keys {
		if k.fill != nil {
			k.fill(into)
		}
	}
}

// must makes a key required.
func must[T any](k key[T]) key[T] {
	k.required = true
	return k
}

// field is a key with one plain value. The preset is parsed as the file's
// values are.
func field[T, V any](name string, k kind[V], preset, doc string, at func(*T) *V) key[T] {
	f := key[T]{row: row{name: name, takes: k.takes, preset: preset, doc: doc}}
	f.read = func(r *reader, v *value, into *T) {
		if parsed, ok := k.read(r, v); ok {
			*at(into) = parsed
		}
	}
	if preset != "" {
		// An error cannot be: the tests read every preset.
		standard, _ := k.parse(&source{}, preset)
		f.fill = func(into *T) { *at(into) = standard }
	}
	return f
}

// list is a key with plain values in a list.
func list[T, V any](name string, k kind[V], doc string, at func(*T) *[]V) key[T] {
	takes := "list of " + k.takes + "s"
	return key[T]{row: row{name: name, takes: takes, doc: doc}, read: func(r *reader, v *value, into *T) {
		if !r.is(v, yaml.SequenceNode, "a "+takes) {
			return
		}
		children := v.children()
		for i := range children {
			if parsed, ok := k.read(r, &children[i]); ok {
				*at(into) = append(*at(into), parsed)
			}
		}
	}}
}

// lists is a key with lists of plain values in a list.
func lists[T, V any](name string, k kind[V], doc string, at func(*T) *[][]V) key[T] {
	inner := list(name, k, doc, func(into *[]V) *[]V { return into })
	takes := "list of lists of " + k.takes + "s"
	return key[T]{row: row{name: name, takes: takes, doc: doc}, read: func(r *reader, v *value, into *T) {
		if !r.is(v, yaml.SequenceNode, "a "+takes) {
			return
		}
		children := v.children()
		for i := range children {
			var entry []V
			inner.read(r, &children[i], &entry)
			*at(into) = append(*at(into), entry)
		}
	}}
}

// within is a key with a mapping of its own.
func within[T, V any](name string, t table[V], doc string, at func(*T) *V) key[T] {
	return key[T]{
		row:  row{name: name, takes: "mapping", doc: doc, inner: t.rows()},
		read: func(r *reader, v *value, into *T) { t.read(r, v, at(into)) },
		fill: func(into *T) { t.fill(at(into)) },
	}
}

// maybe is a key with a mapping of its own, which is nil when it is left out.
func maybe[T, V any](name string, t table[V], doc string, at func(*T) **V) key[T] {
	return key[T]{
		row: row{name: name, takes: "mapping", doc: doc, inner: t.rows()},
		read: func(r *reader, v *value, into *T) {
			*at(into) = new(V)
			t.read(r, v, *at(into))
		},
	}
}

// items is a key with mappings in a list.
func items[T, V any](name string, t table[V], doc string, at func(*T) *[]V) key[T] {
	return key[T]{
		row: row{name: name, takes: "list of mappings", doc: doc, step: "[]", inner: t.rows()},
		read: func(r *reader, v *value, into *T) {
			if !r.is(v, yaml.SequenceNode, "a list") {
				return
			}
			children := v.children()
			for i := range children {
				var entry V
				t.read(r, &children[i], &entry)
				*at(into) = append(*at(into), entry)
			}
		},
	}
}

// named is a key with mappings by name. A name may be given once in all
// files.
func named[T, V any](name string, names kind[string], t table[V], doc string, at func(*T) *map[string]V) key[T] {
	return key[T]{
		row: row{name: name, takes: "mapping by name", doc: doc, step: ".NAME", inner: t.rows()},
		read: func(r *reader, v *value, into *T) {
			if !r.is(v, yaml.MappingNode, "a mapping by name") {
				return
			}
			children := v.children()
			if *at(into) == nil {
				*at(into) = make(map[string]V, len(children))
			}
			for i := range children {
				child := &children[i]
				if !r.claim(child, names) {
					continue
				}
				var entry V
				t.read(r, child, &entry)
				(*at(into))[child.key.Value] = entry
			}
		},
	}
}

// unbuilt is a key that is known but does nothing yet: it is refused.
func unbuilt[T any](name, takes, doc string) key[T] {
	return key[T]{
		row:  row{name: name, takes: takes, doc: doc, unbuilt: true},
		read: func(r *reader, v *value, _ *T) { r.atKey(v, "not built yet") },
	}
}

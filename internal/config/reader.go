package config

import (
	"strconv"
	"syscall"

	"go.yaml.in/yaml/v3"
)

const noAliases = "anchors, aliases and merge keys are not supported; write the value out"

// reader is one Load under way.
type reader struct {
	config       *Config
	getenv       func(string) string
	instance     string
	endpoints    Endpoints // of the environment
	mistakes     Mistakes
	entries      map[string]*value // the named ones, by their paths
	confine      *value            // where that is said; nil: nowhere
	destinations map[string]*value // where each destination was first given
	templates    map[string]template
	judged       map[string]bool // folders, by who may exchange what is in them
}

// template is what reading a template's file gave.
type template struct {
	text []byte
	err  error
}

// wrong adds a mistake that has no place within a file.
func (r *reader) wrong(file, text string) {
	r.mistakes = append(r.mistakes, Mistake{File: file, Text: text})
}

// mistake adds a mistake that stands at a value.
func (r *reader) mistake(v *value, text string) { r.add(v, v.Node, v.path(), text) }

// atKey adds a mistake that stands at a value's key.
func (r *reader) atKey(v *value, text string) { r.add(v, v.start(), v.path(), text) }

// missing adds a mistake about a key that a mapping lacks.
func (r *reader) missing(v *value, key, why string) {
	r.add(v, v.start(), join(v.path(), key), "missing"+why)
}

func (r *reader) add(v *value, at *yaml.Node, path, text string) {
	r.mistakes = append(r.mistakes, Mistake{File: v.from.name, Line: at.Line, Column: at.Column, Key: path, Text: text})
}

// is reports whether a value is of a kind of node, and plain YAML at that.
func (r *reader) is(v *value, kind yaml.Kind, takes string) bool {
	switch {
	case v.Kind == yaml.AliasNode, v.Anchor != "":
		r.mistake(v, noAliases)
	case v.Style&yaml.TaggedStyle != 0:
		r.mistake(v, "tags such as "+strconv.Quote(v.Tag)+" are not supported; leave it out")
	case v.Tag == "!!null":
		r.atKey(v, "has no value; give it one or leave it out")
	case v.Kind != kind:
		r.mistake(v, "wants "+takes+"; got "+v.what())
	default:
		return true
	}
	return false
}

// claim checks the name of an entry and takes it for the entry.
func (r *reader) claim(v *value, names kind[string]) bool {
	path := v.path()
	if first, taken := r.entries[path]; taken {
		r.atKey(v, "is there twice; the first is at "+first.place())
		return false
	}
	r.entries[path] = v
	if v.key.Tag == "!!merge" {
		r.atKey(v, noAliases)
		return false
	}
	if _, err := names.parse(v.from, v.key.Value); err != nil {
		r.atKey(v, err.Error())
	}
	return true
}

// text returns what a template's file holds. A file is read once.
func (r *reader) text(path string) ([]byte, error) {
	t, known := r.templates[path]
	if !known {
		var st *syscall.Stat_t
		t.text, st, t.err = readFile(path)
		r.templates[path] = t
		if t.err == nil {
			r.distrust(path, st, true)
			r.config.Files = append(r.config.Files, path)
		}
	}
	return t.text, t.err
}

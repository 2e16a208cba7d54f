package config

import (
	"fmt"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// source is one file of the configuration.
type source struct {
	name        string // as the operator named it; it stands in every place
	folder      string // absolute: where relative paths start
	instance    string // what %i stands for; empty: nothing
	credentials string // systemd's folder; empty: not set
}

// value is one node of a file, and the way that led to it.
type value struct {
	*yaml.Node
	from   *source
	parent *value     // nil: the document
	key    *yaml.Node // nil in a list, and of the document
	index  int        // in a list
}

// children returns the values of a mapping's keys or a list's entries.
func (v *value) children() []value {
	size := len(v.Content)
	if v.Kind == yaml.MappingNode {
		size /= 2
	}
	children := make([]value, size)
	for i := range children {
		children[i] = v.child(i)
	}
	return children
}

func (v *value) child(i int) value {
	if v.Kind == yaml.MappingNode {
		return value{Node: v.Content[2*i+1], from: v.from, parent: v, key: v.Content[2*i]}
	}
	return value{Node: v.Content[i], from: v.from, parent: v, index: i}
}

// item returns the entry of a list.
func (v *value) item(i int) *value {
	item := v.child(i)
	return &item
}

// get returns the value of a mapping's key, or nil when it is not there.
func (v *value) get(name string) *value {
	for i := 0; 2*i < len(v.Content); i++ {
		if v.Content[2*i].Value == name {
			return v.item(i)
		}
	}
	return nil
}

// within reports whether the value is part of another, or that one itself.
func (v *value) within(other *value) bool {
	for ; v != nil; v = v.parent {
		if v == other {
			return true
		}
	}
	return false
}

// path returns the way from the document, such as apps.billing.files[0].
func (v *value) path() string {
	switch {
	case v.parent == nil:
		return ""
	case v.key == nil:
		return v.parent.path() + "[" + strconv.Itoa(v.index) + "]"
	}
	name := v.key.Value
	if !spelled(name, "_.-") {
		name = strconv.Quote(name)
	}
	return join(v.parent.path(), name)
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// start returns the node that a person looks for: the key, else the value.
func (v *value) start() *yaml.Node {
	if v.key != nil {
		return v.key
	}
	return v.Node
}

// place returns file:line:col of the start.
func (v *value) place() string {
	n := v.start()
	return fmt.Sprintf("%s:%d:%d", v.from.name, n.Line, n.Column)
}

// empty reports whether the value is a mapping or a list without entries.
func (v *value) empty() bool {
	return (v.Kind == yaml.MappingNode || v.Kind == yaml.SequenceNode) && len(v.Content) == 0
}

// what names the type of a value as a person would.
func (v *value) what() string {
	switch {
	case v.Kind == yaml.MappingNode:
		return "a mapping"
	case v.Kind == yaml.SequenceNode:
		return "a list"
	case v.Tag == "!!bool":
		return "a boolean (in quotes it is text)"
	case v.Tag == "!!int", v.Tag == "!!float":
		return "a number"
	default:
		return "text"
	}
}

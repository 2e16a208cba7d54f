package render

import (
	"fmt"
	"reflect"
	"strings"
	"text/template"
)

// builtins returns the functions that text/template has itself, but for "and"
// and "or". They are written anew because its own print values in their
// errors, are content with fields that do not exist, and take json.Number for
// text.
func builtins() []entry {
	return []entry{
		{"html", template.HTMLEscaper},
		{"js", template.JSEscaper},
		{"urlquery", template.URLQueryEscaper},
		{"not", func(v any) bool { truth, _ := template.IsTrue(v); return !truth }},
		{"len", length},
		{"slice", slice},
		{"index", index},
		{"print", func(args ...any) (string, error) { return printable(fmt.Sprint, args) }},
		{"println", func(args ...any) (string, error) { return printable(fmt.Sprintln, args) }},
		{"printf", printf},
		{"eq", equalAny},
		{"ne", func(a, b any) (bool, error) { same, err := equal(a, b); return !same, err }},
		{"lt", ordered(func(c int) bool { return c < 0 })},
		{"le", ordered(func(c int) bool { return c <= 0 })},
		{"gt", ordered(func(c int) bool { return c > 0 })},
		{"ge", ordered(func(c int) bool { return c >= 0 })},
	}
}

func length(v any) (int, error) {
	r := reflect.ValueOf(v)
	if _, isNumber := numberOf(r); !isNumber {
		switch r.Kind() {
		case reflect.Map, reflect.Slice, reflect.Array, reflect.String:
			return r.Len(), nil
		}
	}
	return 0, faultf("%s has no length", kindOf(r))
}

// slice returns v[from:to] of text, bytes or a list.
func slice(v any, bounds ...int) (any, error) {
	r := reflect.ValueOf(v)
	if !isText(r) && r.Kind() != reflect.Slice {
		return nil, faultf("it cannot cut %s", kindOf(r))
	}
	from, to := 0, r.Len()
	switch len(bounds) {
	case 0:
	case 1:
		from = bounds[0]
	case 2:
		from, to = bounds[0], bounds[1]
	default:
		return nil, fault("it wants two bounds at most")
	}
	if from < 0 || from > to || to > r.Len() {
		return nil, fault("its bounds are out of range")
	}
	return r.Slice(from, to).Interface(), nil
}

// printable calls one of fmt's functions with bytes as text. A null would
// come out as <nil>.
func printable(sprint func(...any) string, args []any) (string, error) {
	out := make([]any, len(args))
	for i, a := range args {
		switch a := a.(type) {
		case nil:
			return "", faultf("argument %d is null: there is nothing to insert", i+1)
		case []byte:
			out[i] = string(a)
		default:
			out[i] = a
		}
	}
	return sprint(out...), nil
}

// printf is fmt.Sprintf, with an error where that would write %!d(…) into
// the text.
func printf(format string, args ...any) (string, error) {
	const mark = "%!"
	out, err := printable(func(args ...any) string { return fmt.Sprintf(format, args...) }, args)
	if err != nil {
		return "", err
	}
	expected := strings.Count(format, mark)
	for _, a := range args {
		expected += strings.Count(fmt.Sprint(a), mark)
	}
	if strings.Count(out, mark) > expected {
		return "", fault("its format does not fit its arguments")
	}
	return out, nil
}

// equalAny reports whether the first argument equals any of the others.
func equalAny(a, b any, more ...any) (bool, error) {
	same, err := equal(a, b)
	for i := 0; i < len(more) && !same && err == nil; i++ {
		same, err = equal(a, more[i])
	}
	return same, err
}

func equal(a, b any) (bool, error) {
	if a == nil || b == nil {
		return a == nil && b == nil, nil
	}
	x, okX := a.(bool)
	y, okY := b.(bool)
	if okX && okY {
		return x == y, nil
	}
	c, err := compare(reflect.ValueOf(a), reflect.ValueOf(b))
	return c == 0, err
}

func ordered(accept func(int) bool) func(a, b any) (bool, error) {
	return func(a, b any) (bool, error) {
		c, err := compare(reflect.ValueOf(a), reflect.ValueOf(b))
		return err == nil && accept(c), err
	}
}

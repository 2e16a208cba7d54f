package render

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"text/template"

	"outrider/secret"
)

// execution is one run of a template on one snapshot.
type execution struct {
	template *Template
	snapshot secret.Snapshot
	set      *template.Template
	scratch  scratch
	budget
	last *site // the last site that was reached: where an error without a place belongs
}

// call is what a function takes as its first parameter when it needs to know
// the run and the place it is called from.
type call struct {
	*execution
	site *site
}

func (x *execution) run() (out []byte, err error) {
	// Functions are guarded one by one; this is for text/template itself. The
	// text of a panic may hold a value, so it is not kept.
	defer func() {
		if recover() != nil {
			out, err = nil, x.lost()
		}
	}()
	x.set = template.New("").Funcs(template.FuncMap{
		callFunc: x.call, fieldFunc: x.field, printFunc: x.print, rangeFunc: x.ranged, enterFunc: x.enter, leaveFunc: x.leave,
	})
	for name, tree := range x.template.trees {
		if _, err := x.set.AddParseTree(name, tree); err != nil {
			return nil, x.lost()
		}
	}
	root := make(map[string]any, len(x.template.secrets))
	for _, name := range x.template.secrets {
		if v, ok := x.snapshot.Get(name); ok {
			root[name] = decode(v)
		}
	}
	result := sheet{x: x}
	if err := x.set.Execute(&result, root); err != nil {
		return nil, x.typed(err)
	}
	if g := x.template.grammar; g != nil {
		if err := g.check(result.b); err != nil {
			return nil, &Error{Source: x.template.source, Message: faultf("the result is not %s: %v", x.template.format, err).Error()}
		}
	}
	return result.b, nil
}

// typed returns the *Error within what text/template returned.
func (x *execution) typed(err error) error {
	if known, ok := errors.AsType[*Error](err); ok {
		return known
	}
	return x.lost()
}

// lost is the Error for a failure of which nothing else can safely be told.
func (x *execution) lost() error {
	pos := 0
	if x.last != nil {
		pos = x.last.pos
	}
	return x.template.failure(pos, "", fault("the template stops near here: perhaps it calls itself without end"))
}

// reached returns the site that the first argument of each of ours stands for.
func (x *execution) reached(number reflect.Value) *site {
	x.last = &x.template.sites[number.Int()]
	return x.last
}

// call calls a function.
func (x *execution) call(number reflect.Value, args ...reflect.Value) (reflect.Value, error) {
	st := x.reached(number)
	out, err := x.invoke(st, st.function, args)
	if err != nil {
		return reflect.Value{}, x.template.failure(st.pos, st.name, err)
	}
	return st.finished(out, args), nil
}

// finished marks the result of a call that is finished text. Indented, it is
// that still.
func (st *site) finished(result reflect.Value, args []reflect.Value) reflect.Value {
	t := st.finish
	switch strings.TrimPrefix(st.name, "sprig_") {
	case "indent", "nindent":
		if last := concrete(args[len(args)-1]); last.IsValid() && isFinished(last.Type()) {
			t = last.Type()
		}
	}
	if t != nil && result.Kind() == reflect.String {
		return result.Convert(t)
	}
	return result
}

// invoke calls a function or method with what its parameters want.
func (x *execution) invoke(st *site, function reflect.Value, args []reflect.Value) (out reflect.Value, err error) {
	defer func() {
		if recover() != nil {
			out, err = reflect.Value{}, errArguments
		}
	}()
	typ := function.Type()
	if err := arity(typ, len(args)); err != nil {
		return reflect.Value{}, err
	}
	in, err := converted(typ, args)
	if err != nil {
		return reflect.Value{}, err
	}
	if err := bounded(st.name, in); err != nil {
		return reflect.Value{}, err
	}
	if err := x.charge(st.name, in); err != nil {
		return reflect.Value{}, err
	}
	if wantsCall(typ) == 1 {
		in = slices.Insert(in, 0, reflect.ValueOf(call{x, st}))
	}
	results := function.Call(in)
	if len(results) == 2 {
		if err, failed := reflect.TypeAssert[error](results[1]); failed {
			return reflect.Value{}, err
		}
	}
	out = concrete(results[0])
	if !passes(st.name) {
		err = x.charge("", []reflect.Value{out})
	}
	return out, err
}

// field follows the names of a field access down from its base. The last may
// be a method, which takes the arguments.
func (x *execution) field(number, base reflect.Value, args ...reflect.Value) (reflect.Value, error) {
	st := x.reached(number)
	v, pos := concrete(base), st.pos
	for i, name := range st.fields {
		var given []reflect.Value
		if i == len(st.fields)-1 {
			given = args
		}
		next, function, err := x.step(st.base.append(st.fields[:i]), v, name, given)
		if err != nil {
			return reflect.Value{}, x.template.failure(pos, function, err)
		}
		v = next
		pos += len(name) + 1
	}
	return v, nil
}

// step goes from v, which comes from where, to one of its fields, or calls
// its method: the function that is named for errors.
func (x *execution) step(where origin, v reflect.Value, name string, args []reflect.Value) (next reflect.Value, function string, err error) {
	if !v.IsValid() {
		return v, "", faultf("%s is null: it has no field %s", where, name)
	}
	if method := v.MethodByName(name); method.IsValid() {
		next, err = x.invoke(&site{name: name}, method, args)
		return next, name, err
	}
	if len(args) > 0 {
		return v, "", faultf("field %s is not a function: it takes no arguments", name)
	}
	switch v.Kind() {
	case reflect.Map:
		if key, ok := convert(reflect.ValueOf(name), v.Type().Key()); ok {
			if next = v.MapIndex(key); !next.IsValid() {
				return v, "", x.missing(where, name)
			}
			return concrete(next), "", nil
		}
	case reflect.Struct:
		if f, ok := v.Type().FieldByName(name); ok && f.IsExported() {
			return concrete(v.FieldByIndex(f.Index)), "", nil
		}
	}
	what := kindOf(v)
	if isText(v) && len(where.path) == 1 {
		what = "text, not a JSON object"
	}
	return v, "", faultf("%s is %s: it has no field %s", where, what, name)
}

// missing is the fault for a field that does not exist; an empty name stands
// for one that must not be shown.
func (x *execution) missing(where origin, name string) error {
	what := "field " + quoted(name)
	if name == "" {
		what = "the field asked for"
	}
	switch {
	case where.known && len(where.path) > 0:
		return faultf("%s does not exist in %s; it has: %s", what, where, listed(x.names(where.path)))
	case where.known:
		return faultf("%s does not exist; the secrets are: %s", strings.Replace(what, "field", "secret", 1), listed(x.snapshot.Names()))
	case where.label != "":
		return faultf("%s does not exist in %s", what, where)
	}
	return faultf("%s does not exist", what)
}

// names returns the names of the fields at a path of the snapshot. They are
// read anew: those of a map in use may be values, put there by the template.
func (x *execution) names(path []string) []string {
	version, _ := x.snapshot.Get(path[0])
	v := decode(version)
	for _, name := range path[1:] {
		m, _ := v.(map[string]any)
		v = m[name]
	}
	m, _ := v.(map[string]any)
	return slices.Sorted(maps.Keys(m))
}

// print returns what is inserted in the place of a value, escaped for where it
// stands.
func (x *execution) print(number, value reflect.Value) (string, error) {
	st := x.reached(number)
	v := concrete(value)
	text, err := printed(st.base.String(), v)
	if err == nil {
		err = x.spend(1 + len(text)/perStep)
	}
	if err == nil && st.place != verbatim {
		text, err = x.template.grammar.escape(st.place, insertion{text: text, literal: isLiteral(v), finished: v.Type()})
		if err != nil {
			err = faultf("%s %v", st.base, err)
		}
	}
	if err != nil {
		return "", x.template.failure(st.pos, "", err)
	}
	return text, nil
}

// isLiteral reports whether a value is a number, true or false, also where
// text cannot be told from these.
func isLiteral(v reflect.Value) bool {
	if _, named := reflect.TypeAssert[fmt.Stringer](v); named && v.Type() != reflect.TypeFor[json.Number]() {
		return false // a duration
	}
	_, isNumber := numberOf(v)
	return isNumber || v.Kind() == reflect.Bool
}

// printed returns the text of a value that has one.
func printed(name string, v reflect.Value) (string, error) {
	if !v.IsValid() {
		return "", faultf("%s is null: there is nothing to insert", name)
	}
	if s, ok := reflect.TypeAssert[fmt.Stringer](v); ok { // a date, a duration, a semantic version
		return s.String(), nil
	}
	if text, ok := scalar(v); ok {
		return text, nil
	}
	switch v.Kind() {
	case reflect.Bool:
		return strconv.FormatBool(v.Bool()), nil
	case reflect.Map, reflect.Struct:
		return "", faultf("%s is an object: name one of its fields, or use toJSON", name)
	case reflect.Slice, reflect.Array:
		return "", faultf("%s is a list: use range, join or toJSON", name)
	}
	return "", faultf("%s is %s: it cannot be inserted", name, kindOf(v))
}

// ranged checks what a range goes over.
func (x *execution) ranged(number, value reflect.Value) (reflect.Value, error) {
	st := x.reached(number)
	v := concrete(value)
	n, isNumber := numberOf(v)
	var err error
	switch {
	case !v.IsValid():
		return v, nil
	case v.Kind() == reflect.Map, !isText(v) && v.Kind() == reflect.Slice:
		if err = x.spend(v.Len() * st.cost); err == nil {
			return v, nil
		}
	case !isNumber || !n.whole:
		err = faultf("range cannot go over %s", kindOf(v))
	case st.pair:
		err = fault("range over a number has one variable")
	case n.i > maxSize:
		err = faultf("range goes to %d at most", maxSize)
	default:
		if err = x.spend(int(max(0, n.i)) * st.cost); err == nil {
			return reflect.ValueOf(n.i), nil
		}
	}
	return reflect.Value{}, x.template.failure(st.pos, "", err)
}

// decode returns what templates see of a secret: a map for a JSON object and
// for a path of parameters, each of which is seen likewise, bytes for a binary
// value, otherwise the text as stored.
func decode(v secret.Version) any {
	if v.Below != nil {
		path := make(map[string]any, len(v.Below))
		for name, below := range v.Below {
			path[name] = decode(below)
		}
		return path
	}
	b := v.Value.Reveal()
	if v.Binary {
		return b
	}
	if trimmed := bytes.TrimLeft(b, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '{' {
		if object, err := decodeJSON(b); err == nil {
			return object
		}
	}
	return string(b)
}

// decodeJSON decodes one JSON value. Numbers keep their digits: those that
// are an int64 and written as Go would are one, the others are json.Number.
func decodeJSON(b []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fault("it is not JSON")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fault("something follows the JSON value")
	}
	return integers(v), nil
}

func integers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = integers(v[k])
		}
	case []any:
		for i := range v {
			v[i] = integers(v[i])
		}
	case json.Number:
		if i, err := v.Int64(); err == nil && strconv.FormatInt(i, 10) == v.String() {
			return i
		}
	}
	return v
}

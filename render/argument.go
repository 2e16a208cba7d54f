package render

import (
	"encoding/json"
	"math"
	"reflect"
	"strconv"
)

// maxSize bounds the numbers that say how long a result is, so that a number
// from a secret cannot exhaust the memory.
const maxSize = 100_000

// wantsCall returns 1 if the first parameter of a function is a call, else 0.
func wantsCall(function reflect.Type) int {
	if function.NumIn() > 0 && function.In(0) == reflect.TypeFor[call]() {
		return 1
	}
	return 0
}

// arity checks a number of arguments, and that the results are those of a
// function for templates.
func arity(function reflect.Type, count int) error {
	wants, more := function.NumIn()-wantsCall(function), ""
	ok := count == wants
	if function.IsVariadic() {
		wants, more = wants-1, "at least "
		ok = count >= wants
	}
	if !ok {
		return faultf("wants %s%d %s, has %d", more, wants, plural("argument", wants), count)
	}
	if n := function.NumOut(); n != 1 && (n != 2 || function.Out(1) != reflect.TypeFor[error]()) {
		return fault("it cannot be called from a template")
	}
	return nil
}

func plural(word string, count int) string {
	if count == 1 {
		return word
	}
	return word + "s"
}

// converted returns the arguments as a function's parameters want them.
func converted(function reflect.Type, args []reflect.Value) ([]reflect.Value, error) {
	skip := wantsCall(function)
	in := make([]reflect.Value, len(args), len(args)+skip)
	for i, arg := range args {
		n := min(i+skip, function.NumIn()-1)
		want := function.In(n)
		if function.IsVariadic() && n == function.NumIn()-1 {
			want = want.Elem()
		}
		v, ok := convert(concrete(arg), want)
		if !ok {
			return nil, faultf("argument %d is %s, it wants %s", i+1, kindOf(concrete(arg)), kindOf(reflect.Zero(want)))
		}
		in[i] = v
	}
	return in, nil
}

// concrete returns the value within interfaces; the zero Value for nil.
func concrete(v reflect.Value) reflect.Value {
	for v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	return v
}

// convert returns v as a value of type t where nothing is lost by it: a
// number as text, bytes as text and back, numbers as numbers, lists and
// objects element by element.
func convert(v reflect.Value, t reflect.Type) (reflect.Value, bool) {
	if !v.IsValid() {
		return reflect.Zero(t), t.Kind() == reflect.Interface
	}
	if v.Type().AssignableTo(t) {
		return v, true
	}
	out := reflect.New(t).Elem()
	n, isNumber := numberOf(v)
	switch t.Kind() {
	case reflect.String:
		text, ok := scalar(v)
		out.SetString(text)
		return out, ok
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		out.SetInt(n.i)
		return out, isNumber && n.whole && !out.OverflowInt(n.i)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if n.i >= 0 {
			out.SetUint(uint64(n.i))
		}
		return out, isNumber && n.whole && n.i >= 0 && !out.OverflowUint(uint64(n.i))
	case reflect.Float64:
		out.SetFloat(n.f)
		return out, isNumber
	case reflect.Slice:
		return convertList(v, t)
	case reflect.Map:
		return convertObject(v, t)
	}
	return reflect.Value{}, false
}

func convertList(v reflect.Value, t reflect.Type) (reflect.Value, bool) {
	if isText(v) {
		if v.Kind() == reflect.String && t.Elem().Kind() == reflect.Uint8 {
			return reflect.ValueOf([]byte(v.String())), true
		}
		return reflect.Value{}, false
	}
	if v.Kind() != reflect.Slice {
		return reflect.Value{}, false
	}
	out := reflect.MakeSlice(t, v.Len(), v.Len())
	for i := range v.Len() {
		e, ok := convert(concrete(v.Index(i)), t.Elem())
		if !ok {
			return reflect.Value{}, false
		}
		out.Index(i).Set(e)
	}
	return out, true
}

func convertObject(v reflect.Value, t reflect.Type) (reflect.Value, bool) {
	if v.Kind() != reflect.Map {
		return reflect.Value{}, false
	}
	out := reflect.MakeMap(t)
	for it := v.MapRange(); it.Next(); {
		k, keyOK := convert(concrete(it.Key()), t.Key())
		e, ok := convert(concrete(it.Value()), t.Elem())
		if !keyOK || !ok {
			return reflect.Value{}, false
		}
		out.SetMapIndex(k, e)
	}
	return out, true
}

// bounded checks the numbers given to functions whose result grows with them.
func bounded(function string, args []reflect.Value) error {
	switch function {
	default:
		return nil
	case "repeat", "until", "untilStep", "seq", "indent", "loop", "nindent", "wrap", "wrapWith",
		"sprig_repeat", "sprig_until", "sprig_untilStep", "sprig_seq", "sprig_indent", "sprig_nindent", "sprig_wrap", "sprig_wrapWith":
	}
	for i, a := range args {
		if n, ok := numberOf(a); ok && (n.i > maxSize || n.i < -maxSize) {
			return faultf("argument %d goes to %d at most", i+1, maxSize)
		}
	}
	return nil
}

// kindOf says what a value is, without showing it.
func kindOf(v reflect.Value) string {
	if _, ok := numberOf(v); ok {
		return "a number"
	}
	switch v.Kind() {
	case reflect.Invalid:
		return "null"
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Map, reflect.Struct:
		return "an object"
	case reflect.Slice, reflect.Array:
		if isText(v) {
			return "bytes"
		}
		return "a list"
	}
	return "something else"
}

// isText reports whether v is text or bytes.
func isText(v reflect.Value) bool {
	if v.Kind() == reflect.String {
		return v.Type() != reflect.TypeFor[json.Number]()
	}
	return v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8
}

// scalar returns the text of text, bytes or a number.
func scalar(v reflect.Value) (string, bool) {
	switch {
	case !v.IsValid():
		return "", false
	case v.Kind() == reflect.String:
		return v.String(), true
	case isText(v):
		return string(v.Bytes()), true
	}
	switch v.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return strconv.FormatInt(v.Int(), 10), true
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return strconv.FormatUint(v.Uint(), 10), true
	case reflect.Float32, reflect.Float64:
		return formatFloat(v.Float()), true
	}
	return "", false
}

// formatFloat writes out what fmt would give an exponent: 111122223333, not
// 1.11122223333e+11.
func formatFloat(f float64) string {
	if a := math.Abs(f); a >= 1e21 || a != 0 && a < 1e-6 {
		return strconv.FormatFloat(f, 'g', -1, 64)
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}

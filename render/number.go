package render

import (
	"cmp"
	"encoding/json"
	"math"
	"reflect"
	"strconv"
	"strings"
)

// number is a number of any type: i when it is whole, and f in any case.
type number struct {
	i     int64
	f     float64
	whole bool
}

// numberOf returns the number that v is. Text is none, whatever it says.
func numberOf(v reflect.Value) (number, bool) {
	switch v.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return number{v.Int(), float64(v.Int()), true}, true
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		u := v.Uint()
		return number{int64(u), float64(u), u <= math.MaxInt64}, true
	case reflect.Float32, reflect.Float64:
		return fromFloat(v.Float()), true
	case reflect.String:
		if v.Type() != reflect.TypeFor[json.Number]() {
			return number{}, false
		}
		f, err := strconv.ParseFloat(v.String(), 64)
		return fromFloat(f), err == nil
	}
	return number{}, false
}

// fromFloat takes a float for whole while floats can count.
func fromFloat(f float64) number {
	if f == math.Trunc(f) && math.Abs(f) < 1<<53 {
		return number{int64(f), f, true}
	}
	return number{f: f}
}

// isFloat reports whether v is a number that calculations treat as a float.
func isFloat(v any) bool {
	switch v.(type) {
	case float64, float32, json.Number:
		return true
	}
	return false
}

// operands returns two arguments as numbers; both are whole unless floats is
// set.
func operands(b, a any) (x, y number, floats bool, err error) {
	x, okX := numberOf(reflect.ValueOf(a))
	y, okY := numberOf(reflect.ValueOf(b))
	if !okX || !okY {
		return x, y, false, fault("it calculates with numbers only: use parseInt or parseFloat on text")
	}
	return x, y, isFloat(a) || isFloat(b) || !x.whole || !y.whole, nil
}

// calculate returns the function for one of + - * / %. As in consul-template
// the first argument is the right operand, so that the left can be piped.
func calculate(operator byte) func(b, a any) (any, error) {
	return func(b, a any) (any, error) {
		x, y, floats, err := operands(b, a)
		if err != nil {
			return nil, err
		}
		if y.f == 0 && (operator == '/' || operator == '%') {
			return nil, fault("division by zero")
		}
		if floats {
			return float(operator, x.f, y.f)
		}
		switch operator {
		case '+':
			return x.i + y.i, nil
		case '-':
			return x.i - y.i, nil
		case '*':
			return x.i * y.i, nil
		case '/':
			return x.i / y.i, nil
		default:
			return x.i % y.i, nil
		}
	}
}

func float(operator byte, x, y float64) (any, error) {
	switch operator {
	case '+':
		return x + y, nil
	case '-':
		return x - y, nil
	case '*':
		return x * y, nil
	case '/':
		return x / y, nil
	default:
		return nil, fault("it wants whole numbers")
	}
}

// extreme returns minimum (sign -1) or maximum (sign 1).
func extreme(sign int) func(b, a any) (any, error) {
	return func(b, a any) (any, error) {
		if _, _, _, err := operands(b, a); err != nil {
			return nil, err
		}
		if c, err := compare(reflect.ValueOf(a), reflect.ValueOf(b)); err != nil || c == sign {
			return a, err
		}
		return b, nil
	}
}

// compare returns -1, 0 or 1 for two numbers or two texts.
func compare(a, b reflect.Value) (int, error) {
	x, okX := numberOf(a)
	y, okY := numberOf(b)
	if okX && okY {
		if x.whole && y.whole {
			return cmp.Compare(x.i, y.i), nil
		}
		return cmp.Compare(x.f, y.f), nil
	}
	if !isText(a) || !isText(b) {
		return 0, faultf("it cannot compare %s with %s", kindOf(a), kindOf(b))
	}
	s, _ := scalar(a)
	t, _ := scalar(b)
	return strings.Compare(s, t), nil
}

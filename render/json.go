package render

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
)

// jsonGrammar is JSON. What it does not have (single quotation marks,
// comments) its parser refuses.
func jsonGrammar() *grammar {
	return &grammar{start: state{mode: atValue}, step: jsonStep, insert: jsonInsert, escape: jsonValue, check: checkJSON}
}

func jsonStep(s state, c byte) state {
	switch {
	case s.escape > 0:
		return s.escaped(c)
	case s.mode == inDouble:
		switch c {
		case '\\':
			s.escape = 1
		case '"':
			return s.inside()
		}
		return s
	}
	switch c {
	case '"':
		return s.quote(c)
	case '{', '[':
		return s.push(c)
	case '}', ']':
		return s.pop()
	case ',':
		return s.inside()
	case ':':
		s.mode = atValue
	case ' ', '\t', '\r', '\n':
	default:
		return s.inside() // a number, true, false or null
	}
	return s
}

func jsonInsert(s state) (spot, state) {
	switch {
	case s.escape > 0 || s.keyed || s.mode == inKey:
		return nowhere, s
	case s.mode == inDouble:
		return double, s
	}
	return bare, s.inside()
}

func jsonValue(p spot, v insertion) (string, error) {
	switch {
	case p == bare && v.finished == reflect.TypeFor[jsonText](), p == bare && v.literal:
		return v.text, nil
	case p == bare:
		return `"` + doubleQuoted(v.text) + `"`, checkText(v.text, JSON)
	}
	return doubleQuoted(v.text), checkText(v.text, JSON)
}

func checkJSON(result []byte) error {
	var v json.RawMessage
	if wrong, ok := errors.AsType[*json.SyntaxError](json.Unmarshal(result, &v)); ok {
		return faultf("line %d: it is not JSON", 1+bytes.Count(result[:wrong.Offset], []byte("\n")))
	}
	return nil
}

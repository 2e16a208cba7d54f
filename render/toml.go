package render

import (
	"errors"
	"reflect"
	"strings"

	"github.com/BurntSushi/toml"
)

// tomlGrammar is TOML 1.0.
func tomlGrammar() *grammar {
	return &grammar{start: state{mode: atLine}, step: tomlStep, insert: tomlInsert, escape: tomlValue, check: checkTOML}
}

func tomlStep(s state, c byte) state {
	switch {
	case s.escape > 0:
		return s.escaped(c)
	case s.mode == inLines || s.quotation():
		return tomlQuotation(s, c)
	case c == '\n' && s.stack == "":
		return state{mode: atLine}
	case c == '\n' && s.mode != inKey:
		return s.inside()
	case isBlank(c), s.mode == inComment, s.mode == inName:
		return s
	case c == '#':
		s.mode = inComment
		return s
	case s.mode == filled && s.inserted:
		s.mode = inText
		return s.failed(besideValue)
	}
	switch s.mode {
	case atLine:
		s.mode = inKey
		if c == '[' {
			s.mode = inName
			return s
		}
		return tomlKey(s, c)
	case inKey:
		return tomlKey(s, c)
	}
	return tomlItem(s, c)
}

func tomlKey(s state, c byte) state {
	switch c {
	case '=':
		s.mode = atValue
	case '"', '\'':
		s = s.quote(c)
		s.word = string(c)
	case '}', ',':
		return tomlItem(s, c)
	}
	return s
}

// tomlItem is a step among values.
func tomlItem(s state, c byte) state {
	switch c {
	case '"', '\'':
		s = s.quote(c)
		s.word = string(c)
	case '[', '{':
		return s.push(c)
	case ']', '}':
		return s.pop().after()
	case ',':
		return s.inside()
	default:
		s.mode = inText
	}
	return s
}

// after returns s after a value: at the end of its line, or inside a bracket.
func (s state) after() state {
	s = s.inside()
	if s.stack == "" {
		s.mode = filled
	}
	return s
}

// tomlQuotation is a step in a quotation. While its beginning may be that of
// three marks, word holds them; in inLines it holds one, and then those that
// may be its end.
func tomlQuotation(s state, c byte) state {
	m := mark(s.mode)
	if s.mode == inLines {
		m = s.word[0]
	}
	marks := len(s.word)
	switch {
	case c == '\\' && m == '"' && (s.mode == inLines || marks < 2):
		s.escape = 1
		marks = 0
	case c == m:
		marks++
	case s.mode != inLines && marks == 2: // it was empty
		return tomlStep(s.closed(), c)
	case s.mode != inLines && c == '\n':
		return state{mode: atLine}
	default:
		marks = 0
	}
	switch {
	case s.mode == inLines && marks == 4:
		return s.closed()
	case s.mode == inLines:
		marks = max(marks, 1)
	case c == m && marks == 1: // not one that it began with
		return s.closed()
	case marks == 3:
		s.mode, marks = inLines, 1
	}
	s.word = strings.Repeat(string(m), marks)
	return s
}

// closed returns s after its quotation.
func (s state) closed() state {
	s.word = ""
	if s.keyed && s.stack == "" {
		s.mode, s.keyed = inKey, false
		return s
	}
	return s.after()
}

func tomlInsert(s state) (spot, state) {
	next := s
	next.word, next.inserted = "", true
	switch {
	case s.escape > 0 || s.keyed || len(s.word) > 1:
		return nowhere, s
	case s.mode == inSingle:
		return single, next
	case s.mode == inDouble:
		return double, next
	case s.mode == atLine:
		next.mode = filled
		return ownLine, next
	case s.mode == atValue && s.stack != "":
		return bare, s.inside()
	case s.mode == atValue:
		next.mode = filled
		return bare, next
	}
	return nowhere, s
}

func tomlValue(p spot, v insertion) (string, error) {
	switch {
	case p == ownLine && v.finished == reflect.TypeFor[tomlText](), p == bare && v.literal:
		return v.text, nil
	case p == ownLine:
		return "", faultf("stands where a key is expected: only the text of toTOML can")
	case p == bare && v.finished == reflect.TypeFor[jsonText]():
		return safeJSON(v.text), nil
	case p == bare:
		return `"` + doubleQuoted(v.text) + `"`, checkText(v.text, TOML)
	case p == single:
		return v.text, checkSingle(v.text, "'", TOML)
	}
	return doubleQuoted(v.text), checkText(v.text, TOML)
}

func checkTOML(result []byte) error {
	var v any
	_, err := toml.Decode(string(result), &v)
	if wrong, ok := errors.AsType[toml.ParseError](err); ok {
		return faultf("line %d: it is not TOML", wrong.Position.Line)
	}
	if err != nil {
		return fault("it is not TOML")
	}
	return nil
}

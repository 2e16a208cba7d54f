package render

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// yamlGrammar is YAML 1.2, as far as it must be known to tell where a value
// stands. Where the text leaves it open whether a line goes on with the bare
// text of the one before, it is taken to do so, and allows no insertion.
func yamlGrammar() *grammar {
	return &grammar{start: state{mode: atLine, parent: noParent}, step: yamlStep, insert: yamlInsert, escape: yamlValue, check: checkYAML}
}

// closing is the escape of a single quotation after a mark that is either its
// end or the first of two.
const closing = 20

func yamlStep(s state, c byte) state {
	switch {
	case s.escape == closing && c == '\'':
		s.escape = 0
		return s
	case s.escape == closing:
		s.escape = 0
		return yamlStep(s.yamlClosed(), c)
	case s.escape == 1 && c == '\n':
		s.escape = 0
		return yamlQuotation(s, c)
	case s.escape > 0:
		return s.escaped(c)
	case s.quotation():
		return yamlQuotation(s, c)
	case c == '\r':
		return s
	case s.mode == inHeader, s.mode == inBlock, s.mode == atBlock:
		return yamlBlock(s, c)
	case s.stack != "":
		return yamlFlow(s, c)
	case c == '\n':
		return yamlNewLine(s)
	}
	switch s.mode {
	case atLine, atEntry, inDash:
		return yamlBeginning(s, c)
	case atValue:
		return yamlNode(s, c)
	case inTag:
		if isBlank(c) {
			s.mode = atValue
		}
	case filled, inText, afterBlank, afterColon:
		return yamlBare(s, c)
	}
	return s
}

func yamlQuotation(s state, c byte) state {
	switch {
	case c == '\n':
		s.folded = true
		if s.inserted {
			return s.failed(foldedValue)
		}
	case s.mode == inSingle && c == '\'':
		s.escape = closing
	case s.mode == inDouble && c == '\\':
		s.escape = 1
	case s.mode == inDouble && c == '"':
		return s.yamlClosed()
	}
	return s
}

// yamlClosed returns s after its quotation, which may have been a key.
func (s state) yamlClosed() state {
	inserted := s.inserted
	s = s.inside()
	if s.stack == "" {
		s.mode = filled
	}
	s.inserted = inserted
	return s
}

// yamlNewLine ends a line. Bare text goes on with lines that are right of
// what it belongs to.
func yamlNewLine(s state) state {
	next := state{mode: atLine, parent: noParent}
	if s.mode == atLine || (s.mode == inText || s.mode == afterBlank) && !s.isMarker() {
		next.parent = s.parent
	}
	if s.mode == inKey || s.mode == inDash && s.word == "?" {
		next.parent = s.indent
	}
	return next
}

// isMarker reports whether a line that is s so far stands between documents.
func (s state) isMarker() bool { return s.indent == 0 && (s.word == "---" || s.word == "...") }

// yamlBeginning is a step before the first key or value of a line or of an
// entry.
func yamlBeginning(s state, c byte) state {
	switch {
	case s.mode == inDash && c == ' ' && s.word == "?":
		s.mode = inKey
		return s
	case s.mode == inDash && c == ' ':
		s.parent, s.indent = s.indent, s.indent+2
		s.mode, s.word = atEntry, ""
		return s
	case s.mode == inDash:
		s.mode = inText
		return yamlBare(s, c)
	case c == ' ':
		s.indent++
		return s
	case s.mode == atLine && s.indent > s.parent:
		s.mode, s.word = inBlock, string(c)
		return s
	case s.mode == atLine:
		s.parent = -1
	}
	switch {
	case c == '-' || c == '?':
		s.mode = inDash
		s.word = string(c)
	case c == '%' && s.indent == 0:
		s.mode = inComment
	default:
		return yamlNode(s, c)
	}
	return s
}

// yamlNode is a step before a value or a key.
func yamlNode(s state, c byte) state {
	switch c {
	case ' ', '\t':
	case '"', '\'':
		return s.quote(c)
	case '[', '{':
		return s.push(c)
	case '|', '>':
		s.mode = inHeader
	case '#':
		s.mode = inComment
	case '!', '&':
		s.mode = inTag
	case ':':
		s.mode, s.word = afterColon, " "
	default:
		s.word = string(c)
		if s.mode == atValue {
			s.word = " " // this is not the start of a line
		}
		s.mode = inText
	}
	return s
}

// yamlBare is a step in bare text that may be a key, or after a value.
func yamlBare(s state, c byte) state {
	switch {
	case s.mode == afterColon && isBlank(c): // it was a key
		s.parent, s.mode, s.word = s.indent, atValue, ""
	case c == '#' && s.spaced():
		s.mode = inComment
	case s.mode == filled && s.inserted && !isBlank(c):
		s.mode = inText
		return s.failed(besideValue)
	case c == ':':
		s.mode, s.word = afterColon, " "
	case isBlank(c) && s.isMarker():
		s.parent, s.mode, s.word = -1, atValue, ""
	case isBlank(c):
		s = s.blank()
	default:
		s.mode = inText
		if len(s.word) < len("----") {
			s.word += string(c)
		}
	}
	return s
}

// yamlBlock is a step in a block scalar, or in bare text after its first
// line. They end before a line that is not right of what they belong to.
func yamlBlock(s state, c byte) state {
	switch {
	case s.mode == inBlock && s.isMarker() && (isBlank(c) || c == '\n'):
		return yamlStep(state{mode: inText, word: s.word}, c)
	case c == '\n':
		s.mode, s.indent = atBlock, 0
	case s.mode == atBlock && c == ' ':
		s.indent++
	case s.mode == atBlock && s.indent > s.parent:
		s.mode, s.word = inBlock, string(c)
	case s.mode == atBlock:
		return yamlStep(state{mode: atLine, indent: s.indent, parent: noParent}, c)
	case s.mode == inBlock && len(s.word) < len("----"):
		s.word += string(c)
	}
	return s
}

// yamlFlow is a step between brackets.
func yamlFlow(s state, c byte) state {
	switch {
	case s.mode == inComment && c != '\n':
		return s
	case s.mode == inComment:
		return s.inside()
	case s.mode == afterColon && (isBlank(c) || c == '\n'):
		s.mode = atValue
		return s
	}
	text := s.mode == inText || s.mode == afterColon
	if !isBlank(c) && c != '\n' {
		if s.inserted && c == ':' {
			s.inserted = false
			return s.failed(besideValue)
		}
		s.inserted = false
	}
	switch {
	case c == '\n':
	case isBlank(c):
		if text {
			s.mode = afterBlank
		}
	case c == '[', c == '{':
		return s.push(c)
	case c == ']', c == '}':
		return s.pop().after()
	case c == ',':
		return s.inside()
	case c == ':' && (s.mode == inKey || s.mode == atValue): // after a quotation
		s.mode = atValue
	case c == ':':
		s.mode = afterColon
	case c == '#' && !text:
		s.mode = inComment
	case (c == '"' || c == '\'') && (s.mode == inKey || s.mode == atValue):
		return s.quote(c)
	default:
		s.mode = inText
	}
	return s
}

func yamlInsert(s state) (spot, state) {
	next := s
	next.inserted = true
	switch {
	case s.escape > 0 || s.keyed || s.folded:
		return nowhere, s
	case s.mode == inSingle:
		return single, next
	case s.mode == inDouble:
		return double, next
	case s.mode == atValue && s.stack != "":
		next = s.inside()
		next.inserted = true
		return bare, next
	case s.mode == atLine && s.stack == "" && s.indent <= s.parent:
		if s.indent == 0 {
			return ownLine, state{mode: filled, inserted: true, parent: noParent}
		}
		return bare, state{mode: filled, inserted: true, parent: noParent}
	case s.mode == atValue, s.mode == atEntry:
		return bare, state{mode: filled, inserted: true, parent: noParent}
	}
	return nowhere, s
}

func yamlValue(p spot, v insertion) (string, error) {
	isBare := p == bare || p == ownLine
	switch {
	case isBare && v.finished == reflect.TypeFor[yamlText]():
		if p == bare && strings.LastIndexByte(v.text, '\n') > 0 && v.text[0] != '\n' {
			return "", fault("has several lines: have toYAML stand at the start of a line, or write nindent after it")
		}
		return v.text, nil
	case isBare && v.finished == reflect.TypeFor[jsonText]():
		return safeJSON(v.text), nil
	case isBare && v.literal:
		return v.text, nil
	case isBare:
		return `"` + doubleQuoted(v.text) + `"`, checkText(v.text, YAML)
	case p == single:
		return strings.ReplaceAll(v.text, "'", "''"), checkSingle(v.text, "", YAML)
	}
	return doubleQuoted(v.text), checkText(v.text, YAML)
}

// checkYAML decodes all documents: only then the parser looks for keys that
// stand twice.
func checkYAML(result []byte) error {
	d := yaml.NewDecoder(bytes.NewReader(result))
	for {
		var v any
		switch err := d.Decode(&v); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			line := regexp.MustCompile(`line (\d+)`).FindStringSubmatch(err.Error())
			if line == nil {
				return fault("it is not YAML")
			}
			return faultf("line %s: it is not YAML, or a key stands there twice", line[1])
		}
	}
}

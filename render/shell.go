package render

import (
	"bytes"
	"errors"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// shell is a script for a POSIX shell or for bash. Word holds the last byte
// or two where they may begin an operator: $, < and <<. The stack holds two
// bytes for each substitution: the one that ends it, and " or a blank for
// what is around it.
func shell() *grammar {
	return &grammar{start: state{mode: atWord}, step: shellStep, insert: shellInsert, escape: shellText, check: checkShell}
}

func shellStep(s state, c byte) state {
	switch {
	case s.escape > 0:
		s.escape = 0
		if c != '\n' { // that is as if it were not there
			s.word = ""
			if s.mode == atWord {
				s.mode = inWord
			}
		}
		return s
	case s.mode == inHere:
		return shellHere(s, c)
	case s.mode == inEnd:
		return shellEnd(s, c)
	case s.mode == inComment && c != '\n':
		return s
	case s.mode == inSingle && c != '\'':
		return s
	case c == '\\':
		s.escape, s.inserted = 1, false
		return s
	case s.mode == inSingle, s.mode == inANSI:
		if c == '\'' {
			s.mode = inWord
		}
		return s
	}
	before := s.word
	s.word = ""
	if next, ok := shellSubstitution(s, before, c); ok {
		return next
	}
	if s.mode == inDouble {
		if c == '"' {
			s.mode = inWord
		}
		return s
	}
	return shellBare(s, before, c)
}

// shellSubstitution is a step where a substitution begins or ends.
func shellSubstitution(s state, before string, c byte) (state, bool) {
	around, end := " ", ""
	if s.mode == inDouble {
		around = `"`
	}
	if s.stack != "" {
		end = s.stack[len(s.stack)-2:]
	}
	switch {
	case c == '$':
		s.word = "$"
		if s.mode == atWord {
			s.mode = inWord
		}
	case before == "$" && isNameByte(c) && s.mode == inDouble:
		s.word = "$" // what is inserted would become part of the name
	case before == "$" && c == '{':
		s.stack, s.mode = s.stack+"}"+around, inWord
	case before == "$" && c == '(', end != "" && end[0] == ')' && c == '(' && s.mode != inDouble:
		s.stack, s.mode = s.stack+")"+around, atWord
	case end != "" && c == end[0] && (s.mode != inDouble || c == '`'):
		s.stack, s.mode = s.stack[:len(s.stack)-2], inWord
		if end[1] == '"' {
			s.mode = inDouble
		}
	case c == '`':
		s.stack, s.mode = s.stack+"`"+around, atWord
	case c == '\'' && end == `}"`: // an apostrophe
	default:
		return s, false
	}
	s.inserted = false
	return s, true
}

// shellBare is a step outside of quotation marks.
func shellBare(s state, before string, c byte) state {
	key := c == '=' && s.inserted
	s.inserted = false
	switch {
	case before == "<<" && c == '-' && s.end == " ":
		s.word, s.end = "<<", "-"
	case before == "<<" && isBlank(c):
		s.word = "<<"
	case before == "<<" && c != '<' && c != '\n':
		s.mode = inEnd
		return shellEnd(s, c)
	case before == "<" && c == '<' && !s.arithmetic():
		s.word, s.end = "<<", " "
	case before == "$" && c == '\'':
		s.mode = inANSI
	case c == '\'':
		s.mode = inSingle
	case c == '"':
		s.mode = inDouble
	case c == '#' && s.mode == atWord:
		s.mode = inComment
	case c == '\n' && len(s.end) > 1:
		s.mode = inHere
	case c == '<':
		s.mode, s.word = atWord, "<"
	case strings.IndexByte(" \t\r\n;&|()>", c) >= 0:
		s.mode = atWord
	default:
		s.mode = inWord
	}
	if key {
		return s.failed(besideValue)
	}
	return s
}

// arithmetic reports whether s is between $(( and )), where << is no
// here-document.
func (s state) arithmetic() bool {
	n := len(s.stack)
	return n >= 4 && s.stack[n-4] == ')' && s.stack[n-2:] == ") "
}

// shellEnd is a step in the word that will end a here-document. It is kept in
// end after a blank, or after a - where tabs may precede it.
func shellEnd(s state, c byte) state {
	switch {
	case strings.IndexByte(" \t\r\n;&|()<>", c) >= 0:
		s.mode = inWord
		return shellBare(s, "", c)
	case strings.IndexByte(`'"\`, c) < 0:
		s.end += string(c)
	}
	return s
}

// shellHere is a step in a here-document. Word holds the beginning of the
// line.
func shellHere(s state, c byte) state {
	switch {
	case c == '\n' && s.word == s.end[1:]:
		s.mode, s.word, s.end = atWord, "", ""
	case c == '\n':
		s.word = ""
	case c == '\t' && s.word == "" && s.end[0] == '-':
	case len(s.word) < len(s.end):
		s.word += string(c)
	}
	return s
}

func shellInsert(s state) (spot, state) {
	next := s
	switch {
	case s.escape > 0 || s.stack != "" || s.word != "":
		return nowhere, s
	case s.mode == inSingle:
		return single, next
	case s.mode == inDouble:
		return double, next
	case s.mode == atWord || s.mode == inWord:
		next.inserted = s.mode == atWord
		next.mode = inWord
		return bare, next
	}
	return nowhere, s
}

func shellText(p spot, v insertion) (string, error) {
	if strings.Contains(v.text, "\x00") {
		return "", cannotCarry("a NUL", Shell)
	}
	inSingle := strings.ReplaceAll(v.text, "'", `'\''`)
	switch p {
	case single:
		return inSingle, checkText(v.text, Shell)
	case double:
		return backslashed(v.text, "\\\"`$"), checkText(v.text, Shell)
	}
	return "'" + inSingle + "'", checkText(v.text, Shell)
}

func checkShell(result []byte) error {
	_, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(bytes.NewReader(result), "")
	if wrong, ok := errors.AsType[syntax.ParseError](err); ok {
		return faultf("line %d: it is not a script", wrong.Pos.Line())
	}
	if err != nil {
		return fault("it is not a script")
	}
	return nil
}

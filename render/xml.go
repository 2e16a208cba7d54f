package render

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// xmlGrammar is XML 1.0. Word holds the last bytes where they may begin or
// end something.
func xmlGrammar() *grammar {
	return &grammar{start: state{mode: inText}, step: xmlStep, insert: xmlInsert, escape: xmlText, check: checkXML}
}

func xmlStep(s state, c byte) state {
	switch s.mode {
	case inText, inSingle, inDouble:
		switch {
		case c == '&':
			s.escape = 1
		case c == ';' || isBlank(c):
			s.escape = 0
		}
		switch {
		case c == '<' && s.mode == inText:
			s.mode, s.word, s.escape = inMarkup, "", 0
		case s.quotation() && c == mark(s.mode):
			s.mode, s.escape = inElement, 0
		}
	case inMarkup:
		return xmlMarkup(s, c)
	case inElement:
		switch c {
		case '"', '\'':
			s = s.quote(c)
		case '>':
			s.mode = inText
		}
	case inComment, inLiteral:
		return xmlLiteral(s, c)
	}
	return s
}

// xmlMarkup is a step right after <.
func xmlMarkup(s state, c byte) state {
	s.word += string(c)
	switch s.word {
	case "!", "!-":
		return s
	case "!--":
		s.mode, s.end = inComment, "-->"
	case "![":
		s.mode, s.end = inLiteral, "]]>"
	case "?":
		s.mode, s.end = inLiteral, "?>"
	default:
		s.mode = inElement
		if s.word[0] == '!' {
			s.mode, s.end = inLiteral, ">"
		}
	}
	s.word = ""
	return s
}

// xmlLiteral is a step in what ends with end.
func xmlLiteral(s state, c byte) state {
	if c == '[' && s.end == ">" {
		s.end = "]>" // a DOCTYPE with declarations
	}
	s.word += string(c)
	s.word = s.word[max(0, len(s.word)-len(s.end)):]
	if s.word == s.end {
		return state{mode: inText}
	}
	return s
}

func xmlInsert(s state) (spot, state) {
	switch {
	case s.escape > 0:
	case s.mode == inText:
		return bare, s
	case s.mode == inSingle:
		return single, s
	case s.mode == inDouble:
		return double, s
	}
	return nowhere, s
}

// xmlText writes ASCII alone, which means the same in all encodings that a
// file may declare.
func xmlText(p spot, v insertion) (string, error) {
	var b strings.Builder
	for _, r := range v.text {
		switch {
		case r == '\n' && p == bare, r == '\t' && p == bare, r >= ' ' && r <= '~' && !strings.ContainsRune(`<>&"'`, r):
			b.WriteRune(r)
		case r < ' ' && r != '\n' && r != '\t' && r != '\r', r == '\ufffe', r == '\uffff':
			return "", cannotCarry("a control character", XML)
		default:
			fmt.Fprintf(&b, "&#x%X;", r)
		}
	}
	return b.String(), checkText(v.text, XML)
}

func checkXML(result []byte) error {
	d := xml.NewDecoder(bytes.NewReader(result))
	d.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil }
	depth, roots := 0, 0
	for {
		line, _ := d.InputPos()
		token, err := d.Token()
		switch {
		case errors.Is(err, io.EOF) && roots == 1:
			return nil
		case err != nil:
			return faultf("line %d: it is not XML", line)
		}
		switch token := token.(type) {
		case xml.StartElement:
			if depth == 0 {
				roots++
			}
			depth++
		case xml.EndElement:
			depth--
		case xml.CharData:
			if depth == 0 && len(bytes.TrimSpace(token)) > 0 {
				return faultf("line %d: text stands outside of the root element", line)
			}
		}
	}
}

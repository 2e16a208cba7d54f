package render

import (
	"bytes"
	"strings"
)

// pgpass is PostgreSQL's password file.
func pgpass() *grammar {
	return &grammar{
		start: state{mode: atLine},
		step: func(s state, c byte) state {
			switch {
			case c == '\n':
				return state{mode: atLine}
			case s.mode == inComment:
			case s.mode == atLine && c == '#':
				s.mode = inComment
			case s.escape == 0 && c == '\\':
				s.mode, s.escape = inText, 1
			default:
				s.mode, s.escape = inText, 0
			}
			return s
		},
		insert: func(s state) (spot, state) {
			switch {
			case s.escape > 0 || s.mode == inComment:
				return nowhere, s
			case s.mode == atLine:
				return ownLine, state{mode: inText}
			}
			return bare, s
		},
		escape: pgpassText,
		check:  checkPgpass,
	}
}

func pgpassText(p spot, v insertion) (string, error) {
	text := backslashed(v.text, `\:`)
	if p == ownLine && strings.HasPrefix(text, "#") {
		text = `\` + text
	}
	return text, checkLine(v.text, Pgpass)
}

func checkPgpass(result []byte) error {
	n := 0
	for text := range bytes.Lines(result) {
		n++
		text = bytes.TrimRight(text, "\r\n")
		if len(text) == 0 || text[0] == '#' {
			continue
		}
		separators, escaped := 0, false
		for _, c := range text {
			if c == ':' && !escaped {
				separators++
			}
			escaped = c == '\\' && !escaped
		}
		if separators != 4 {
			return faultf("line %d: it has %d of the 5 fields host:port:database:user:password", n, separators+1)
		}
	}
	return nil
}

package render

import "strings"

// lines is a format of lines of the form key=value: what distinguishes it
// from its like.
type lines struct {
	comments string // each begins a comment at the start of a line
	assign   string // each ends a key
	spaced   bool   // a blank ends a key too
	flags    bool   // a key may stand alone
	sections string // each begins a line that is the name of a section, or a directive
	indents  bool   // a line with a greater indent continues the value before it
	percent  bool   // %% is a percent sign, and %(name)s another value
	escapes  string // where a backslash escapes: k(ey), b(are), s(ingle), d(ouble), c(omment)
	joined   bool   // a backslash at the end of a line continues it
	unicode  bool   // \uXXXX is an escape sequence
	quotes   bool   // a value may stand between quotation marks; a bare inserted one then has to be the whole value
	inner    bool   // quotation marks count within bare text too
	several  bool   // quotations may go on over the end of a line
	pieces   bool   // text may follow a quotation
	dollar   bool   // a $ between double quotation marks begins something
	notes    notes  // which # begins a comment after a value
}

// notes says where comments may begin but at the start of a line.
type notes uint8

const (
	noNotes    notes = iota
	spaceNotes       // after a blank
	anyNotes         // everywhere but between quotation marks
)

// noParent is the parent of a line that cannot go on from one before.
const noParent = 1 << 14

func (l lines) step(s state, c byte) state {
	if s.folded && isBlank(c) {
		return s
	}
	s.folded = false
	switch {
	case s.escape > 0 && l.percent:
		return percent(s, c)
	case s.escape > 0:
		return l.escaped(s, c)
	case c == '\\' && l.canEscape(s.mode):
		s = l.byMode(s, c)
		s.escape = 1
		return s
	case c == '\n' && !l.goesOn(s):
		return l.newLine(s)
	}
	return l.byMode(s, c)
}

// goesOn reports whether s is in a quotation that a line break does not end.
func (l lines) goesOn(s state) bool { return l.several && s.quotation() }

// canEscape reports whether a backslash escapes in a mode.
func (l lines) canEscape(m mode) bool {
	where := "b"
	switch m {
	case atLine, inKey:
		where = "k"
	case inSingle:
		where = "s"
	case inDouble:
		where = "d"
	case inComment:
		where = "c"
	case inName:
		return false
	}
	return strings.Contains(l.escapes, where)
}

// escaped is a step within an escape sequence: escape is 1 before its letter,
// and 1 more than the digits that are missing.
func (l lines) escaped(s state, c byte) state {
	first := s.escape == 1
	s.escape--
	switch {
	case !first && !isHex(c):
		s.escape = 0
		return s.failed(notHex)
	case !first && s.escape == 1:
		s.escape = 0
	case first && l.unicode && c == 'u':
		s.escape = 5
	case first && c == '\n' && !l.joined && !l.goesOn(s):
		return l.newLine(s)
	case first && c == '\n' && l.spaced:
		s.folded = true // the blanks that follow do not count
	}
	return s
}

// percent is a step after a percent sign.
func percent(s state, c byte) state {
	switch {
	case s.escape == 1 && c == '%', s.escape == 3 && c == 's':
		s.escape = 0
	case s.escape == 1 && c == '(', s.escape == 2 && c == ')':
		s.escape++
	case s.escape != 2 || c == '\n':
		s.escape = 0
		return s.failed("a percent sign is written %%")
	}
	return s
}

func isHex(c byte) bool { return strings.IndexByte("0123456789abcdefABCDEF", c) >= 0 }

func (l lines) newLine(s state) state {
	next := state{mode: atLine, parent: s.parent}
	if s.mode == inName && l.indents {
		next.parent = noParent
	}
	if s.quotation() {
		return next.failed("a quotation is not closed")
	}
	if s.mode == inKey && !l.flags {
		return next.failed("this line has no " + l.assign[:1])
	}
	return next
}

// byMode is a step that neither ends a line nor belongs to an escape sequence.
func (l lines) byMode(s state, c byte) state {
	switch s.mode {
	case atLine:
		return l.beginning(s, c)
	case inKey, afterKey:
		return l.key(s, c)
	case inSingle, inDouble:
		return l.quoted(s, c)
	case atValue, filled, inText, afterBlank:
		return l.value(s, c)
	}
	return s
}

// quoted is a step between quotation marks.
func (l lines) quoted(s state, c byte) state {
	before := s.word
	s.word = ""
	switch {
	case c == mark(s.mode):
		s.mode, s.inserted, s.stack = filled, false, ""
	case !l.dollar || s.mode == inSingle:
	case c == '$', before == "$" && isNameByte(c):
		s.word = "$"
	case before == "$" && c == '{':
		s.stack += "}"
	case c == '}' && s.stack != "":
		s.stack = s.stack[1:]
	}
	return s
}

// beginning is a step at the start of a line.
func (l lines) beginning(s state, c byte) state {
	switch {
	case isBlank(c):
		if l.indents {
			s.indent++
		}
	case strings.IndexByte(l.comments, c) >= 0:
		s.mode = inComment
	case l.indents && s.indent > s.parent:
		s.mode = inText
		return l.value(s, c)
	case strings.IndexByte(l.sections, c) >= 0:
		s.mode = inName
	default:
		if l.indents {
			s.parent = s.indent
		}
		return l.key(s, c)
	}
	return s
}

// mark returns the quotation mark of a mode.
func mark(m mode) byte {
	if m == inSingle {
		return '\''
	}
	return '"'
}

func (l lines) key(s state, c byte) state {
	switch {
	case strings.IndexByte(l.assign, c) >= 0:
		s.mode = atValue
	case l.spaced && isBlank(c):
		s.mode = afterKey
	case c == '#' && l.notes == anyNotes:
		s.mode = inComment
	case s.mode == afterKey:
		s.mode = inText
	default:
		s.mode = inKey
	}
	return s
}

// blank returns s after a blank, where a comment may begin.
func (s state) blank() state {
	switch s.mode {
	case inText:
		s.mode = afterBlank
	case filled:
		s.word = " "
	}
	return s
}

// spaced reports whether a blank stands before what follows a value.
func (s state) spaced() bool {
	return s.mode == atValue || s.mode == afterBlank || s.mode == filled && s.word == " "
}

func (l lines) value(s state, c byte) state {
	quote := l.quotes && (c == '"' || c == '\'')
	switch {
	case c == '#' && (l.notes == anyNotes || l.notes == spaceNotes && s.spaced()):
		s.mode = inComment
	case c == '%' && l.percent:
		s.mode, s.escape = inText, 1
	case isBlank(c):
		s = s.blank()
	case s.mode == filled && s.inserted:
		s.mode = inText
		return s.failed(besideValue)
	case s.mode == filled && !l.pieces:
		s.mode = inText
		return s.failed("text follows a quotation")
	case quote && (l.inner || s.mode == atValue || s.mode == filled):
		s.mode = inDouble
		if c == '\'' {
			s.mode = inSingle
		}
	default:
		s.mode = inText
	}
	return s
}

// start is the state at the beginning of a file.
func (l lines) start() state {
	s := state{mode: atLine}
	if l.indents {
		s.parent = noParent
	}
	return s
}

func (l lines) insert(s state) (spot, state) {
	if s.escape > 0 || s.word != "" || s.stack != "" {
		return nowhere, s
	}
	next := s
	next.inserted = true
	switch s.mode {
	case inSingle:
		return single, next
	case inDouble:
		return double, next
	case atValue, afterKey:
		next.mode = inText
		if l.quotes {
			next.mode = filled
		}
		return bare, next
	case inText, afterBlank:
		if !l.quotes {
			next.mode = inText
			return bare, next
		}
	}
	return nowhere, s
}

// check goes through a result by the format's own steps. It has each key, or
// name in its brackets, judged.
func (l lines) check(result []byte, judge func(m mode, text string) string) error {
	s, opened, from, n := l.start(), 1, 0, 1
	for i := range len(result) + 1 {
		c := byte('\n')
		if i < len(result) {
			c = result[i]
		} else if l.goesOn(s) || s.escape > 1 {
			return faultf("line %d: the quotation or escape sequence that begins here has no end", opened)
		}
		next := l.step(s, c)
		why := next.fault
		if next.mode != s.mode {
			if s.mode == inKey || s.mode == inName {
				why += judge(s.mode, strings.TrimSpace(string(result[from:i])))
			}
			from, opened = i, n
		}
		if why != "" {
			return faultf("line %d: %s", n, why)
		}
		if c == '\n' {
			n++
		}
		s = next
	}
	return nil
}

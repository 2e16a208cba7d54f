package render

import "strings"

// mode is what the text of a format is in.
type mode uint8

const (
	// Where branches meet that end in two of the first four, what follows is
	// taken for the latter, which allows less.
	atValue    mode = iota // where a value may begin
	filled                 // after a value that has the rest of its line for itself
	inText                 // in bare text
	afterBlank             // in bare text after a blank, where a comment may begin

	atLine // with nothing but blanks before it on its line
	inKey
	afterKey // after the blank that ends a key
	afterColon
	inName // of a section or a table; in a directive
	inComment
	inSingle // between single quotation marks
	inDouble // between double ones
	inLines  // between three
	atEntry  // after the dash of a list's entry
	inDash   // after what may be such a dash
	inTag
	inHeader // on the line that begins a block scalar
	inBlock
	atBlock // at the start of a line in a block scalar
	inWord  // in a word of the shell
	atWord  // where one may begin, and a comment
	inANSI  // in a quotation that begins with $'
	inEnd   // in the word that is to end a here-document
	inHere
	inMarkup  // after <, where it is not clear yet what it begins
	inElement // between < and >
	inLiteral // in CDATA, an instruction or a declaration
	dead      // nowhere: the loop is left before
)

// state is what a grammar remembers of the text before a place.
type state struct {
	mode     mode
	escape   int    // how much of an escape sequence is still to come
	stack    string // the open brackets
	word     string // the last bytes, where they may begin or end something
	end      string // the line that ends the next here-document
	indent   int    // the column of the key or the value on this line
	parent   int    // the column that text is right of if it goes on
	inserted bool   // a value stands directly before, or in this quotation
	folded   bool   // this quotation has a line break
	keyed    bool   // this quotation is a key
	awaiting bool   // only a line break can follow: just some branches end within a line
	fault    string // what the last byte does wrong
}

// substitutions are what stands in the stack for those of a shell, and in a
// dotenv: what ends them.
const substitutions = ")}`"

// quotation reports whether s is between quotation marks.
func (s state) quotation() bool { return s.mode == inSingle || s.mode == inDouble }

// failed returns s with a fault.
func (s state) failed(why string) state {
	s.fault = why
	return s
}

// The faults of several grammars.
const (
	besideValue = "text follows an inserted value that stands bare: put the whole value in quotation marks; a key cannot be inserted"
	foldedValue = "a quotation with an inserted value must end on its line"
	notHex      = `\ is not followed by as many hexadecimal digits as it wants`
)

// where says what s is in, for errors.
func (s state) where() string {
	switch {
	case s.awaiting:
		return "on a line that not all branches or turns have begun"
	case s.word == "$":
		return "right after a $ or the name of a variable"
	case s.escape > 0 && s.mode == inSingle:
		return "right after a quotation mark"
	case s.escape > 0:
		return "in the middle of an escape sequence"
	case s.quotation() && s.keyed:
		return "in a key"
	case s.quotation() && s.folded:
		return "in a quotation of several lines"
	case strings.ContainsAny(s.stack, substitutions):
		return "in a substitution"
	case s.mode == atLine && s.indent > s.parent:
		return "in the middle of a bare value"
	}
	switch s.mode {
	case atValue:
		return "where a value begins"
	case filled, inText, afterBlank, afterColon, inWord, atWord:
		return "in the middle of a bare value"
	case atLine, atEntry, inDash:
		return "at the start of a line, where a key stands"
	case inKey, afterKey:
		return "in a key"
	case inName:
		return "in the name of a section or in a directive"
	case inComment:
		return "in a comment"
	case inSingle:
		return "between single quotation marks"
	case inDouble:
		return "between double quotation marks"
	case inLines:
		return "in a quotation of several lines"
	case inTag:
		return "in a tag"
	case inHeader, inBlock, atBlock:
		return "in a block scalar, or in a bare value of several lines"
	case inANSI:
		return "in a quotation that begins with $'"
	case inEnd, inHere:
		return "in a here-document"
	case inMarkup, inElement:
		return "in a tag, outside of its quotation marks"
	}
	return "in CDATA, an instruction or a declaration"
}

// remedy says what can be done about an insertion that s has no place for.
func (s state) remedy() string {
	switch {
	case s.awaiting:
		return ": put a line break before"
	case s.escape > 0, s.word == "$":
		return ""
	case s.mode == atLine && s.indent > s.parent, s.mode == filled, s.mode == inText, s.mode == afterBlank, s.mode == afterColon:
		return ": put the whole value in quotation marks"
	}
	return "; raw inserts it as it is"
}

// join returns what is known where two branches meet, if they fit together.
func join(a, b state) (state, bool) {
	switch {
	case a.mode == dead:
		return b, true
	case b.mode == dead:
		return a, true
	case a.indent != b.indent && (a.mode == atLine || a.mode == atEntry || a.mode == atBlock):
		return a, false
	case a.mode <= afterBlank && b.mode <= afterBlank:
		a.word, b.word = "", ""
		a.mode = max(a.mode, b.mode)
	case bareWord(a.mode) && bareWord(b.mode):
		a.mode = max(a.mode, b.mode)
	case a.mode != b.mode:
		return a, false
	}
	a.parent, a.indent = min(a.parent, b.parent), min(a.indent, b.indent)
	a.inserted = a.inserted || b.inserted
	a.folded = a.folded || b.folded
	b.mode, b.parent, b.indent, b.inserted, b.folded = a.mode, a.parent, a.indent, a.inserted, a.folded
	return a, a == b
}

func bareWord(m mode) bool { return m == inWord || m == atWord }

package render

// push returns s within one more bracket.
func (s state) push(bracket byte) state {
	s.stack += string(bracket)
	return s.inside()
}

// pop returns s without its innermost bracket.
func (s state) pop() state {
	if s.stack != "" {
		s.stack = s.stack[:len(s.stack)-1]
	}
	return s.inside()
}

// inside returns s between the items of its innermost bracket. In an object
// that is before a key, until a colon or equals sign: so is what follows a
// value, and it makes no difference there whether a comma has come.
func (s state) inside() state {
	s.mode = atValue
	if s.stack != "" && s.stack[len(s.stack)-1] == '{' {
		s.mode = inKey
	}
	s.inserted, s.folded, s.keyed = false, false, false
	return s
}

// quote returns s within a quotation.
func (s state) quote(mark byte) state {
	s.keyed = s.mode == inKey
	s.inserted, s.folded = false, false
	s.mode = inDouble
	if mark == '\'' {
		s.mode = inSingle
	}
	return s
}

// digitsAfter returns how many hexadecimal digits follow the letter of an
// escape sequence.
func digitsAfter(letter byte) int {
	switch letter {
	case 'x':
		return 2
	case 'u':
		return 4
	case 'U':
		return 8
	}
	return 0
}

// escaped is a step within an escape sequence of a quotation: escape is 1
// before its letter, and 1 more than the digits that are missing.
func (s state) escaped(c byte) state {
	if s.escape == 1 {
		s.escape = 0
		if n := digitsAfter(c); n > 0 {
			s.escape = n + 1
		}
		return s
	}
	s.escape--
	if s.escape == 1 || !isHex(c) {
		s.escape = 0
	}
	if !isHex(c) {
		return s.failed(notHex)
	}
	return s
}

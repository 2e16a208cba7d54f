// Package line makes one bounded line of a text from outside.
package line

import (
	"strings"
	"unicode"
)

// longest is the most characters of a line.
const longest = 600

// Of returns s as a person may read it in a log or on a terminal: what does not
// print, such as ends of lines and escape sequences, is a space, and what is
// beyond 600 characters is left out.
func Of(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	if r := []rune(s); len(r) > longest {
		s = string(r[:longest]) + "…"
	}
	return strings.TrimSpace(s)
}

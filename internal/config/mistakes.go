package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Mistake is one thing that is wrong in the configuration, and where.
type Mistake struct {
	File   string // as it was named to Load, or the name of an environment variable
	Line   int    // from 1; 0: the file as a whole
	Column int    // from 1, in characters; 0 with Line
	Key    string // such as apps.billing.files[0].template; empty: no key in particular
	Text   string // what is wrong, with the remedy when there is one
}

// String returns the mistake on one line, as compilers do:
// file:line:col: key: text.
func (m Mistake) String() string {
	s := m.File
	if m.Line > 0 {
		s = fmt.Sprintf("%s:%d:%d", m.File, m.Line, m.Column)
	}
	if m.Key != "" {
		s += ": " + m.Key
	}
	return s + ": " + m.Text
}

// Mistakes is every Mistake of a configuration, by file and place. It is the
// one error that Load returns.
type Mistakes []Mistake

// Error returns the mistakes, one a line, without a newline at the end.
func (m Mistakes) Error() string {
	lines := make([]string, len(m))
	for i, mistake := range m {
		lines[i] = mistake.String()
	}
	return strings.Join(lines, "\n")
}

// sort orders by file, then place; what shares a place keeps the order in
// which it was found.
func (m Mistakes) sort() {
	slices.SortStableFunc(m, func(a, b Mistake) int {
		return cmp.Or(
			cmp.Compare(a.File, b.File),
			cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column))
	})
}

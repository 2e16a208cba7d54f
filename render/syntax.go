package render

import (
	"regexp"
	"sort"
	"strconv"
	"strings"
)

// syntaxError says in our words, and with a column, what text/template's
// parser says of t's text with a line.
func (t *Template) syntaxError(err error) *Error {
	detail := err.Error()
	pos := t.unclosed()
	if !strings.HasSuffix(detail, "unexpected EOF") {
		open, end := t.broken(detail)
		pos = open + max(0, strings.Index(t.text[open:end], token(detail)))
	}
	return t.failure(pos, "", fault(complaint(detail)))
}

// broken returns where the action that the parser stopped at begins, and
// where the next one may: the parser says the same of the text up to there,
// and something else of everything shorter.
func (t *Template) broken(detail string) (open, end int) {
	cuts := []int{0}
	for i := 0; ; {
		n := strings.Index(t.text[i:], "}}")
		if n < 0 {
			break
		}
		i += n + 2
		cuts = append(cuts, i)
	}
	cuts = append(cuts, len(t.text))
	n := 1 + sort.Search(len(cuts)-2, func(i int) bool {
		_, err := parseTrees(t.text[:cuts[i+1]])
		return err != nil && err.Error() == detail
	})
	open, end = cuts[n-1], cuts[n]
	return open + max(0, strings.Index(t.text[open:end], "{{")), end
}

// unclosed returns where the innermost block that has no end begins.
func (t *Template) unclosed() int {
	var blocks []int
	for _, m := range regexp.MustCompile(`\{\{-?\s*(if|range|with|define|block|end)\b`).FindAllStringSubmatchIndex(t.text, -1) {
		switch {
		case t.text[m[2]:m[3]] != "end":
			blocks = append(blocks, m[0])
		case len(blocks) > 0:
			blocks = blocks[:len(blocks)-1]
		}
	}
	if len(blocks) == 0 {
		return len(t.text)
	}
	return blocks[len(blocks)-1]
}

// token returns the part of the text that the parser names; empty when it
// names none, or only the beginning of one.
func token(detail string) string {
	m := regexp.MustCompile(`"(?:[^"\\]|\\.)*"|<(\w+)>|'(.)'`).FindStringSubmatch(detail)
	if m == nil {
		return ""
	}
	if text, err := strconv.Unquote(m[0]); err == nil {
		return text
	}
	return m[1]
}

// complaint translates what the parser says.
func complaint(detail string) string {
	named := strconv.Quote(token(detail))
	for _, c := range []struct{ contains, message string }{
		{"unexpected EOF", "the block that begins here is not closed: {{ end }} is missing"},
		{"unclosed action", "the action that begins here is not closed: }} is missing"},
		{"unclosed comment", "the comment that begins here is not closed: */}} is missing"},
		{"comment ends before", "the comment is not closed: */ stands right before }}"},
		{"unclosed left paren", "a ) is missing"},
		{"unexpected right paren", "a ) is too many"},
		{"unterminated", "a quotation is not closed"},
		{"{{break}} outside", "{{ break }} stands outside {{ range }}"},
		{"{{continue}} outside", "{{ continue }} stands outside {{ range }}"},
		{"unexpected {{end}}", "{{ end }} closes no block"},
		{"unexpected {{else", "{{ else }} belongs to no block"},
		{"expected end; found {{else", "{{ else }} comes twice in one block"},
		{"undefined variable", "variable " + named + " is not declared"},
		{"multiple definition", "template " + named + " is defined twice"},
		{"missing value", "a value is missing"},
		{"empty command", "a value is missing"},
		{"number syntax", named + " is not a number"},
		{"integer overflow", named + " is too large a number"},
		{"non executable command", "only a function can stand after |"},
		{"can only initialize", "range declares variables and nothing else before :="},
		{"too many declarations", "too many variables are declared"},
		{"expected :=", ":= is incomplete"},
		{"unexpected . after", "fields cannot follow " + named},
		{"max expression depth", "parentheses are nested too deep"},
	} {
		if strings.Contains(detail, c.contains) {
			return c.message
		}
	}
	if token(detail) != "" {
		return named + " has no place here"
	}
	return "the syntax is wrong here"
}

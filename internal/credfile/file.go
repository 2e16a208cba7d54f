package credfile

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// file is a credentials file, line by line.
type file []line

// line is one line as it stands, and what it is.
type line struct {
	text string
	end  string // "\n" or "\r\n"; "" where the file ends without
	kind kind
	name string // of a section; of a key, indented or not, in lower case
}

type kind uint8

const (
	blank kind = iota
	comment
	header
	property
	indented // a value's further line, or a nested key
)

// headerPattern leaves out what follows a section's name, unless it has a
// bracket, where botocore would take the name to end.
var headerPattern = regexp.MustCompile(`^\[([^\[\]#;]+)\]\s*([#;][^\]]*)?$`)

func (f *file) text() string {
	var b strings.Builder
	for _, l := range *f {
		b.WriteString(l.text)
		b.WriteString(l.end)
	}
	return b.String()
}

// mistake is the error of a line, which counts from 0 here.
func mistake(i int, what string) error { return fmt.Errorf("line %d: %s", i+1, what) }

// parse refuses what readers would not all divide into the same sections.
func parse(text string) (*file, error) {
	f := new(file)
	sections := map[string]bool{}
	for i := 0; text != ""; i++ {
		l := cut(&text)
		if reason := l.classify(); reason != "" {
			return nil, mistake(i, reason)
		}
		switch {
		case l.kind == header && sections[l.name]:
			return nil, mistake(i, "a second section of this name; join the two")
		case l.kind == header:
			sections[l.name] = true
		case l.kind != blank && l.kind != comment && len(sections) == 0:
			return nil, mistake(i, "a key before the first section; put it into one")
		}
		*f = append(*f, l)
	}
	return f, nil
}

// cut takes the first line off text.
func cut(text *string) line {
	first, rest, ended := strings.Cut(*text, "\n")
	*text = rest
	l := line{text: first}
	if ended {
		l.end = "\n"
	}
	if s, ok := strings.CutSuffix(first, "\r"); ok && ended {
		l.text, l.end = s, "\r\n"
	}
	return l
}

// classify sets the line's kind and name, or says why it cannot.
func (l *line) classify() string {
	trimmed := strings.TrimSpace(l.text)
	switch first, _ := utf8.DecodeRuneInString(l.text); {
	case strings.ContainsFunc(l.text, func(r rune) bool { return unicode.IsControl(r) && r != '\t' }):
		return "a control character, of which readers make different things; remove it"
	case trimmed == "":
		l.kind = blank
	case strings.IndexByte("#;", trimmed[0]) >= 0:
		l.kind = comment
	case first == '[':
		match := headerPattern.FindStringSubmatch(l.text)
		if match == nil || strings.TrimSpace(match[1]) != match[1] {
			return "not a section's name in brackets without spaces around it; correct it"
		}
		l.kind, l.name = header, match[1]
	case trimmed[0] == '[':
		return "readers differ on an indented bracket; move it to the margin, or remove it"
	case unicode.IsSpace(first):
		l.kind, l.name = indented, key(trimmed)
	case key(trimmed) == "":
		return "neither a section, a key with its value, nor a comment; correct or remove it"
	default:
		l.kind, l.name = property, key(trimmed)
	}
	return ""
}

// key returns the key of a property, in lower case; empty: it has none.
func key(text string) string {
	i := strings.IndexAny(text, "=:")
	return strings.ToLower(strings.TrimSpace(text[:max(i, 0)]))
}

// insert puts lines at i, each with the end that the line before has.
func (f *file) insert(i int, lines []line) {
	end := "\n"
	for _, l := range (*f)[:i] {
		if l.end != "" {
			end = l.end
		}
	}
	if len(lines) > 0 && i > 0 {
		(*f)[i-1].end = end
	}
	for n := range lines {
		lines[n].end = end
	}
	*f = slices.Insert(*f, i, lines...)
}

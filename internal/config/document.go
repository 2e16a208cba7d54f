package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// document parses the one YAML document of a file. It returns nil after a
// mistake.
func (r *reader) document(from *source, text []byte) *value {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var first, second yaml.Node
	err := decoder.Decode(&first)
	if err == nil {
		if err = decoder.Decode(&second); err == nil {
			r.mistakes = append(r.mistakes, Mistake{File: from.name, Line: second.Line, Column: second.Column,
				Text: "a second document begins here; a file holds one"})
			return nil
		}
	}
	if !errors.Is(err, io.EOF) {
		r.mistakes = append(r.mistakes, syntaxMistake(from.name, text, err))
		return nil
	}
	if first.IsZero() || first.Content[0].Tag == "!!null" {
		r.wrong(from.name, "the file is empty; docs/configuration.md has a sample")
		return nil
	}
	return &value{Node: first.Content[0], from: from}
}

// syntaxMistake finds the place of a syntax error, of which the parser tells
// at most a line, and words the traps that people fall into most.
func syntaxMistake(file string, text []byte, err error) Mistake {
	said := strings.TrimPrefix(err.Error(), "yaml: ")
	line, at := 1, -1
	if m := regexp.MustCompile(`^line ([0-9]+): `).FindStringSubmatch(said); m != nil {
		line, _ = strconv.Atoi(m[1])
		said = said[len(m[0]):]
	}
	switch {
	case strings.HasPrefix(said, "did not find expected"):
		line = linesRead(text) // the parser names the line before the enclosing block
	case strings.HasPrefix(said, "unknown anchor"):
		at = bytes.IndexByte(text, '*')
		said = noAliases
	case strings.Contains(said, "UTF-8"):
		at = bytes.IndexFunc(text, func(c rune) bool { return c == utf8.RuneError })
		said = "the file is not UTF-8: " + said
	case strings.HasPrefix(said, "control characters"):
		at = bytes.IndexFunc(text, func(c rune) bool { return c < ' ' && c != '\t' && c != '\n' && c != '\r' || c == 0x7f })
	}
	if at < 0 {
		at, said = startOfTrouble(text, line, said)
	}
	before := text[:at]
	bol := bytes.LastIndexByte(before, '\n') + 1
	return Mistake{File: file, Line: 1 + bytes.Count(before, []byte("\n")), Column: 1 + utf8.RuneCount(before[bol:]), Text: said}
}

// startOfTrouble returns the offset of what is wrong in a line, as far as
// one can see: its first character that is not blank, or the one that no
// plain value may start with.
func startOfTrouble(text []byte, line int, said string) (int, string) {
	at := 0
	for n := 1; n < line; n++ {
		next := bytes.IndexByte(text[at:], '\n')
		if next < 0 || at+next+1 == len(text) {
			break
		}
		at += next + 1
	}
	rest, _, _ := bytes.Cut(text[at:], []byte("\n"))
	indent := len(rest) - len(bytes.TrimLeft(rest, " \t"))
	if tab := bytes.IndexByte(rest[:indent], '\t'); tab >= 0 {
		return at + tab, "a tab in the indentation; YAML takes spaces only"
	}
	if strings.HasPrefix(said, "found character that cannot start") {
		if bad := bytes.IndexAny(rest, "@`%"); bad >= 0 {
			return at + bad, fmt.Sprintf("a plain value cannot start with %c; put it in quotes", rest[bad])
		}
	}
	return at + indent, said
}

// linesRead returns the line at which the parser gives up when it is handed
// the text a line at a time.
func linesRead(text []byte) int {
	lines := &lineReader{rest: text}
	decoder := yaml.NewDecoder(lines)
	for decoder.Decode(new(yaml.Node)) == nil {
		continue // the error may be in a later document
	}
	return lines.count
}

// lineReader hands out one line a read, as far as it fits, and counts them.
type lineReader struct {
	rest  []byte
	count int
}

func (l *lineReader) Read(p []byte) (int, error) {
	if len(l.rest) == 0 {
		return 0, io.EOF
	}
	n := min(len(p), len(l.rest))
	if end := bytes.IndexByte(l.rest[:n], '\n'); end >= 0 {
		n = end + 1
		l.count++
	} else if n == len(l.rest) {
		l.count++
	}
	copy(p, l.rest[:n])
	l.rest = l.rest[n:]
	return n, nil
}

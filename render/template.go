// Package render turns a snapshot and templates into the bytes of files.
package render

import (
	"errors"
	"slices"
	"text/template/parse"

	"outrider/secret"
)

// Template is a parsed template. It is immutable and safe for concurrent use.
type Template struct {
	source  string
	text    string
	trees   map[string]*parse.Tree // rewritten; by the name of the define, the main one under ""
	sites   []site                 // what the calls in the trees refer to
	secrets []string               // the secrets that the text can reach
	format  Format
	grammar *grammar // of the format; nil for None
}

// Parse is ParseAs with the format None.
func Parse(source, text string, secrets []string) (*Template, error) {
	return ParseAs(None, source, text, secrets)
}

// ParseAs parses text, the language of text/template with the functions of
// docs/templates.md. Source is the name that errors use, secrets are the
// names that the app declares. All mistakes that can be told without the
// values are returned at once, joined in the order of the text, each an
// *Error: wrong syntax, unknown or refused functions, a wrong number of
// arguments, undefined templates and, where . or $ is certain to be the
// root, secrets that are not declared. With a format also insertions where
// it allows none, and branches of which it cannot tell where they end.
func ParseAs(format Format, source, text string, secrets []string) (*Template, error) {
	t := &Template{source: source, text: text, format: format}
	g, err := format.grammar()
	if err != nil {
		return nil, t.failure(0, "", err)
	}
	t.grammar = g
	trees, err := parseTrees(text)
	if err != nil {
		return nil, t.syntaxError(err)
	}
	t.trees = trees
	if mistake := t.tooDeep(); mistake != nil {
		return nil, mistake
	}
	p := t.place()
	if mistakes := append(p.mistakes, t.rewrite(secrets, p.places)...); len(mistakes) > 0 {
		return nil, joined(mistakes)
	}
	return t, nil
}

// parseTrees parses the text alone: functions are checked by rewrite, which
// knows their columns.
func parseTrees(text string) (map[string]*parse.Tree, error) {
	trees := map[string]*parse.Tree{}
	main := parse.New("")
	main.Mode = parse.SkipFuncCheck
	_, err := main.Parse(text, "", "", trees)
	return trees, err
}

// joined sorts mistakes by their place and returns them as one error.
func joined(mistakes []*Error) error {
	slices.SortStableFunc(mistakes, func(a, b *Error) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	// A template that is called from several places has its mistakes in each.
	mistakes = slices.CompactFunc(mistakes, func(a, b *Error) bool { return *a == *b })
	if len(mistakes) == 1 {
		return mistakes[0]
	}
	errs := make([]error, len(mistakes))
	for i, m := range mistakes {
		errs[i] = m
	}
	return errors.Join(errs...)
}

// Execute returns the whole result of the template for the snapshot, or an
// *Error and nothing. A result is well-formed in the template's format: what
// is not is an error without a place in the template. It does not block.
func (t *Template) Execute(s secret.Snapshot) (secret.Value, error) {
	x := &execution{template: t, snapshot: s}
	out, err := x.run()
	if err != nil {
		return secret.Value{}, err
	}
	return secret.NewValue(out), nil
}

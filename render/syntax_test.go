package render

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSyntaxErrorsHaveAPlaceAndOurWords(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"an action without end":            {"a\n b={{ .db.x", "t:2:4: the action that begins here is not closed: }} is missing"},
		"an action closed by the next one": {"a={{ .db.x\nb={{ .db.y }}", "t:2:2: \"=\" has no place here"},
		"an action without end before a }": {"a={{ .db.x }\n", "t:1:12: \"}\" has no place here"},
		"a comment without end":            {"{{/* a\n", "t:1:1: the comment that begins here is not closed: */}} is missing"},
		"a comment with text after it":     {"{{/* a */ x }}", "t:1:1: the comment is not closed: */ stands right before }}"},
		"a block without end":              {"{{ if .db }}\n{{ range .db.l }}x\n{{ end }}", "t:1:1: the block that begins here is not closed: {{ end }} is missing"},
		"an inner block without end":       {"{{ if .db }}{{ end }}\n  {{- range .db.l }}x", "t:2:3: the block that begins here is not closed: {{ end }} is missing"},
		"an end too many":                  {"x\n{{ .a }}{{ end }}", "t:2:9: {{ end }} closes no block"},
		"an else too many":                 {"{{ else }}", "t:1:1: {{ else }} belongs to no block"},
		"two elses":                        {"{{ if 1 }}{{ else }}{{ else }}{{ end }}", "t:1:21: {{ else }} comes twice in one block"},
		"a break outside a range":          {"{{ .a }} {{ break }}", "t:1:10: {{ break }} stands outside {{ range }}"},
		"a variable that is not declared":  {"{{ .a }}{{ print .b $x }}", "t:1:21: variable \"$x\" is not declared"},
		"a variable out of its block":      {"{{ if 1 }}{{ $x := 1 }}{{ end }}{{ $x }}", "t:1:36: variable \"$x\" is not declared"},
		"a quotation without end":          {"{{ print \"a }}\n", "t:1:1: a quotation is not closed"},
		"a quotation that holds }}":        {"{{ print \"}}\" }}{{ print ) }}", "t:1:17: a ) is too many"},
		"a parenthesis without end":        {"{{ print (.a }}", "t:1:1: a ) is missing"},
		"an empty action":                  {"x {{ }}", "t:1:3: a value is missing"},
		"a value after a bar":              {"{{ .a | .b }}{{ .a | 1 }}", "t:1:14: only a function can stand after |"},
		"a number with letters":            {"{{ 12ab }}", "t:1:4: \"12a\" is not a number"},
		"a number too large":               {"{{ 99999999999999999999 }}", "t:1:4: \"99999999999999999999\" is too large a number"},
		"a character from elsewhere":       {"{{ .a }} {{ .a & }}", "t:1:16: \"&\" has no place here"},
		"a template without a name":        {"{{ template x }}", "t:1:13: \"x\" has no place here"},
		"a template defined twice":         {"{{ define \"a\" }}x{{ end }}\n{{ define \"a\" }}y{{ end }}", "t:2:18: template \"a\" is defined twice"},
		"a dash in a name":                 {"{{ .a-b }}", "t:1:6: \"-\" has no place here"},
		"a mistake far down":               {"{{ .a }}\n{{ .b }}\n{{ .c }}{{ .d }} {{ .e ) }}\n{{ .f }}", "t:3:18: a ) is too many"},
		"a field of a literal":             {"{{ 1.x }}", "t:1:4: \"1.x\" is not a number"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("t", test.text, nil)
			if err == nil {
				t.Fatal("got no error")
			}
			if diff := cmp.Diff(err.Error(), test.want); diff != "" {
				t.Errorf("got -, want +:\n%s", diff)
			}
		})
	}
}

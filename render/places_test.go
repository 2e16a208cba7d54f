package render

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"
	compose "github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"

	"outrider/secret"
)

// fragments returns what templates of a format are made of here, and how
// their results are read: as anything that cmp can compare.
func fragments(f Format) (pieces []string, read func(string) (any, error)) {
	always := []string{"{{ .v }}", "{{ .v }}", "{{ .v }}", "a", " ", "\n", "\n", "\"", "'", "#", "=", ":", "\\", "{{ if .yes }}", "{{ else }}", "{{ end }}", "{{ range .list }}", "{{ end }}"}
	switch f {
	case Properties:
		return append(always, "!", "k=", "\nk", "\\\n", "\\u0041", "k: "), certain(readProperties)
	case JSON:
		return append(always, "{", "}", "[", "]", ",", "\"k\":", "\"k\": \"", "{\"k\": ", "[1, "), func(s string) (v any, err error) { return v, json.Unmarshal([]byte(s), &v) }
	case YAML:
		return append(always, "\nk: ", "\n  k: ", "\n- ", "\n  - ", "- ", "? ", ": ", ", ", "[", "]", "{", "}", "|\n", ">-\n", "\n  ", "\n    a", "---\n", "!!str ", "&a ", "*a", "''", " #", "%", "\tb", "...", "\nk:"), func(s string) (any, error) {
			var all []any
			d := yaml.NewDecoder(strings.NewReader(s))
			for {
				var v any
				if err := d.Decode(&v); errors.Is(err, io.EOF) {
					return all, nil
				} else if err != nil {
					return nil, err
				}
				all = append(all, v)
			}
		}
	case TOML:
		return append(always, "\nk = ", "\n[t]\n", "\n[[t]]\n", "\"\"", "\"\"\"", "'''", "[", "]", "{", "}", ", ", "k = ", " #", "\\\\"), func(s string) (v any, err error) {
			_, err = toml.Decode(s, &v)
			return v, err
		}
	case Dotenv:
		return append(always, "\nK=", "export ", "$", "${", "}", "\"${A:-", "\nK=\"$A", "\nK='", "\nK=\"", " #"), func(s string) (any, error) { return compose.Parse(strings.NewReader(s)) }
	case SystemdEnvironment:
		return append(always, "\nK=", ";", "$", "\\\n", "\nK='", "\nK=\""), func(s string) (any, error) { return environmentFile(s) }
	case INI:
		return append(always, "\nk=", "[s]\n", "[s]\nk: ", ";", "%%", "%(x)s", "\n k", "\n  "), func(s string) (any, error) { return iniFile(s) }
	case Pgpass:
		return append(always, "::::", ":", "\n#", "a:b:c:d:"), func(s string) (any, error) {
			all := []any{}
			for _, fields := range pgpassFile(s) {
				all = append(all, fields)
			}
			return all, nil
		}
	case MyCnf:
		return append(always, "\nk=", "[c]\n", "\n[c]\nk='", "\nk=\"", "!include ", ";", "\\n"), certain(readMyCnf)
	case Shell:
		return append(always, "\nK=", "$", "$(", ")", "${", "}", "`", "<<E\n", "\nE\n", "<<-'E'", "; ", " && ", "echo ", "(", "${a:-", "\"$", "$'", "\\\n", " #", "((", "<"), readScript
	case XML:
		return append(always, "<r>", "</r>", "<r a=\"", "\"/>", "<!--", "-->", "<![CDATA[", "]]>", "<?x", "?>", "&", "&lt;", "<r>", "</r>", ">", "<!DOCTYPE r [", "]>", "<r a='"), readTokens
	}
	return nil, nil
}

func certain(read func(*testing.T, string) reads) func(string) (any, error) {
	return func(s string) (any, error) { return read(nil, s), nil }
}

func readTokens(s string) (any, error) {
	var tokens []any
	d := xml.NewDecoder(strings.NewReader(s))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return tokens, nil
		}
		if err != nil {
			return nil, err
		}
		if text, ok := token.(xml.CharData); ok {
			token = string(text)
		}
		tokens = append(tokens, xml.CopyToken(token))
	}
}

// readScript returns the kinds of a script's nodes, and its words as the
// shell expands them where that takes no command.
func readScript(s string) (any, error) {
	file, err := syntax.NewParser(syntax.KeepComments(true)).Parse(strings.NewReader(s), "")
	if err != nil {
		return nil, err
	}
	var seen []any
	syntax.Walk(file, func(n syntax.Node) bool {
		switch n := n.(type) {
		case nil:
			return true
		case *syntax.Comment:
			seen = append(seen, n.Text)
		case *syntax.Word:
			fields, ok := expanded(n)
			if ok {
				seen = append(seen, fmt.Sprint(len(fields)), strings.Join(fields, " "))
			}
			return !ok
		case *syntax.Lit, *syntax.SglQuoted: // a value may take several of them
		default:
			seen = append(seen, fmt.Sprintf("%T", n))
		}
		return true
	})
	return seen, nil
}

// expanded returns what the shell makes of a word, if that takes neither a
// command nor anything else that panics without an environment.
func expanded(w *syntax.Word) (fields []string, ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	fields, err := expand.Fields(&expand.Config{}, w)
	return fields, err == nil
}

// nested returns a template of a format whose brackets must close, or one
// value of it; empty for the other formats.
func nested(f Format, r *rand.Rand, depth int) string {
	several := func(between string, item func(i int) string) string {
		var items []string
		for i := range r.IntN(4) {
			items = append(items, item(i))
		}
		return strings.Join(items, between)
	}
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	insertion := pick("{{ .v }}", "{{ .v }}", "{{ if .yes }}{{ .v }}{{ else }}1{{ end }}", "{{ range $i, $_ := parseJSON .list }}{{ if $i }}, {{ end }}{{ $.v }}{{ end }}")
	value := func(int) string { return nested(f, r, depth+1) }
	text := pick("{{ .v }}", "a", `\\`, `\"`, " #", "a{{ .v }}b", ":", `\u0041{{ .v }}`, "'")
	switch f {
	case JSON:
		switch n := r.IntN(6); {
		case n < 2 && depth < 4:
			return "[" + several(pick(",", " , ", ",\n"), value) + "]"
		case n < 4 && depth < 4:
			return "{" + several(",", func(i int) string { return fmt.Sprintf("%q%s", fmt.Sprint("k", i), pick(":", " : ")) + value(i) }) + "}"
		case n == 4:
			return `"` + text + pick("", text) + `"`
		}
		return insertion
	case TOML:
		if depth == 0 {
			return several("\n", func(i int) string {
				return pick("", fmt.Sprintf("[t%d]\n", i), "# note\n") + fmt.Sprintf("k%d = ", i) + value(i) + pick("", " # note", "#")
			})
		}
		switch n := r.IntN(6); {
		case n < 2 && depth < 4:
			return "[" + several(pick(",", " , ", ",\n", ", # note\n"), value) + pick("", "\n") + "]"
		case n == 2 && depth < 4:
			return "{" + several(", ", func(i int) string { return fmt.Sprintf("k%d = ", i) + value(i) }) + "}"
		case n == 3:
			return pick(`"`+text+text+`"`, "'"+pick("", "a{{ .v }}", "{{ .v }}", `\`)+"'", `""`, "\"\"\"\na\"\"b\"\"\"", "'''\n'a'''")
		}
		return insertion
	case XML:
		inner := several("", func(i int) string {
			if depth > 3 || r.IntN(3) == 0 {
				return pick("{{ .v }}", "<!-- ' -->", "<![CDATA[<\"]]>", "a'\"", "&lt;", "<?p '?>", "{{ if .yes }}<e/>{{ end }}", "\n")
			}
			return value(i)
		})
		return pick("<r>", "<r a='{{ .v }}'>", "<r a=\"'{{ .v }}>\" b='\"'>", "<r\n>") + inner + "</r>"
	}
	return ""
}

const marked = "zq7" // what is plain in all formats, and stands nowhere else

// replaced returns what was read with marked for a value in the value's
// place.
func replaced(v any, value string) any {
	switch v := v.(type) {
	case string:
		return strings.ReplaceAll(v, marked, value)
	case reads:
		out := reads{}
		for k, e := range v {
			out[k] = strings.ReplaceAll(e, marked, value)
		}
		return out
	case map[string]string:
		out := map[string]string{}
		for k, e := range v {
			out[k] = strings.ReplaceAll(e, marked, value)
		}
		return out
	case map[string]any:
		out := map[string]any{}
		for k, e := range v {
			out[k] = replaced(e, value)
		}
		return out
	case []map[string]any:
		out := []map[string]any{}
		for _, e := range v {
			out = append(out, replaced(e, value).(map[string]any))
		}
		return out
	case map[any]any:
		out := map[any]any{}
		for k, e := range v {
			out[k] = replaced(e, value)
		}
		return out
	case []any:
		if v == nil {
			return v
		}
		out := []any{}
		for _, e := range v {
			out = append(out, replaced(e, value))
		}
		return out
	case xml.StartElement:
		v = v.Copy()
		for i := range v.Attr {
			v.Attr[i].Value = strings.ReplaceAll(v.Attr[i].Value, marked, value)
		}
		return v
	}
	return v
}

// seenAlike checks that a template with a value in it reads as with any
// other. It reports whether there was something to see.
func seenAlike(t *testing.T, f Format, read func(string) (any, error), text, value string) bool {
	t.Helper()
	if value == "" || f == Shell && strings.Contains(value, "\r") {
		return false // blanks around the former are lost; syntax drops the latter before a line feed
	}
	tmpl, err := ParseAs(f, "t", text, []string{"v", "yes", "list"})
	if err != nil || !strings.Contains(text, ".v") {
		return false
	}
	plain, err := tmpl.Execute(inserted(marked))
	if err != nil {
		return false
	}
	other, err := tmpl.Execute(inserted(value))
	if err != nil {
		return false
	}
	before, err := read(string(plain.Reveal()))
	if err != nil {
		return false
	}
	got, err := read(string(other.Reveal()))
	if err != nil {
		t.Errorf("%s: %q with %q does not read any more: %v: %q", f, text, value, err, other.Reveal())
		return true
	}
	if d := cmp.Diff(got, replaced(before, value)); d != "" {
		t.Errorf("%s: %q with %q is %q; it reads (got -, want +):\n%s", f, text, value, other.Reveal(), d)
	}
	return true
}

// inserted returns a snapshot with a value.
func inserted(value string) secret.Snapshot {
	return secret.NewSnapshot(time.Unix(0, 0), map[string]secret.Version{
		"v": {Value: secret.Text(value), Binary: true}, "yes": {Value: secret.Text("y")}, "list": {Value: secret.Text(`["1","2"]`)},
	})
}

// trial makes a template of a format and inserts a value, both by luck.
func trial(t *testing.T, f Format, seed uint64, values []string) bool {
	t.Helper()
	pieces, read := fragments(f)
	if pieces == nil {
		return false
	}
	r := rand.New(rand.NewPCG(seed, 0))
	text := nested(f, r, 0)
	if text == "" || r.IntN(4) == 0 {
		text = ""
		for range 2 + r.IntN(9) {
			text += pieces[r.IntN(len(pieces))]
		}
	}
	return seenAlike(t, f, read, text, values[r.IntN(len(values))])
}

// TestNoValueIsMoreThanOne makes templates at random. Where one is accepted,
// its result is to read alike whatever the value.
func TestNoValueIsMoreThanOne(t *testing.T) {
	values := passwords()
	for _, f := range Formats() {
		t.Run(string(f), func(t *testing.T) {
			seen := 0
			for seed := range uint64(3000) {
				if trial(t, f, seed, values) {
					seen++
				}
			}
			t.Logf("%d templates with something to see", seen)
		})
	}
}

func FuzzTemplates(f *testing.F) {
	values := passwords()
	f.Add(uint64(0))
	f.Fuzz(func(t *testing.T, seed uint64) {
		for _, format := range Formats() {
			trial(t, format, seed, values)
		}
	})
}

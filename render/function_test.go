package render

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Masterminds/sprig/v3"
	"github.com/google/go-cmp/cmp"

	"outrider/secret"
)

func TestFunctionsDoWhatTheDocumentationSays(t *testing.T) {
	for text, want := range map[string]string{
		// consul-template's order of arguments and meaning where Sprig has the name as well.
		`{{ split "," " a,b " | join "-" }}`:                       "a-b",
		`{{ .db.hosts | join "," }}`:                               "a,b",
		`{{ "xax" | trim "x" }}`:                                   "a",
		`{{ trimPrefix "a" "ab" }}{{ trimSuffix "b" "ab" }}`:       "ba",
		`{{ contains "a" "abc" }}{{ in "abc" "d" }}`:               "truefalse",
		`{{ .db.hosts | contains "b" }}{{ in .db.hosts "c" }}`:     "truefalse",
		`{{ contains 2 (list 1 2) }}{{ contains "2" (list 1 2) }}`: "truefalse",
		`{{ $a := list "a" "z" }}{{ containsAll $a .db.hosts }}{{ containsAny $a .db.hosts }}{{ containsNone $a .db.hosts }}{{ containsNotAll $a .db.hosts }}`: "falsetruefalsetrue",
		`{{ containsAll (list) .db.hosts }}{{ containsAny (list) .db.hosts }}`:                                                                                 "truefalse",
		`{{ indent 2 "a\n\nb\n" }}`:                                "  a\n\n  b\n",
		`{{ "a.b" | regexReplaceAll "([a-z])[.]" "${1}_" }}`:       "a_b",
		`{{ "ab" | regexMatch "^a" }}`:                             "true",
		`{{ "a.b.c" | replaceAll "." "/" }}`:                       "a/b/c",
		`{{ 7 | subtract 2 }} {{ 7 | divide 2 }} {{ modulo 4 7 }}`: "5 3 3",
		`{{ add 1 2 }} {{ multiply 2 1.5 }} {{ add .db.port 1 }}`:  "3 3 5433",
		`{{ minimum 1 2.5 }} {{ maximum 1 2.5 }}`:                  "1 2.5",
		`{{ add .db.ratio 1 }}`:                                    "2.5",
		`{{ loop 3 | toJSON }}{{ range $i, $n := loop 5 7 }} {{ $i }}:{{ $n }}{{ end }}{{ loop "1" "2" | toJSON }}`: "[0,1,2] 0:5 1:6[1]",
		`{{ (splitToMap "," "=" "a=1,b,c=2") | toJSON }}`:                                                           `{"a":"1","c":"2"}`,
		`{{ "aGk=" | base64Decode }}{{ "hi??" | base64URLEncode }}{{ base64URLDecode "aGk_Pw==" }}`:                 "hiaGk_Pw==hi??",
		`{{ sha256Hex "a" }} {{ md5sum "a" }}`:                                                                      "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb 0cc175b9c0f1b6a831c399e269772661",
		`{{ hmacSHA256Hex "The quick brown fox jumps over the lazy dog" "key" }}`:                                   "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8",
		`{{ toTitle "don't STOP the_x é" }}`:                                                                        "Don't STOP The_x É",
		`{{ toUpper "a" }}{{ toLower "A" }}{{ trimSpace " a " }}`:                                                   "Aaa",
		`{{ parseBool "" }}{{ parseBool "1" }}{{ parseInt "" }}{{ parseUint "7" }}{{ parseFloat "1.5" }}`:           "falsetrue071.5",
		`{{ (parseJSON "{\"a\":111122223333}").a }}{{ parseJSON "" | toJSON }}`:                                     "111122223333{}",
		`{{ (parseYAML "a: {b: [1, x]}").a.b | toJSON }}`:                                                           `[1,"x"]`,
		`{{ dict "a/b" 1 "a/c" 2 "d" 3 | explodeMap | toJSON }}`:                                                    `{"a":{"b":1,"c":2},"d":3}`,
		`{{ mergeMap (dict "a" 1) (dict "a" 2 "b" 3) | toJSON }}`:                                                   `{"a":1,"b":3}`,
		`{{ mergeMapWithOverride (dict "a" 1) (dict "a" 2 "b" 3) | toJSON }}`:                                       `{"a":2,"b":3}`,
		`{{ toJSON "<" }}{{ toUnescapedJSON "<" }}`:                                                                 `"\u003c""<"`,
		`{{ toJSONPretty (dict "a" "<") }}{{ toUnescapedJSONPretty (dict "a" "<") }}`:                               "{\n  \"a\": \"\\u003c\"\n}{\n  \"a\": \"<\"\n}",
		`{{ toJSON .db }}`: `{"account":111122223333,"big":123456789012345678901234567890,"cert":{"key":"KEY","pem":"PEM"},"hosts":["a","b"],"none":null,"password":"p@ss}}\"w","port":5432,"ratio":1.50,"tls":true,"username":"app","zero":0}`,
		`{{ toYAML (pick .db "hosts" "ratio" "big" "port" "tls" "none") }}`: "big: 123456789012345678901234567890\nhosts:\n- a\n- b\nnone: null\nport: 5432\nratio: 1.50\ntls: true",
		`{{ toTOML (pick .db "ratio" "port" "cert") }}`:                     "port = 5432\nratio = 1.5\n\n[cert]\n  key = \"KEY\"\n  pem = \"PEM\"",
		// Ours.
		`{{ keys .db.cert | join "," }}{{ values .db.cert | join "," }}{{ sprig_keys .db.cert .db.cert | join "," }}`:   "key,pemKEY,PEMkey,key,pem,pem",
		`{{ get .db "port" }}{{ dig "cert" "pem" "none" .db }}{{ sprig_get .db "x" }}{{ sprig_dig "x" "default" .db }}`: "5432PEMdefault",
		`{{ index .db "hosts" 1 }}{{ index (index .db.hosts 0) 0 }}`:                                                    "b97",
		`{{ .db.port | raw }}`: "5432",
		// text/template's.
		`{{ len .db.hosts }}{{ len .smtp }}{{ len .db.cert }}`:                                                                                    "282",
		`{{ slice "abcd" 1 3 }}{{ slice .db.hosts 1 | join "" }}`:                                                                                 "bcb",
		`{{ print .db.port .blob }} {{ printf "%s-%d" .db.ratio .db.port }}`:                                                                      "5432\xff\x00a 1.50-5432",
		`{{ html "<" }}{{ js "'" }}{{ urlquery "a b" }}{{ not .db.zero }}`:                                                                        `&lt;\'a+btrue`,
		`{{ eq .db.port 5432 }}{{ eq .db.port 1 5432 }}{{ eq .db.ratio 1.5 }}{{ ne .db.username "x" }}{{ eq .db.none nil }}{{ eq .db.tls true }}`: "truetruetruetruetruetrue",
		`{{ lt .db.port 6000 }}{{ le 1 1.0 }}{{ gt .db.ratio 2 }}{{ ge "b" "a" }}`:                                                                "truetruefalsetrue",
		// Sprig's, with numbers as secrets hold them.
		`{{ add1 .db.port }} {{ int .db.ratio }} {{ until .db.zero | toJson }} {{ mulf .db.ratio 2 }} {{ sprig_add .db.port 1 }}`: "5433 0 [] 3 5433",
		`{{ .db.port | quote }}{{ .db.ratio | quote }}{{ .db.port | b64enc }}{{ default 5 .db.zero }}`:                            `"5432""1.50"NTQzMg==5`,
		`{{ sprig_split "," "a,b" | toJson }}{{ atoi .smtp }}{{ sprig_slice (list 1 2) 1 | toJson }}`:                             `{"_0":"a","_1":"b"}0[2]`,
		`{{ durationRound "2h10m" }}{{ ternary "a" "b" .db.tls }}{{ hasKey .db "x" }}`:                                            "2hafalse",
	} {
		got, err := render(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got != want {
			t.Errorf("%s:\n got %q\nwant %q", text, got, want)
		}
	}
}

// canary is part of every value that the tests below use, in whatever case.
const canary = "zq7canary"

// canaries returns secrets all of whose values are canaries.
func canaries() secret.Snapshot {
	return secret.NewSnapshot(time.Unix(0, 0), map[string]secret.Version{
		"text": {Value: secret.Text(canary + "!,=\n/")},
		"blob": {Value: secret.NewValue([]byte(canary + "\xff")), Binary: true},
		"s": {Value: secret.Text(`{"yaml": "` + canary + `: [(", "number": 7310582946, "ratio": 7310582946.50,
			"list": ["` + canary + `", 7310582946], "object": {"a": "` + canary + `"}, "none": null}`)},
	})
}

// leaks returns the part of a value that a text shows, if it does.
func leaks(text string) string {
	for _, part := range []string{canary[:4], "canary", "7310582946"} {
		if strings.Contains(strings.ToLower(text), part) {
			return part
		}
	}
	return ""
}

func TestNoFunctionShowsItsArgumentsInAnErrorOrGivesTwoResults(t *testing.T) {
	operands := []string{".text", ".blob", ".s.yaml", ".s.number", ".s.ratio", ".s.list", ".s.object", ".s.none"}
	var l library
	failed := 0
	for name := range l.names() {
		for _, operand := range operands {
			for _, form := range []string{"{{ F }}", "{{ F X }}", "{{ F X X }}", "{{ F X X X }}", `{{ F "x" X }}`, "{{ F 1 X }}", "{{ F X 1 }}",
				"{{ F 1 1 X }}", "{{ F 1 X X }}", `{{ F (dict X X) X }}`, `{{ F X (dict X X) }}`, `{{ F X X (dict "a" X) }}`, "{{ F (list X) }}", "{{ (F X).x }}", "{{ range F X }}{{ . }}{{ end }}"} {
				text := strings.NewReplacer("F", name, "X", operand).Replace(form)
				tmpl, err := Parse("t", text, canaries().Names())
				if err == nil {
					failed += executesAlike(t, text, tmpl)
				} else if part := leaks(err.Error()); part != "" {
					t.Errorf("%s: Parse's error shows %q", text, part)
				}
			}
		}
	}
	if failed < 5000 {
		t.Errorf("got %d errors: too few to prove anything", failed)
	}
}

// executesAlike executes a template twice and returns how many errors it saw.
func executesAlike(t *testing.T, text string, tmpl *Template) int {
	v, err := tmpl.Execute(canaries())
	if err == nil {
		if w, err := tmpl.Execute(canaries()); err != nil || !v.Equal(w) {
			t.Errorf("%s: got another result the second time", text)
		}
		return 0
	}
	if part := leaks(err.Error()); part != "" {
		t.Errorf("%s: the error shows %q", text, part)
	}
	return 1
}

func TestSprigIsThereButForWhatIsRandomOrReadsTheHost(t *testing.T) {
	var l library
	for name := range sprig.TxtFuncMap() {
		if _, hermetic := sprig.HermeticTxtFuncMap()[name]; !hermetic && refused(name) == "" {
			t.Errorf("%s is not hermetic by Sprig's own list, and not refused", name)
		}
		_, err := l.find("sprig_" + name)
		if why := refused(name); (why == "") != (err == nil) {
			t.Errorf("sprig_%s: got error %v, want refused: %v", name, err, why != "")
		}
		if _, bare := l.find(name); (bare == nil) != (err == nil) {
			t.Errorf("%s: got error %v", name, bare)
		}
	}
}

// TestTheDocumentationListsEveryFunction compares docs/templates.md with the
// library: functions are what stands in the first column of its tables.
func TestTheDocumentationListsEveryFunction(t *testing.T) {
	page, err := os.ReadFile("../docs/templates.md")
	if err != nil {
		t.Fatal(err)
	}
	available, gone, found := strings.Cut(string(page), "\n## Functions that are not there\n")
	if !found {
		t.Fatal("the page has no section on functions that are not there")
	}
	var l library
	if diff := cmp.Diff(firstColumns(available), slices.Collect(l.names())); diff != "" {
		t.Errorf("functions: got - from the page, want +:\n%s", diff)
	}
	for _, name := range firstColumns(gone) {
		if refused(name) == "" {
			t.Errorf("%s is not refused", name)
		}
	}
	source, err := os.ReadFile("library.go")
	if err != nil {
		t.Fatal(err)
	}
	_, cases, _ := strings.Cut(string(source), "func refused(")
	for _, line := range regexp.MustCompile(`(?m)^\t(?:case |\t)"[^\n]*`).FindAllString(cases, -1) {
		for _, m := range regexp.MustCompile(`"(\w+)"`).FindAllStringSubmatch(line, -1) {
			if !slices.Contains(firstColumns(gone), m[1]) {
				t.Errorf("the page does not say that %s is refused", m[1])
			}
		}
	}
}

// firstColumns returns the words in backquotes in the first columns of all
// tables, sorted.
func firstColumns(page string) []string {
	var words []string
	for _, row := range regexp.MustCompile(`(?m)^\|([^|\n]*)\|`).FindAllStringSubmatch(page, -1) {
		for _, m := range regexp.MustCompile("`(\\w+)`").FindAllStringSubmatch(row[1], -1) {
			words = append(words, m[1])
		}
	}
	slices.Sort(words)
	return words
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"", "{{ .db.x }}", "a: {{ .db.x }}\n- |\n  {{ .db.x }}", "[\"{{ .db.x }}\", '''{{ .db.x }}]", "cat <<-E $(\n{{ .db.x }}", "<a b='{{ .db.x }}'><![CDATA[ {{ .db.x }}", "a=\"${ {{ .db.x }}\\u00", "{{ if", "{{ define \"a\" }}{{ end }}{{ template \"a\" . }}", "{{ range $i, $x := .db }}{{ $x | toUpper }}{{ end }}",
		"{{/* */}}{{- `}}` -}}", "{{ (index . \"db\" \"x\").y 1 | print nil 'a' 0x1p4 }}", "{{ with $x := 1 }}{{ else with 2 }}{{ break }}{{ end }}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, f := range Formats() {
			if t, err := ParseAs(f, "t", text, []string{"db"}); err == nil {
				_, _ = t.Execute(secret.NewSnapshot(time.Unix(0, 0), map[string]secret.Version{"db": {Value: secret.Text(`{"x": "y"}`)}}))
			}
		}
		_, err := Parse("t", text, []string{"db"})
		if err == nil {
			return
		}
		lines := strings.Count(text, "\n") + 1
		for message := range strings.SplitSeq(err.Error(), "\nt:") {
			var line, column int
			if n, _ := fmt.Sscanf(strings.TrimPrefix(message, "t:"), "%d:%d:", &line, &column); n != 2 || line < 1 || line > lines || column < 1 {
				t.Errorf("got %q, want a place within %d lines", message, lines)
			}
		}
	})
}

func FuzzExecute(f *testing.F) {
	for _, seed := range []string{"{{ .db.v | atoi }}{{ .db.x }}", "{{ semver .db.v }}", "{{ index .db .text }}", "{{ (dict .text 1).x }}", "{{ urlParse .text }}",
		"{{ range $k, $v := .db }}{{ parseInt $v }}{{ end }}", "{{ fail .text }}", "{{ printf .text 1 }}", "{{ executeTemplate .text . }}", "{{ regexFind .text .text }}"} {
		f.Add(seed, "\"\\")
	}
	f.Fuzz(func(t *testing.T, text, value string) {
		if leaks(text) != "" {
			return
		}
		for _, f := range Formats() {
			tmpl, err := ParseAs(f, "t", text, []string{"db", "text"})
			if err == nil {
				_, err = tmpl.Execute(secret.NewSnapshot(time.Unix(0, 0), map[string]secret.Version{
					"db":   {Value: secret.Text(fmt.Sprintf(`{"v":%q,"n":7310582946}`, canary+value))},
					"text": {Value: secret.Text(canary + value)},
				}))
			}
			if err != nil && leaks(err.Error()) != "" {
				t.Errorf("%s: %q: the error shows a value", f, text)
			}
		}
	})
}

const small = "url=jdbc:postgresql://{{ .db.username }}@db/{{ .db.port }}\npassword={{ .db.password | toJSON }}\n"

func BenchmarkParse(b *testing.B) {
	for name, text := range map[string]string{"fields": "a={{ .db.username }}\n", "consul": small, "sprig": "a={{ .db.username | quote }}\n"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			names := snapshot().Names()
			for b.Loop() {
				if _, err := Parse("t", text, names); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkExecute(b *testing.B) {
	b.ReportAllocs()
	s := snapshot()
	tmpl, err := Parse("t", small, s.Names())
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := tmpl.Execute(s); err != nil {
			b.Fatal(err)
		}
	}
}

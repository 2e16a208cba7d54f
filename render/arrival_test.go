package render

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"outrider/secret"
)

// form is one way to write a value into a file: KEY stands for a name, VALUE
// for what is inserted.
type form struct {
	text    string
	around  string             // what the application gets, VALUE again; empty: VALUE alone
	carries func(string) error // nil: what the format carries
}

// proof is how it is shown that values arrive.
type proof struct {
	format  Format
	head    string // of a file
	tail    string
	between string // entries
	forms   map[string]form
	carries func(string) error                               // why the format cannot carry a value
	readers map[string]func(t *testing.T, file string) reads // by name; one that is not installed skips
}

// reads is what an application read: values by KEY.
type reads map[string]string

// refuses returns the reason, for all values that the predicate holds for.
func refuses(reason string, when ...func(string) bool) func(string) error {
	return func(v string) error {
		for _, w := range when {
			if w(v) {
				return fault(reason)
			}
		}
		return nil
	}
}

func holdsAny(chars string) func(string) bool {
	return func(v string) bool { return strings.ContainsAny(v, chars) }
}

func notUTF8(v string) bool { return !utf8.ValidString(v) }

func edgesBlank(v string) bool {
	return strings.TrimFunc(v, isPythonSpace) != v
}

// controls reports control characters but tab and line feed.
func controls(v string) bool {
	return strings.ContainsFunc(v, func(r rune) bool { return unicode.IsControl(r) && r != '\t' && r != '\n' })
}

func noncharacters(v string) bool {
	return strings.ContainsFunc(v, func(r rune) bool {
		return r == '\ufeff' || r&0xfffe == 0xfffe || r >= 0xfdd0 && r <= 0xfdef
	})
}

// unquotable reports what YAML and TOML do not let stand as it is.
func unquotable(v string) bool {
	return strings.ContainsFunc(v, func(r rune) bool {
		return unicode.IsControl(r) && r != '\t' || strings.ContainsRune("\u2028\u2029\ufeff\ufffe\uffff", r)
	})
}

func proofs() []proof {
	nul := holdsAny("\x00")
	return []proof{
		{
			format: Properties,
			forms: map[string]form{
				"bare":                  {text: "KEY=VALUE"},
				"after a blank":         {text: "KEY VALUE"},
				"after text":            {text: "KEY: x VALUE", around: "x VALUE"},
				"on a continued line":   {text: "KEY = x\\\n   VALUE", around: "xVALUE"},
				"between single quotes": {text: "KEY='VALUE'", around: "'VALUE'"},
				"between double quotes": {text: `KEY="VALUE"`, around: `"VALUE"`},
			},
			carries: refuses("not UTF-8", notUTF8),
			readers: map[string]func(*testing.T, string) reads{"the documented grammar": readProperties, "java": readJava},
		},
		{
			format: INI, head: "# note\n[s]\n",
			forms: map[string]form{
				"bare":                  {text: "KEY = VALUE"},
				"after a colon":         {text: "KEY:VALUE"},
				"after text":            {text: "KEY = xVALUE", around: "xVALUE"},
				"on a continued line":   {text: "KEY = x\n   yVALUE", around: "x\nyVALUE"},
				"between single quotes": {text: "KEY='VALUE'", around: "'VALUE'"},
				"between double quotes": {text: `KEY="VALUE"`, around: `"VALUE"`},
			},
			carries: refuses("", holdsAny("\n\r"), edgesBlank, notUTF8),
			readers: map[string]func(*testing.T, string) reads{"the documented grammar": readINI, "python": readConfigparser},
		},
		{
			format: Dotenv, head: "# note\n",
			forms: map[string]form{
				"bare":                  {text: "KEY=VALUE"},
				"bare with a note":      {text: "export KEY= VALUE # note"},
				"between single quotes": {text: "KEY='VALUE'", carries: refuses("", holdsAny("\x00'\r"), func(v string) bool { return strings.HasSuffix(v, `\`) }, notUTF8)},
				"between double quotes": {text: `KEY="VALUE"`},
				"amid double quotes":    {text: `KEY="a${B:-x}VALUE$$" # note`, around: "axVALUE$"},
			},
			carries: refuses("", nul, notUTF8),
			readers: map[string]func(*testing.T, string) reads{"compose": readCompose},
		},
		{
			format: JSON, head: "{\n", between: ",\n", tail: "}\n",
			forms: map[string]form{
				"bare":                  {text: `"KEY": VALUE`},
				"in a list":             {text: `"KEY": [VALUE]`, around: "[VALUE]"},
				"between double quotes": {text: `"KEY": "xVALUE\n"`, around: "xVALUE\n"},
			},
			carries: refuses("", notUTF8),
			readers: map[string]func(*testing.T, string) reads{"encoding/json": readJSON, "python": readPythonJSON},
		},
		{
			format: YAML, head: "# note\n",
			forms: map[string]form{
				"bare":                     {text: "KEY: VALUE"},
				"bare with a note":         {text: "KEY: !!str VALUE # note"},
				"on a line of its own":     {text: "KEY:\n  VALUE"},
				"in a list":                {text: "KEY:\n- VALUE", around: "[VALUE]"},
				"in brackets":              {text: "KEY: [ VALUE ]", around: "[VALUE]"},
				"between single quotes":    {text: "KEY: 'it''s VALUE'", around: "it's VALUE", carries: refuses("", unquotable, notUTF8)},
				"alone in single quotes":   {text: "KEY: 'VALUE'", carries: refuses("", unquotable, notUTF8)},
				"between double quotes":    {text: `KEY: "VALUE\n"`, around: "VALUE\n"},
				"in braces":                {text: `KEY: {a: 1, b: "VALUE"}`, around: "{VALUE}"},
				"in braces without quotes": {text: `KEY: {"a":1,"b":VALUE}`, around: "{VALUE}"},
			},
			carries: refuses("", notUTF8),
			readers: map[string]func(*testing.T, string) reads{"go-yaml": readYAML, "python": readPythonYAML},
		},
		{
			format: MyCnf, head: "[client]\n",
			forms: map[string]form{
				"bare":                  {text: "KEY=VALUE"},
				"bare with a note":      {text: "KEY = VALUE # it's a note"},
				"between single quotes": {text: "KEY='VALUE' # note"},
				"between double quotes": {text: `KEY = "VALUE"`},
				"amid double quotes":    {text: `KEY="a\tVALUE#'"#note`, around: "a\tVALUE#'"},
			},
			carries: refuses("", nul),
			readers: map[string]func(*testing.T, string) reads{"the documented grammar": readMyCnf, "mariadb": readMariaDB},
		},
		{
			format: SystemdEnvironment, head: "# note\n; note\n",
			forms: map[string]form{
				"bare":                  {text: "KEY=VALUE"},
				"after blanks":          {text: "KEY = VALUE  "},
				"between single quotes": {text: "KEY='VALUE'", carries: refuses("", controls, noncharacters, holdsAny("'"), notUTF8)},
				"between double quotes": {text: `KEY="xVALUE\y"`, around: `xVALUE\y`},
			},
			carries: refuses("", controls, noncharacters, notUTF8),
			readers: map[string]func(*testing.T, string) reads{"the documented grammar": readEnvironment},
		},
		{
			format: TOML, head: "# note\n[t]\n",
			forms: map[string]form{
				"bare":                  {text: "KEY = VALUE # note"},
				"in a list":             {text: "KEY = [\n  VALUE, # note\n]", around: "[VALUE]"},
				"in an inline table":    {text: "KEY = {a = \"\", b = VALUE}", around: "{VALUE}"},
				"between single quotes": {text: "KEY = 'VALUE'", carries: refuses("", unquotable, holdsAny("'"), notUTF8)},
				"between double quotes": {text: `KEY = "xVALUE\n"`, around: "xVALUE\n"},
			},
			carries: refuses("", notUTF8),
			readers: map[string]func(*testing.T, string) reads{"BurntSushi": readTOML, "python": readPythonTOML},
		},
		{
			format: Shell, head: "#!/bin/sh\n# note\n: \"$(echo '\"')\" <<EOF\n'\nEOF\n",
			forms: map[string]form{
				"bare":                  {text: "KEY=VALUE; export KEY"},
				"after text":            {text: "KEY=x\\ VALUE'#'", around: "x VALUE#"},
				"as an argument":        {text: "set -- VALUE 2>/dev/null && KEY=$1"},
				"between single quotes": {text: "KEY='VALUE'"},
				"between double quotes": {text: `KEY="${HOME+x}VALUE#"`, around: "xVALUE#"},
			},
			carries: refuses("", nul, notUTF8),
			readers: map[string]func(*testing.T, string) reads{"sh": readShell},
		},
		{
			format: Pgpass, head: "# note\n",
			forms: map[string]form{
				"bare": {text: "KEY:*:*:u:VALUE"},
			},
			carries: refuses("", holdsAny("\n\r\x00")),
			readers: map[string]func(*testing.T, string) reads{"the documented grammar": readPgpass, "libpq": readLibpq},
		},
		{
			format: XML, head: "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>\n<!-- note --><r>\n", tail: "</r>\n",
			forms: map[string]form{
				"in an element":         {text: "<v k='KEY'>VALUE</v>"},
				"after CDATA":           {text: `<v k="KEY"><![CDATA[<&]]>VALUE&lt;</v>`, around: "<&VALUE<"},
				"between single quotes": {text: `<v k="KEY" a='VALUE'/>`},
				"between double quotes": {text: `<v a="VALUE" k='KEY'/>`},
			},
			carries: refuses("", notUTF8, func(v string) bool {
				return strings.ContainsFunc(v, func(r rune) bool {
					return r < ' ' && !strings.ContainsRune("\t\n\r", r) || r == '\ufffe' || r == '\uffff'
				})
			}),
			readers: map[string]func(*testing.T, string) reads{"encoding/xml": readXML, "python": readPythonXML},
		},
	}
}

// written is a value in a form.
type written struct {
	form  form
	value string
}

// reason returns why the format cannot carry a value, or nil.
func (p proof) reason(w written) error {
	if w.form.carries != nil {
		return w.form.carries(w.value)
	}
	return p.carries(w.value)
}

// file returns the file that holds values, each in its form under its key,
// and what an application must read of it.
func (p proof) file(entries []written) (string, reads, error) {
	want, versions := reads{}, map[string]secret.Version{}
	var lines []string
	for i, e := range entries {
		name := strconv.Itoa(i)
		versions["v"+name] = secret.Version{Value: secret.Text(e.value), Binary: true}
		lines = append(lines, strings.NewReplacer("KEY", "k"+name, "VALUE", "{{ .v"+name+" }}").Replace(e.form.text))
		want["k"+name] = strings.Replace(cmp.Or(e.form.around, "VALUE"), "VALUE", e.value, 1)
	}
	s := secret.NewSnapshot(time.Unix(0, 0), versions)
	tmpl, err := ParseAs(p.format, "t", p.head+strings.Join(lines, cmp.Or(p.between, "\n"))+"\n"+p.tail, s.Names())
	if err != nil {
		return "", nil, err
	}
	result, err := tmpl.Execute(s)
	return string(result.Reveal()), want, err
}

// passwords returns values that give trouble, and random ones made of what
// gives trouble.
func passwords() []string {
	values := []string{"", " ", "a", "5432", "true", "null", "~", "-", "--", "---", "*", "|", ">", "%", "%%", "%(x)s", "%s", "$", "$$", "$HOME", "${HOME}",
		"$(id)", "`id`", "#", "a#b", "a #b", "#a", ";", "a;b", "!", "!a", "=", "=a", ":", ":a", "a: b", "a:", "\\", "\\\\", "a\\", "\\n", "\\u0041", "\\\n", "'", "''",
		"\"", "\"\"", "'\"'", "\"a\"", "'a'", "'a", "a'", "\"a", "a\"", " a", "a ", "\ta", "a\t", "\n", "a\nb", "\na", "a\n", "a\n\n  b\n", "\r", "a\rb", "a\r\nb", "\x00", "a\x00b",
		"\x01", "\x1b[0m", "\x7f", "\u0085", "a\u0085b", "\u00a0", "é", "caffà", "à", "日本", "😀", "\u2028", "a\u2029b", "\ufeff", "a\ufeffb", "\ufffd", "\ufffe", "\uffff", "\ufdd0",
		"\xff", "a\xffb", "\xc3", "{{ .x }}", "}}", "{", "[a]", "<", ">", "&", "&amp;", "]]>", "<!--", "-->", "?>", "\\'", "\\\"", "\\$", "'\\", "\"\\", "$\\'\"`", "a'b\"c",
		"export A=1", "EOF", "rem", "- a", "? a", "%YAML", "@a", "a,b", "{a: b}", "0x10", "1e3", "yes", ".inf", "2024-05-06", "<<", "!!str a", "&a", "*a",
		strings.Repeat("x", 2000), strings.Repeat(`\'"`, 300), "-----BEGIN KEY-----\nMIIE\n=+/\n-----END KEY-----\n", `!"#$%&'()*+,-./:;<=>?@[\]^_{|}~` + "`"}
	random := rand.New(rand.NewPCG(1, 2))
	const pieces = "\"\"''\\\\$$##%%``  \t\n!=:;{}()[]<>&|~*,.-@aun0sx\r\x00\x0béà\u0085\u2028😀"
	runes := []rune(pieces)
	for range 150 {
		var b strings.Builder
		for range 1 + random.IntN(12) {
			b.WriteRune(runes[random.IntN(len(runes))])
		}
		values = append(values, b.String())
	}
	return values
}

// TestValuesArriveAsTheyAre sends values through our templates and out of
// other people's parsers. What a format cannot carry must fail, and nothing
// else may.
func TestValuesArriveAsTheyAre(t *testing.T) {
	for _, p := range proofs() {
		t.Run(string(p.format), func(t *testing.T) {
			var carried []written
			for name, f := range p.forms {
				for _, v := range passwords() {
					w := written{f, v}
					_, _, err := p.file([]written{w})
					if reason := p.reason(w); (err == nil) != (reason == nil) {
						t.Errorf("%s, %q: got error %v, want one: %v", name, v, err, reason != nil)
					} else if err == nil {
						carried = append(carried, w)
					}
				}
			}
			file, want, err := p.file(carried)
			if err != nil {
				t.Fatal(err)
			}
			for name, read := range p.readers {
				t.Run(name, func(t *testing.T) { diff(t, read(t, file), want) })
			}
		})
	}
}

// TestOtherReadersOfDotenvAgree proves what docs/templates.md says of those
// that are not Docker Compose: bare values that may stand between single
// quotation marks.
func TestOtherReadersOfDotenvAgree(t *testing.T) {
	p := proofs()[slices.IndexFunc(proofs(), func(p proof) bool { return p.format == Dotenv })]
	alone := p.forms["between single quotes"]
	var all []written
	for _, v := range passwords() {
		if p.reason(written{alone, v}) == nil {
			all = append(all, written{p.forms["bare"], v})
		}
	}
	file, want, err := p.file(all)
	if err != nil {
		t.Fatal(err)
	}
	for name, read := range map[string]func(*testing.T, string) reads{"godotenv": readGodotenv, "node": readNode, "sh": readShell} {
		t.Run(name, func(t *testing.T) { diff(t, read(t, file), want) })
	}
}

// TestTheLongestLineOfMyCnf shows that MariaDB reads as much as we write.
func TestTheLongestLineOfMyCnf(t *testing.T) {
	p := proofs()[slices.IndexFunc(proofs(), func(p proof) bool { return p.format == MyCnf })]
	longest := maxMyCnf - len("k0=")
	file, want, err := p.file([]written{{p.forms["bare"], strings.Repeat("x", longest)}})
	if err != nil {
		t.Fatal(err)
	}
	diff(t, readMariaDB(t, file), want)
	if _, _, err := p.file([]written{{p.forms["bare"], strings.Repeat("x", longest+1)}}); err == nil {
		t.Error("a line that is longer is no error")
	}
	file = strings.Replace(file, "=x", "=xx", 1)
	if got := readMariaDB(t, file); got["k0"] == strings.Repeat("x", longest+1) {
		t.Error("MariaDB reads a line that is longer")
	}
}

func diff(t *testing.T, got, want reads) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("got %d values, want %d", len(got), len(want))
	}
	for key, w := range want {
		if g, ok := got[key]; g != w || !ok {
			t.Errorf("%s: got %q, want %q", key, g, w)
		}
	}
}

func FuzzValuesArrive(f *testing.F) {
	for _, v := range passwords() {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v string) {
		for _, p := range proofs() {
			for name, form := range p.forms {
				w := written{form, v}
				file, want, err := p.file([]written{w})
				if reason := p.reason(w); (err == nil) != (reason == nil) {
					t.Fatalf("%s, %s, %q: got error %v, want one: %v", p.format, name, v, err, reason != nil)
				}
				if read := p.quickest(); err == nil && read != nil {
					diff(t, read(t, file), want)
				}
			}
		}
	})
}

// quickest returns a reader that starts no program, if there is one.
func (p proof) quickest() func(*testing.T, string) reads {
	for name, read := range p.readers {
		switch name {
		case "java", "python", "mariadb", "sh", "libpq":
		default:
			return read
		}
	}
	return nil
}

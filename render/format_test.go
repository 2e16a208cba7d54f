package render

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// renderAs returns the text of a template's result in a format, or its error.
func renderAs(f Format, text string) (string, error) {
	t, err := ParseAs(f, "t", text, snapshot().Names())
	if err != nil {
		return "", err
	}
	v, err := t.Execute(snapshot())
	return string(v.Reveal()), err
}

func TestFormatsWriteValuesForWhereTheyStand(t *testing.T) {
	for name, test := range map[string]struct {
		format     Format
		text, want string
	}{
		"none is verbatim":                   {None, "{{ .db.password }}", `p@ss}}"w`},
		"so is the zero format":              {"", "{{ .db.password }}", `p@ss}}"w`},
		"strings in json":                    {JSON, `{"a": {{ .db.password }}, "b": "x{{ .db.password }}"}`, `{"a": "p@ss}}\"w", "b": "xp@ss}}\"w"}`},
		"numbers and booleans in json":       {JSON, `[{{ .db.port }}, {{ .db.ratio }}, {{ .db.big }}, {{ .db.tls }}, "{{ .db.port }}"]`, `[5432, 1.50, 123456789012345678901234567890, true, "5432"]`},
		"a number as text in json":           {JSON, `[{{ print .db.port }}, {{ .db.port | toString }}]`, `["5432", "5432"]`},
		"numbers and booleans in yaml":       {YAML, "a: {{ .db.port }}\nb: {{ .db.ratio }}\nc: {{ .db.tls }}\nd: '{{ .db.tls }}'\n", "a: 5432\nb: 1.50\nc: true\nd: 'true'\n"},
		"numbers and booleans in toml":       {TOML, "a = {{ .db.port }}\nb = [{{ .db.ratio }}, {{ .db.ratio }}]\nc = {{ .db.tls }}", "a = 5432\nb = [1.50, 1.50]\nc = true"},
		"a date is text":                     {YAML, `a: {{ toDate "2006-01-02" "2024-05-06" | kindOf }}`, `a: "struct"`},
		"the calculated is a literal":        {JSON, `[{{ add .db.port 1 }}, {{ mulf .db.ratio 2 }}, {{ eq 1 1 }}]`, `[5433, 3, true]`},
		"plain values of a my.cnf":           {MyCnf, "[client]\nuser={{ .db.username }}\nport = {{ .db.port }}\n", "[client]\nuser=app\nport = 5432\n"},
		"assignments and conditions":         {Shell, `{{ $x := .db.password }}{{ if eq .db.password "x" }}a{{ else }}b{{ end }}={{ $x }}`, `b='p@ss}}"w'`},
		"toJSON in json":                     {JSON, `{"a": {{ .db.cert | toJSON }}}`, `{"a": {"key":"KEY","pem":"PEM"}}`},
		"toJSON alone":                       {JSON, `{{ .db.cert | toJSONPretty }}`, "{\n  \"key\": \"KEY\",\n  \"pem\": \"PEM\"\n}"},
		"toJSON through a variable":          {JSON, `{{ $x := toJSON .db.hosts }}[{{ $x }}, {{ if true }}{{ $x }}{{ end }}]`, `[["a","b"], ["a","b"]]`},
		"toJSON through a default":           {JSON, `{{ .db.hosts | toJSON | default "[]" }}`, `["a","b"]`},
		"Sprig's toJson":                     {JSON, `{{ toJson .db.hosts }}{{ sprig_toRawJson .db.none | trim "nul" | toJSON | len | eq 1 | ternary "" "" | raw }}`, `["a","b"]`},
		"toJSON in a string":                 {JSON, `{"a": "{{ .db.hosts | toJSON }}"}`, `{"a": "[\"a\",\"b\"]"}`},
		"toJSON that is worked on":           {JSON, `[{{ .db.hosts | toJSON | toUpper }}, {{ .db.hosts | toJSON | printf "%s" }}]`, `["[\"A\",\"B\"]", "[\"a\",\"b\"]"]`},
		"toJSON in yaml":                     {YAML, "a: {{ .db.hosts | toJSON }}\nb: '{{ .db.hosts | toJSON }}'\n", "a: [\"a\",\"b\"]\nb: '[\"a\",\"b\"]'\n"},
		"toJSON in toml":                     {TOML, "a = {{ .db.hosts | toJSON }}\n", "a = [\"a\",\"b\"]\n"},
		"toJSON in properties":               {Properties, `a={{ .db.password | toJSON }}`, `a="p@ss}}\\"w"`},
		"toYAML on lines of its own":         {YAML, "a:\n{{ .db.cert | toYAML | indent 2 }}\nb: {{ .db.cert | toYAML | nindent 4 }}\n", "a:\n  key: KEY\n  pem: PEM\nb: \n    key: KEY\n    pem: PEM\n"},
		"toYAML of one line":                 {YAML, "- {{ .db.port | toYAML }}\n", "- 5432\n"},
		"toYAML that is worked on":           {YAML, "a: {{ .db.cert | toYAML | toUpper }}\n", "a: \"KEY: KEY\\nPEM: PEM\"\n"},
		"toYAML in json":                     {JSON, `[{{ .db.port | toYAML }}]`, `["5432"]`},
		"toTOML":                             {TOML, "[c]\n{{ .db.cert | toTOML }}\n", "[c]\nkey = \"KEY\"\npem = \"PEM\"\n"},
		"raw":                                {JSON, `[{{ raw "1, 2" }}, {{ .db.port | print | raw }}, {{ (raw "3") }}]`, `[1, 2, 5432, 3]`},
		"raw for one insertion only":         {JSON, `{{ $x := raw "1" }}[{{ $x }}, {{ raw "a" | toUpper }}]`, `["1", "A"]`},
		"raw where no value can stand":       {YAML, "# {{ raw .db.username }}\n{{ raw .db.username }}: {{ .db.username }}\nb: |\n{{ .db.password | indent 2 | raw }}\nc: {{ .db.port }}\n", "# app\napp: \"app\"\nb: |\n  p@ss}}\"w\nc: 5432\n"},
		"raw keys of properties":             {Properties, "{{ range $k, $v := .db.cert }}{{ raw $k }}={{ $v }}\n{{ end }}", "key=KEY\npem=PEM\n"},
		"arithmetic is no here-document":     {Shell, "a=$((1<<2)) b={{ .db.port }}", "a=$((1<<2)) b='5432'"},
		"an empty template":                  {Properties, "", ""},
		"a template of definitions":          {Properties, `{{ define "a" }}{{ end }}`, ""},
		"branches that end alike":            {YAML, "a: {{ if .db.tls }}{{ .db.username }}{{ else }}none{{ end }} # note\nb: 1\n", "a: \"app\" # note\nb: 1\n"},
		"a branch for a whole line":          {MyCnf, "[c]\n{{ if .db.tls }}ssl{{ end }}\n{{ if .db.tls }}# note{{ else }}a={{ .smtp }}{{ end }}\nb={{ .db.port }}", "[c]\nssl\n# note\nb=5432"},
		"a branch that ends its line":        {Dotenv, "{{ if .db.tls }}A={{ .db.port }}\n{{ end }}B={{ .db.port }}", "A=5432\nB=5432"},
		"a range over items":                 {JSON, `[{{ range $i, $h := .db.hosts }}{{ if $i }}, {{ end }}{{ $h }}{{ end }}]`, `["a", "b"]`},
		"a range over members":               {JSON, `{{ "" | raw }}{"x": 1{{ range .db.hosts }}, "h{{ raw . }}": {{ . }}{{ end }}}`, `{"x": 1, "ha": "a", "hb": "b"}`},
		"a range over entries":               {YAML, "a:\n{{- range .db.hosts }}\n  - {{ . }}\n  - b: c\n{{- end }}\nd: {{ .db.port }}\n", "a:\n  - \"a\"\n  - b: c\n  - \"b\"\n  - b: c\nd: 5432\n"},
		"a range over lines":                 {INI, "[s]{{ range .db.hosts }}\n{{ . | raw }}={{ . }}{{ end }}", "[s]\na=a\nb=b"},
		"a range left":                       {JSON, `[{{ range .db.hosts }}"{{ . }}"{{ if eq . "a" }}{{ break }}{{ end }}, {{ end }}]`, `["a"]`},
		"a template in two places":           {JSON, `{{ define "p" }}{{ .db.password }}{{ end }}{"a": {{ template "p" . }}, "b": "{{ template "p" . }}"}`, `{"a": "p@ss}}\"w", "b": "p@ss}}\"w"}`},
		"a template that opens a quotation":  {JSON, `{{ define "q" }}"{{ end }}[{{ template "q" }}{{ .db.password }}{{ template "q" }}]`, `["p@ss}}\"w"]`},
		"a template that calls itself":       {JSON, `{{ define "n" }}[{{ . }}]{{ if . }}, {{ template "n" (subtract 1 .) }}{{ end }}{{ end }}[{{ template "n" 2 }}]`, `[[2], [1], [0]]`},
		"a block":                            {XML, `<a>{{ block "b" . }}{{ .db.password }}{{ end }}</a>`, `<a>p@ss}}&#x22;w</a>`},
		"executeTemplate gives text":         {JSON, `{{ define "p" }}{{ .db.password }}!{{ end }}[{{ executeTemplate "p" . }}]`, `["p@ss}}\"w!"]`},
		"text beside values where it may be": {Properties, "url=jdbc:{{ .db.username }}@{{ .db.port }}", "url=jdbc:app@5432"},
		"yaml in all its shapes": {
			YAML,
			"%YAML 1.1\n---\na: &x !!str\n  {{ .db.username }}\nb: >-\n  {not: {{ raw \"\" }}\n\n  # no note\nc: [ 'it''s', \"a\\\"\", {d: {{ .db.port }}}, f: g ]\n\"e: f\": {{ .db.port }}\n'g':\n  - - h: http://i#j\n      k: {{ .db.port }}\n  - |\n   {{ raw \"l\" }}\n  - {{ .db.port }}\n...\n--- {{ .db.port }}\n",
			"%YAML 1.1\n---\na: &x !!str\n  \"app\"\nb: >-\n  {not: \n\n  # no note\nc: [ 'it''s', \"a\\\"\", {d: 5432}, f: g ]\n\"e: f\": 5432\n'g':\n  - - h: http://i#j\n      k: 5432\n  - |\n   l\n  - 5432\n...\n--- 5432\n",
		},
		"a script in all its shapes": {Shell, "cat <<-'E' # it's\n\t$(\"\n\tE\na=\"$(echo \"(\")${b:-x}\" c='\"' # '\ncase $a in b) echo {{ .db.port }} ;; esac", "cat <<-'E' # it's\n\t$(\"\n\tE\na=\"$(echo \"(\")${b:-x}\" c='\"' # '\ncase $a in b) echo '5432' ;; esac"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := renderAs(test.format, test.text)
			if err != nil {
				t.Fatal(err)
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestWhatFormatsRefuse(t *testing.T) {
	const beside = "text follows an inserted value that stands bare: put the whole value in quotation marks; a key cannot be inserted"
	const asItIs = "; raw inserts it as it is"
	for name, test := range map[string]struct {
		format     Format
		text, want string
	}{
		"an unknown format":                 {"yml", "", "t:1:1: there is no format yml"},
		"a comment of properties":           {Properties, "a=b\n! {{ .smtp }}", "t:2:6: a value cannot be inserted in a comment" + asItIs},
		"a comment of ini":                  {INI, "; {{ .smtp }}", "t:1:6: a value cannot be inserted in a comment" + asItIs},
		"a comment of dotenv":               {Dotenv, "A=b # {{ .smtp }}", "t:1:10: a value cannot be inserted in a comment" + asItIs},
		"a comment of my.cnf":               {MyCnf, "[a]\nb=c#{{ .smtp }}", "t:2:8: a value cannot be inserted in a comment" + asItIs},
		"a comment of systemd":              {SystemdEnvironment, "# a \\\n{{ .smtp }}", "t:2:4: a value cannot be inserted in a comment" + asItIs},
		"a comment of yaml":                 {YAML, "a: b # {{ .smtp }}", "t:1:11: a value cannot be inserted in a comment" + asItIs},
		"a comment of toml":                 {TOML, "a = [ # {{ .smtp }}\n]", "t:1:12: a value cannot be inserted in a comment" + asItIs},
		"a comment of shell":                {Shell, "a # {{ .smtp }}", "t:1:8: a value cannot be inserted in a comment" + asItIs},
		"a comment of pgpass":               {Pgpass, "# {{ .smtp }}", "t:1:6: a value cannot be inserted in a comment" + asItIs},
		"a comment of xml":                  {XML, "<a><!-- > {{ .smtp }} --></a>", "t:1:14: a value cannot be inserted in a comment" + asItIs},
		"a key of properties":               {Properties, "{{ .smtp }}=a", "t:1:4: a value cannot be inserted at the start of a line, where a key stands" + asItIs},
		"a part of a key":                   {MyCnf, "[a]\nb{{ .smtp }}=a", "t:2:5: a value cannot be inserted in a key" + asItIs},
		"a key of json":                     {JSON, `{"a": 1, "{{ .smtp }}": 1}`, "t:1:14: a value cannot be inserted in a key" + asItIs},
		"a bare key of json":                {JSON, `{ {{ .smtp }}: 1}`, "t:1:6: a value cannot be inserted in a key" + asItIs},
		"a key of yaml":                     {YAML, `{{ .smtp }}: 1`, "t:1:12: " + beside},
		"a quoted key of yaml":              {YAML, `"{{ .smtp }}": 1`, "t:1:14: " + beside},
		"a key of yaml in braces":           {YAML, `{"{{ .smtp }}": 1}`, "t:1:6: a value cannot be inserted in a key" + asItIs},
		"a key of yaml in brackets":         {YAML, `[{{ .smtp }}: 1]`, "t:1:13: " + beside},
		"a key of yaml after ?":             {YAML, "? {{ .smtp }}\n: 1", "t:1:6: a value cannot be inserted in a key" + asItIs},
		"a key of toml":                     {TOML, `{{ .smtp }} = 1`, "t:1:13: " + beside},
		"a quoted key of toml":              {TOML, `"{{ .smtp }}" = 1`, "t:1:5: a value cannot be inserted in a key" + asItIs},
		"a variable of a shell":             {Shell, `{{ .smtp }}=1`, "t:1:12: " + beside},
		"the name of a section":             {INI, "[{{ .smtp }}]", "t:1:5: a value cannot be inserted in the name of a section or in a directive" + asItIs},
		"a directive":                       {MyCnf, "!include {{ .smtp }}", "t:1:13: a value cannot be inserted in the name of a section or in a directive" + asItIs},
		"a table of toml":                   {TOML, "[[{{ .smtp }}]]", "t:1:6: a value cannot be inserted in the name of a section or in a directive" + asItIs},
		"a block scalar":                    {YAML, "a: |\n  b {{ .smtp }}", "t:2:8: a value cannot be inserted in a block scalar, or in a bare value of several lines" + asItIs},
		"the start of a block scalar":       {YAML, "- a: >-\n{{ .smtp }}", "t:2:4: a value cannot be inserted in a block scalar, or in a bare value of several lines" + asItIs},
		"a tag":                             {YAML, "a: !{{ .smtp }}", "t:1:8: a value cannot be inserted in a tag" + asItIs},
		"an alias":                          {YAML, "a: *{{ .smtp }}", "t:1:8: a value cannot be inserted in the middle of a bare value: put the whole value in quotation marks"},
		"a part of a bare value of yaml":    {YAML, "a: http://{{ .smtp }}/", "t:1:14: a value cannot be inserted in the middle of a bare value: put the whole value in quotation marks"},
		"a bare value over several lines":   {YAML, "a: b\n  {{ .smtp }}", "t:2:6: a value cannot be inserted in the middle of a bare value: put the whole value in quotation marks"},
		"a bare value in brackets":          {YAML, "[a {{ .smtp }}]", "t:1:7: a value cannot be inserted in the middle of a bare value: put the whole value in quotation marks"},
		"text after a bare value":           {YAML, "a: {{ .smtp }}/x", "t:1:15: " + beside},
		"a value after a bare value":        {Dotenv, "A={{ .smtp }}{{ .smtp }}", "t:1:17: a value cannot be inserted in the middle of a bare value: put the whole value in quotation marks"},
		"text after a quotation":            {SystemdEnvironment, "A='b'{{ .smtp }}", "t:1:9: a value cannot be inserted in the middle of a bare value: put the whole value in quotation marks"},
		"a quotation of several lines":      {YAML, "a: 'b\n  {{ .smtp }}'", "t:2:6: a value cannot be inserted in a quotation of several lines" + asItIs},
		"a quotation that goes on":          {YAML, "a: \"{{ .smtp }}\n  b\"", "t:1:16: a quotation with an inserted value must end on its line"},
		"a quotation with three marks":      {TOML, "a = \"\"\"{{ .smtp }}\"\"\"", "t:1:11: a value cannot be inserted in a quotation of several lines" + asItIs},
		"a backslash before":                {Properties, "a=\\{{ .smtp }}", "t:1:7: a value cannot be inserted in the middle of an escape sequence"},
		"a Unicode escape before":           {JSON, `["\u00{{ .smtp }}"]`, "t:1:10: a value cannot be inserted in the middle of an escape sequence"},
		"a broken Unicode escape":           {Properties, "a=\\u00x", "t:1:7: \\ is not followed by as many hexadecimal digits as it wants"},
		"a percent sign before":             {INI, "[a]\nb=50%{{ .smtp }}", "t:2:9: a value cannot be inserted in the middle of an escape sequence"},
		"a lone percent sign":               {INI, "[a]\nb=50% of", "t:2:6: a percent sign is written %%"},
		"an ampersand before":               {XML, "<a>&{{ .smtp }};</a>", "t:1:8: a value cannot be inserted in the middle of an escape sequence"},
		"a dollar before":                   {Shell, `"${{ .smtp }}"`, "t:1:6: a value cannot be inserted right after a $ or the name of a variable"},
		"the name of a variable before":     {Dotenv, `A="$HOME{{ .smtp }}"`, "t:1:12: a value cannot be inserted right after a $ or the name of a variable"},
		"a substitution":                    {Shell, `a="$(b '{{ .smtp }}')"`, "t:1:12: a value cannot be inserted in a substitution" + asItIs},
		"a substitution of dotenv":          {Dotenv, `A="${B:-{{ .smtp }}}"`, "t:1:12: a value cannot be inserted in a substitution" + asItIs},
		"a here-document":                   {Shell, "cat <<'E'\n{{ .smtp }}\nE\n", "t:2:4: a value cannot be inserted in a here-document" + asItIs},
		"a here-document in a substitution": {Shell, "a=\"$(cat <<E\n)\n{{ .smtp }}\nE\n)\"", "t:3:4: a value cannot be inserted in a substitution" + asItIs},
		"an ANSI-C quotation":               {Shell, "a=$'{{ .smtp }}'", "t:1:8: a value cannot be inserted in a quotation that begins with $'" + asItIs},
		"a tag's name":                      {XML, "<{{ .smtp }}/>", "t:1:5: a value cannot be inserted in a tag, outside of its quotation marks" + asItIs},
		"CDATA":                             {XML, "<a><![CDATA[{{ .smtp }}]]></a>", "t:1:16: a value cannot be inserted in CDATA, an instruction or a declaration" + asItIs},
		"a declaration":                     {XML, "<!DOCTYPE a [<!ENTITY b '{{ .smtp }}'>]><a/>", "t:1:29: a value cannot be inserted in CDATA, an instruction or a declaration" + asItIs},
		"a line without =":                  {Dotenv, "A=b\nC\n", "t:2:2: this line has no ="},
		"a last line without =":             {Dotenv, "A=b\nC", "t:2:2: this line has no ="},
		"a quotation without end":           {MyCnf, "[a]\nb='c\n", "t:2:5: a quotation is not closed"},
		"branches that differ":              {JSON, `[{{ if .db.tls }}"{{ end }}{{ .smtp }}"]`, "t:1:8: the branches or turns of this block end differently: between double quotation marks, and where a value begins"},
		"branches of a line":                {INI, "[a]\n{{ if .db.tls }}b=c{{ end }}{{ .smtp }}", "t:2:32: a value cannot be inserted on a line that not all branches or turns have begun: put a line break before"},
		"text after branches of a line":     {INI, "[a]\n{{ if .db.tls }}b=c{{ end }}d=e", "t:2:29: a line goes on here that another branch or turn has not begun: put a line break before, or write the line in both"},
		"turns that differ":                 {JSON, `{{ range .db.hosts }}[{{ end }}`, "t:1:10: the branches or turns of this block end differently: where a value begins, and where a value begins"},
		"turns that do not end their line":  {INI, "[a]\n{{ range .db.hosts }}b={{ . }}{{ end }}", "t:2:22: a line goes on here that another branch or turn has not begun: put a line break before, or write the line in both"},
		"a template where it cannot stand":  {JSON, `{{ define "p" }}{{ .x }}{{ end }}{{ "1" | raw }}{"{{ template "p" . }}": [{{ template "p" . }}]}`, "t:1:20: a value cannot be inserted in a key" + asItIs},
		"a template within ever more":       {JSON, `{{ define "n" }}[{{ template "n" . }}]{{ end }}{{ template "n" . }}`, "t:1:30: template n is called in too many places that differ"},
		"several mistakes, each once":       {INI, `{{ define "p" }}{{ .x }}{{ end }}# {{ range .db.hosts }}{{ template "p" . }}{{ end }}` + "\n{{ .smpt }}", "t:1:20: a value cannot be inserted in a comment" + asItIs + "\nt:2:4: a value cannot be inserted at the start of a line, where a key stands" + asItIs + "\nt:2:4: secret smpt is not declared; did you mean smtp?"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseAs(test.format, "t", test.text, snapshot().Names())
			if err == nil {
				t.Fatal("got no error")
			}
			if d := cmp.Diff(err.Error(), test.want); d != "" {
				t.Errorf("got -, want +:\n%s", d)
			}
		})
	}
}

func TestReasonsWhyAFormatFails(t *testing.T) {
	for name, test := range map[string]struct {
		format     Format
		text, want string
	}{
		"what cannot be carried":         {INI, "[a]\nb={{ .smtp }}", "t:2:6: smtp holds a line break, which ini cannot carry"},
		"what cannot be quoted":          {YAML, "a: '{{ .smtp }}'", "t:1:8: smtp holds a line break, which cannot stand between single quotation marks in yaml: take these out of the template, or write double ones"},
		"bytes":                          {JSON, "[{{ .blob }}]", "t:1:5: blob is not UTF-8 text, as json is: use base64Encode"},
		"an object":                      {JSON, "[{{ .db.cert }}]", "t:1:5: db.cert is an object: name one of its fields, or use toJSON"},
		"null":                           {JSON, "[{{ .db.none }}]", "t:1:5: db.none is null: there is nothing to insert"},
		"toYAML in the middle of a line": {YAML, "a: {{ .db.cert | toYAML }}", "t:1:7: the value has several lines: have toYAML stand at the start of a line, or write nindent after it"},
		"toYAML on an indented line":     {YAML, "a:\n  {{ .db.cert | toYAML }}", "t:2:6: the value has several lines: have toYAML stand at the start of a line, or write nindent after it"},
		"text where a key is expected":   {TOML, "{{ .smtp }}", "t:1:4: smtp stands where a key is expected: only the text of toTOML can"},
		"wrong json":                     {JSON, "[\n1,\n{{ .db.port }},\n]", "t: the result is not json: line 4: it is not JSON"},
		"wrong yaml":                     {YAML, "a: {{ .db.port }}\nb: {{ .db.port }}\na: 1\n", "t: the result is not yaml: line 3: it is not YAML, or a key stands there twice"},
		"wrong toml":                     {TOML, "a = {{ .db.port }}\nb =\n", "t: the result is not toml: line 2: it is not TOML"},
		"a number too large for toml":    {TOML, "\na = {{ .db.big }}\n", "t: the result is not toml: line 2: it is not TOML"},
		"wrong xml":                      {XML, "<a>\n<b>{{ .smtp }}</a>", "t: the result is not xml: line 3: it is not XML"},
		"xml without an element":         {XML, "<!-- -->\n", "t: the result is not xml: line 2: it is not XML"},
		"text outside of xml's element":  {XML, "<a/>\n{{ .db.port }}", "t: the result is not xml: line 1: text stands outside of the root element"},
		"a wrong script":                 {Shell, "if true\nthen {{ .db.port }}\n", "t: the result is not shell: line 1: it is not a script"},
		"too long a line of my.cnf":      {MyCnf, "[a]\nb={{ repeat 4095 \"x\" }}", "t: the result is not my.cnf: line 2: it is longer than 4094 bytes, the most that MySQL and MariaDB read"},
		"an option without a group":      {MyCnf, "# note\na=b", "t: the result is not my.cnf: line 2: an option stands before the first [group]"},
		"a group without end":            {MyCnf, "[a\n", "t: the result is not my.cnf: line 1: ] is missing"},
		"a value without a section":      {INI, "a=b", "t: the result is not ini: line 1: a value stands before the first [section]"},
		"a key twice":                    {INI, "[a]\nb=1\n[c]\nb=1\nB=2", "t: the result is not ini: line 5: this key or section is there already"},
		"a section twice":                {INI, "[a]\n[a]", "t: the result is not ini: line 2: this key or section is there already"},
		"fields too few":                 {Pgpass, "a:b:c\\:d:{{ .db.port }}", "t: the result is not pgpass: line 1: it has 4 of the 5 fields host:port:database:user:password"},
		"no name of a variable":          {SystemdEnvironment, "export A=1", "t: the result is not systemd-environment: line 1: what stands before = is not the name of a variable"},
		"no name of a variable, dotenv":  {Dotenv, "A B=1", "t: the result is not dotenv: line 1: what stands before = is not the name of a variable"},
		"a quotation without end":        {Dotenv, "A=1\nB='{{ .smtp }}\n", "t: the result is not dotenv: line 2: the quotation or escape sequence that begins here has no end"},
		"what raw breaks":                {Properties, `a={{ raw "\\u00" }}`, "t: the result is not properties: line 1: the quotation or escape sequence that begins here has no end"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := renderAs(test.format, test.text)
			if err == nil {
				t.Fatalf("got %q and no error", got)
			}
			if d := cmp.Diff(err.Error(), test.want); d != "" {
				t.Errorf("got -, want +:\n%s", d)
			}
			if e, ok := errors.AsType[*Error](err); !ok || e.Source != "t" {
				t.Errorf("got %T, want an *Error of t", err)
			}
		})
	}
}

func TestTheDocumentationListsEveryFormat(t *testing.T) {
	page, err := os.ReadFile("../docs/templates.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "| format | who reads it |")
	table, _, _ = strings.Cut(table, "\n\n")
	got := []Format{None}
	for _, row := range strings.Split(table, "\n")[2:] {
		got = append(got, Format(strings.TrimSpace(strings.Split(row, "|")[1])))
	}
	if d := cmp.Diff(got, Formats()); d != "" {
		t.Errorf("got - from the page, want +:\n%s", d)
	}
}

// configuration returns a template of ten values in a format.
func configuration(f Format) string {
	line := map[Format]string{
		None: "kN={{ .db.password }}", Properties: "kN={{ .db.password }}", Dotenv: "kN={{ .db.password }}", MyCnf: "kN={{ .db.password }}",
		JSON: `"kN": {{ .db.password }},`, YAML: "kN: {{ .db.password }}", TOML: "kN = {{ .db.password }}", Shell: "kN={{ .db.password }}",
	}[f]
	text := map[Format]string{MyCnf: "[client]\n", JSON: "{\n"}[f]
	for i := range 10 {
		text += strings.ReplaceAll(line, "N", strconv.Itoa(i)) + "\n"
	}
	return text + map[Format]string{JSON: "\"last\": true}\n"}[f]
}

func BenchmarkFormats(b *testing.B) {
	s := snapshot()
	for _, f := range []Format{None, Properties, Dotenv, JSON, YAML, MyCnf, TOML, Shell} {
		text := configuration(f)
		tmpl, err := ParseAs(f, "t", text, s.Names())
		if err != nil {
			b.Fatal(err)
		}
		b.Run(string(f)+"/parse", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ParseAs(f, "t", text, s.Names()); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(string(f)+"/execute", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := tmpl.Execute(s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

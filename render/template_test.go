package render

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"outrider/secret"
)

const dbJSON = `{"username":"app","password":"p@ss}}\"w","port":5432,"ratio":1.50,"big":123456789012345678901234567890,
	"account":111122223333,"zero":0,"tls":true,"none":null,"hosts":["a","b"],"cert":{"pem":"PEM","key":"KEY"}}`

// snapshot returns one of three secrets: an object, text and bytes.
func snapshot() secret.Snapshot {
	return secret.NewSnapshot(time.Unix(0, 0), map[string]secret.Version{
		"db":   {Value: secret.Text(dbJSON)},
		"smtp": {Value: secret.Text("hunter2\n")},
		"list": {Value: secret.Text(`["x", 1.0]`)},
		"blob": {Value: secret.NewValue([]byte{0xff, 0, 'a'}), Binary: true},
		"a-b":  {Value: secret.Text(`{"x/y":"slash"}`)},
	})
}

// render returns the text of a template's result, or its error.
func render(text string) (string, error) {
	t, err := Parse("t", text, snapshot().Names())
	if err != nil {
		return "", err
	}
	v, err := t.Execute(snapshot())
	return string(v.Reveal()), err
}

func TestTemplatesInsertWhatSecretsHold(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"text without actions":                         {"a = b\n", "a = b\n"},
		"an empty template":                            {"", ""},
		"a field":                                      {"{{ .db.username }}", "app"},
		"a field with all kinds of characters":         {"{{ .db.password }}", `p@ss}}"w`},
		"a nested field":                               {"{{ .db.cert.pem }}", "PEM"},
		"a field of a pipeline in parentheses":         {"{{ (.db).cert.pem }}{{ (index .db \"cert\").key }}", "PEMKEY"},
		"a whole number":                               {"{{ .db.port }}", "5432"},
		"a number that a float would round":            {"{{ .db.account }}", "111122223333"},
		"a number that no type holds":                  {"{{ .db.big }}", "123456789012345678901234567890"},
		"a fraction with its zeros":                    {"{{ .db.ratio }}", "1.50"},
		"true":                                         {"{{ .db.tls }}", "true"},
		"plain text as stored":                         {"{{ .smtp }}", "hunter2\n"},
		"JSON that is no object as stored":             {"{{ .list }}", `["x", 1.0]`},
		"bytes":                                        {"{{ .blob }}", "\xff\x00a"},
		"bytes through a function of text":             {"{{ .blob | base64Encode }}", "/wBh"},
		"a name that is no identifier":                 {`{{ index . "a-b" "x/y" }}`, "slash"},
		"the root by its variable":                     {"{{ with .db }}{{ $.smtp | trimSpace }}/{{ .port }}{{ end }}", "hunter2/5432"},
		"a variable":                                   {"{{ $d := .db }}{{ $d.cert.key }}{{ $d = .smtp }}{{ trimSpace $d }}", "KEYhunter2"},
		"a range over a list":                          {"{{ range .db.hosts }}[{{ . }}]{{ end }}", "[a][b]"},
		"a range with an index":                        {"{{ range $i, $h := .db.hosts }}{{ $i }}={{ $h }};{{ end }}", "0=a;1=b;"},
		"a range over an object in the order of names": {"{{ range $k, $v := .db.cert }}{{ $k }}={{ $v }};{{ end }}", "key=KEY;pem=PEM;"},
		"a range over a number":                        {"{{ range 3 }}{{ . }}{{ end }}", "012"},
		"a range left and continued":                   {"{{ range loop 9 }}{{ if eq . 1 }}{{ continue }}{{ end }}{{ if gt . 3 }}{{ break }}{{ end }}{{ . }}{{ end }}", "023"},
		"a range over null":                            {"{{ range .db.none }}x{{ else }}none{{ end }}", "none"},
		"zero is false":                                {"{{ if .db.zero }}x{{ else if .db.tls }}y{{ end }}", "y"},
		"null is false":                                {"{{ if .db.none }}x{{ else }}y{{ end }}", "y"},
		"and and or stop where they may":               {`{{ or .db.username (fail "not reached") }}{{ and .db.zero (fail "not reached") }}`, "app0"},
		"and takes a piped argument":                   {"{{ .db.username | and .db.tls }}", "app"},
		"a template of one's own":                      {`{{ define "x" }}<{{ .pem }}>{{ end }}{{ template "x" .db.cert }}{{ block "y" . }}{{ .smtp }}{{ end }}`, "<PEM>hunter2\n"},
		"an executed template":                         {`{{ define "x" }}<{{ . }}>{{ end }}{{ executeTemplate "x" .db.port | toUpper }}`, "<5432>"},
		"a scratch of this execution":                  {`{{ scratch.Set "a" 1 }}{{ scratch.SetX "a" 2 }}{{ scratch.MapSet "m" "z" "1" }}{{ scratch.MapSet "m" "b" "2" }}{{ scratch.Get "a" }}{{ scratch.MapValues "m" | join "," }}{{ scratch.Key "n" }}`, "12,1false"},
		"a method of a result":                         {`{{ (toDate "2006-01-02" "2024-05-06").Format "02.01.2006" }}{{ (semver "1.2.3").Minor }} {{ semver "1.2.3" }}`, "06.05.20242 1.2.3"},
		"trimmed space and comments":                   {"a \n{{- /* note */ -}}\n b", "ab"},
		"a floating point result without exponent":     {"{{ mulf 1000000 10.5 }} {{ parseFloat \"0.5\" }}", "10500000 0.5"},
		"a secret that was changed":                    {`{{ $_ := set .db "username" "x" }}{{ .db.username }}`, "x"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := render(test.text)
			if err != nil {
				t.Fatal(err)
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestMistakesThatParseFinds(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"an undeclared secret":                  {"a\n b={{ .dc.password }}", "t:2:7: secret dc is not declared; did you mean db?"},
		"an undeclared secret far from all":     {"{{ .nosuchthing }}", "t:1:4: secret nosuchthing is not declared"},
		"an undeclared secret after é":          {"é {{ .dc }}", "t:1:6: secret dc is not declared; did you mean db?"},
		"an undeclared secret by variable":      {"{{ range .db.hosts }}{{ $.dc.x }}{{ end }}", "t:1:25: secret dc is not declared; did you mean db?"},
		"an undeclared secret by index":         {`{{ index . "dc" "x" }}`, "t:1:4: secret dc is not declared; did you mean db?"},
		"an undeclared secret as an argument":   {`{{ toUpper .dc }}`, "t:1:12: secret dc is not declared; did you mean db?"},
		"an undeclared secret in a condition":   {"{{ if .db.tls }}{{ else if .dc }}{{ end }}", "t:1:28: secret dc is not declared; did you mean db?"},
		"two mistakes in the order of the text": {"{{ .dc }}\n{{ toUper .smtp }}", "t:1:4: secret dc is not declared; did you mean db?\nt:2:4: toUper: there is no such function; did you mean toUpper?"},
		"an unknown function of Sprig":          {"{{ sprig_uper .smtp }}", "t:1:4: sprig_uper: there is no such function; did you mean upper?"},
		"our own calls":                         {"{{ _print 0 }}", "t:1:4: _print: there is no such function; did you mean print?"},
		"too many arguments":                    {`{{ toUpper "a" "b" }}`, "t:1:4: toUpper: wants 1 argument, has 2"},
		"too few arguments":                     {`{{ .smtp | replaceAll "b" }}`, "t:1:12: replaceAll: wants 3 arguments, has 2"},
		"too few arguments for any number":      {`{{ dig "a" .db }}`, "t:1:4: dig: wants at least 3 arguments, has 2"},
		"or without arguments":                  {"{{ or }}", "t:1:4: or: wants at least 1 argument, has none"},
		"a template that is not defined":        {`{{ define "head" }}x{{ end }}{{ template "haed" }}`, `t:1:42: template "haed" is not defined; did you mean head?`},
		"an executed one that is not defined":   {`{{ executeTemplate "x" }}`, `t:1:20: template "x" is not defined`},
		"arguments for what is no function":     {`{{ "a" 1 }}{{ $x := 1 }}{{ 2 | $x }}`, "t:1:4: \"a\" is not a function: it takes no arguments\nt:1:32: $x is not a function: it takes no arguments"},
		"nil alone":                             {"{{ nil }}", "t:1:4: nil alone is not a value"},
		"a number beyond all types":             {"{{ print 18446744073709551615 }}", "t:1:10: the number is too large"},
		"the environment":                       {`{{ env "HOME" }}`, "t:1:4: env: there is no such function: a template does not read the environment; write the value into the template, or into a secret"},
		"the environment by Sprig":              {`{{ sprig_env "HOME" }}`, "t:1:4: sprig_env: there is no such function: a template does not read the environment; write the value into the template, or into a secret"},
		"a store":                               {`{{ with secret "db" }}{{ .Data.x }}{{ end }}`, "t:1:9: secret: there is no such function: a template asks no store; name the secret under secrets: and write {{ .NAME.field }}"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("t", test.text, snapshot().Names())
			if err == nil {
				t.Fatal("got no error")
			}
			if diff := cmp.Diff(err.Error(), test.want); diff != "" {
				t.Errorf("got -, want +:\n%s", diff)
			}
			var e *Error
			if !errors.As(err, &e) || e.Source != "t" {
				t.Errorf("got %T, want an *Error of t", err)
			}
		})
	}
}

func TestParseCannotTellWhatDotIsElsewhere(t *testing.T) {
	for name, text := range map[string]string{
		"in a range":            "{{ range .db.hosts }}{{ .any }}{{ end }}",
		"in with":               "{{ with .db }}{{ .any }}{{ end }}",
		"in with of a function": "{{ with parseJSON .smtp }}{{ .any }}{{ end }}",
		"in a defined template": `{{ define "x" }}{{ .any }}{{ $.any }}{{ end }}`,
		"in a block":            `{{ block "x" .db }}{{ .any }}{{ end }}`,
		"by a variable":         "{{ $x := .db }}{{ $x.any }}",
		"of a computed index":   "{{ index . (toLower .smtp) }}",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Parse("t", text, snapshot().Names()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestReasonsWhyExecuteFails(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"a missing field":                {"x\n y={{ .db.pasword }}", "t:2:10: field pasword does not exist in db; it has: account, big, cert, hosts, none, password, port, ratio, tls, username, zero"},
		"a missing nested field":         {"{{ .db.cert.pme }}", "t:1:12: field pme does not exist in db.cert; it has: key, pem"},
		"a missing field in with":        {"{{ with .db.cert }}{{ .pme }}{{ end }}", "t:1:23: field pme does not exist in db.cert; it has: key, pem"},
		"a missing field by variable":    {"{{ $c := .db.cert }}{{ $c.pme }}", "t:1:26: field pme does not exist in $c"},
		"a missing field of a result":    {"{{ (parseJSON \"{}\").x }}", "t:1:20: field x does not exist"},
		"a missing field in a template":  {`{{ define "x" }}{{ .pme }}{{ end }}{{ template "x" .db.cert }}`, "t:1:20: field pme does not exist"},
		"a missing field by index":       {`{{ index .db "cert" "pme" }}`, "t:1:4: index: field pme does not exist in db.cert; it has: key, pem"},
		"a missing field by get":         {`{{ get .db.cert "pme" }}`, "t:1:4: get: field pme does not exist in db.cert; it has: key, pem"},
		"a missing field by dig":         {`{{ dig "cert" "pme" "" .db }}`, "t:1:4: dig: field pme does not exist; the default is for sprig_dig"},
		"a missing field by a value":     {`{{ index .db .smtp }}`, "t:1:4: index: the field asked for does not exist in db; it has: account, big, cert, hosts, none, password, port, ratio, tls, username, zero"},
		"a missing field in if":          {"{{ if .db.x }}{{ end }}", "t:1:10: field x does not exist in db; it has: account, big, cert, hosts, none, password, port, ratio, tls, username, zero"},
		"a missing secret by index":      {`{{ index . (trimSpace .smtp) }}`, "t:1:4: index: the secret asked for does not exist; the secrets are: a-b, blob, db, list, smtp"},
		"names that a template made":     {`{{ $d := set .db.cert "made" 1 }}{{ .db.cert.pme }}`, "t:1:45: field pme does not exist in db.cert; it has: key, pem"},
		"a field of text":                {"{{ .smtp.host }}", "t:1:9: smtp is text, not a JSON object: it has no field host"},
		"a field of bytes":               {"{{ .blob.host }}", "t:1:9: blob is text, not a JSON object: it has no field host"},
		"a field of a field of text":     {"{{ .db.username.x }}", "t:1:16: db.username is text: it has no field x"},
		"a field of null":                {"{{ .db.none.x }}", "t:1:12: db.none is null: it has no field x"},
		"null":                           {"{{ .db.none }}", "t:1:4: db.none is null: there is nothing to insert"},
		"null in a function":             {"{{ print .db.none }}", "t:1:4: print: argument 1 is null: there is nothing to insert"},
		"null where text is wanted":      {"{{ toUpper .db.none }}", "t:1:4: toUpper: argument 1 is null, it wants text"},
		"an object":                      {"{{ .db.cert }}", "t:1:4: db.cert is an object: name one of its fields, or use toJSON"},
		"the root":                       {"{{ . }}", "t:1:4: the value is an object: name one of its fields, or use toJSON"},
		"a list":                         {"{{ .db.hosts }}", "t:1:4: db.hosts is a list: use range, join or toJSON"},
		"an object where text is wanted": {"{{ .db | toUpper }}", "t:1:10: toUpper: argument 1 is an object, it wants text"},
		"text with an argument":          {"{{ .db.username 1 }}", "t:1:7: field username is not a function: it takes no arguments"},
		"a range over text":              {"{{ range .smtp }}{{ end }}", "t:1:10: range cannot go over text"},
		"a range over a number in pairs": {"{{ range $i, $j := 3 }}{{ end }}", "t:1:20: range over a number has one variable"},
		"a format that does not fit":     {`{{ printf "%d" .smtp }}`, "t:1:4: printf: its format does not fit its arguments"},
		"text compared with a number":    {"{{ eq .smtp 1 }}", "t:1:4: eq: it cannot compare text with a number"},
		"a panic of Sprig":               {"{{ first .smtp }}", "t:1:4: first: it cannot work with these arguments"},
		"an error of Sprig":              {"{{ semver .smtp }}", "t:1:4: semver: it cannot work with these arguments"},
		"text that is no number":         {"{{ parseInt .smtp }}", "t:1:4: parseInt: its argument is not a number"},
		"text that is no JSON":           {"{{ parseJSON .smtp }}", "t:1:4: parseJSON: it is not JSON"},
		"division by zero":               {"{{ divide .db.zero 1 }}", "t:1:4: divide: division by zero"},
		"fail in the author's words":     {`{{ fail "no host" }}`, "t:1:4: fail: no host"},
		"fail with a value":              {`{{ fail .smtp }}`, "t:1:4: fail: the template ends itself here; its message is not shown, it may hold a value"},
		"too long a result":              {`{{ repeat 100000000000 "x" }}`, "t:1:4: repeat: argument 1 goes to 100000 at most"},
		"a template without end":         {`{{ define "x" }}{{ executeTemplate "x" }}{{ end }}{{ template "x" }}`, "t:1:17: templates nest more than 100 deep"},
		"another template without end":   {`{{ define "x" }}{{ template "x" }}{{ end }}{{ .smtp }}{{ template "x" }}`, "t:1:17: templates nest more than 100 deep"},
		"a scratch that is no object":    {`{{ scratch.Set "a" 1 }}{{ scratch.MapSet "a" "b" 1 }}`, "t:1:34: MapSet: it is set to something that is not an object"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := render(test.text)
			if err == nil || got != "" {
				t.Fatalf("got %q and no error", got)
			}
			if diff := cmp.Diff(err.Error(), test.want); diff != "" {
				t.Errorf("got -, want +:\n%s", diff)
			}
		})
	}
}

func TestASecretThatTheSnapshotLacksIsAnError(t *testing.T) {
	tmpl, err := Parse("t", "{{ .db.x }}", []string{"db"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = tmpl.Execute(secret.NewSnapshot(time.Unix(0, 0), map[string]secret.Version{"smtp": {}}))
	if got, want := err.Error(), "t:1:4: secret db does not exist; the secrets are: smtp"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestExecutionsDoNotSeeEachOther(t *testing.T) {
	tmpl, err := Parse("t", `{{ if scratch.Key "a" }}seen{{ end }}{{ scratch.Set "a" 1 }}{{ $_ := set .db "port" 1 }}`, snapshot().Names())
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			v, err := tmpl.Execute(snapshot())
			if err != nil || v.Len() != 0 {
				t.Errorf("got %d bytes and %v, want nothing", v.Len(), err)
			}
		})
	}
	group.Wait()
}

func TestOnlyTheSecretsThatATemplateReachesAreDecoded(t *testing.T) {
	all := snapshot().Names()
	for text, want := range map[string][]string{
		"{{ .db.port }}{{ $.smtp }}":                    {"db", "smtp"},
		`{{ index . "a-b" "x/y" }}`:                     {"a-b"},
		"{{ with .db }}{{ . | toJSON }}{{ end }}":       {"db"},
		"{{ toJSON . }}":                                all,
		"{{ range $ }}{{ end }}":                        all,
		`{{ define "x" }}{{ .db }}{{ end }}`:            nil,
		`{{ template "x" . }}{{ define "x" }}{{ end }}`: all,
	} {
		tmpl, err := Parse("t", text, all)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tmpl.secrets, want); diff != "" {
			t.Errorf("%s: got -, want +:\n%s", text, diff)
		}
	}
}

func TestErrorsNeverQuoteTextTemplate(t *testing.T) {
	for _, text := range []string{"{{ .db.nosuch }}", "{{ first .smtp }}", "{{ atoi .db }}", "{{"} {
		_, err := render(text)
		if err == nil {
			t.Fatalf("%s: got no error", text)
		}
		for _, word := range []string{"template:", "executing", "error calling", "<"} {
			if strings.Contains(err.Error(), word) {
				t.Errorf("%s: the error holds %q", text, word)
			}
		}
	}
}

func TestPathOfParametersIsAMapOfValues(t *testing.T) {
	snapshot := secret.NewSnapshot(time.Time{}, map[string]secret.Version{"flags": {Below: map[string]secret.Version{
		"a/b": {Value: secret.Text("on")}, "port": {Value: secret.Text("0080")}, "db": {Value: secret.Text(`{"user": "me", "port": 3306}`)},
	}}})
	for text, want := range map[string]string{
		`{{ index .flags "a/b" }} {{ .flags.port }}`:            "on 0080",
		`{{ .flags.db.user }}:{{ .flags.db.port }}`:             "me:3306",
		`{{ range $name := keys .flags }}{{ $name }},{{ end }}`: "a/b,db,port,",
		`{{ index .flags "nosuch" }}`:                           `t:1:4: index: field nosuch does not exist in flags; it has: a/b, db, port`,
	} {
		parsed, err := Parse("t", text, []string{"flags"})
		if err != nil {
			t.Fatal(err)
		}
		out, err := parsed.Execute(snapshot)
		got := string(out.Reveal())
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}

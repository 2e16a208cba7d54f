package e2e

import (
	"encoding/json"
	"encoding/xml"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/BurntSushi/toml"
	compose "github.com/compose-spec/compose-go/v2/dotenv"
	"go.yaml.in/yaml/v3"
)

// ascii returns the characters from first to last.
func ascii(first, last byte) string {
	var all []byte
	for c := first; c <= last; c++ {
		all = append(all, c)
	}
	return string(all)
}

// A password with all that has a meaning somewhere arrives in the application
// as it is in AWS, whichever format its file has.
func TestPasswordArrivesInEveryFormat(t *testing.T) {
	t.Parallel()
	const injected = "\"'`${HOME}$(id)`id`%i%%{{ .x }}<!--]]>\\u0041\\n#;=:,!&|"
	printed := injected + ascii(' ', '~') + "pässwörd 漢字 😀"
	line := " " + printed + "\t x " // with blanks at its ends
	text := "\n" + line + "\r\n" + ascii(1, 8) + "\v\f\x1b\x7f\u0085\u2028\ufeff\n"
	tests := map[string]struct {
		password string
		content  string
		read     func(t *testing.T, path string) string
	}{
		"properties":          {text, "db.password={{ .db.password }}\n", readProperties},
		"my.cnf":              {text, "[client]\npassword={{ .db.password }}\n", readMyCnf},
		"json":                {"\x00" + text, `{"password": {{ .db.password }}}`, readJSON},
		"yaml":                {"\x00" + text, "password: {{ .db.password }}\n", readYAML},
		"dotenv":              {text, "password=\"{{ .db.password }}\"\n", readDotenv},
		"toml":                {"\x00" + text, "password = {{ .db.password }}\n", readTOML},
		"shell":               {text, "password={{ .db.password }}\n", readShell},
		"ini":                 {printed, "[s]\npassword = {{ .db.password }}\n", readINI},
		"xml":                 {line, "<r><password>{{ .db.password }}</password></r>\n", readXML},
		"pgpass":              {line, "*:*:*:u:{{ .db.password }}\n", readPgpass},
		"systemd-environment": {line, "password={{ .db.password }}\n", readEnvironment},
	}
	s := newScene(t, "")
	apps := "apps:\n"
	for format, tt := range tests {
		secret, err := json.Marshal(map[string]string{"password": tt.password})
		if err != nil {
			t.Fatal(err)
		}
		s.put(format, string(secret))
		s.write(format+".tmpl", tt.content)
		apps += "  " + format + ":\n    secrets: {db: {secret: " + format + "}}\n" +
			"    files: [{template: " + format + ".tmpl, destination: " + format + ".cnf, format: " + format + "}]\n"
	}
	s.configure(apps)
	s.start()
	for format, tt := range tests {
		s.do("wait", format, "--timeout", patience.String())
		t.Run(format, func(t *testing.T) {
			if got := tt.read(t, s.path(format+".cnf")); got != tt.password {
				t.Errorf("got %q, want %q", got, tt.password)
			}
		})
	}
}

func readAll(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// value returns what follows the key at the beginning of a file, up to the
// last newline.
func value(t *testing.T, path, key string) string {
	t.Helper()
	value, ok := strings.CutPrefix(readAll(t, path), key)
	if !ok {
		t.Fatalf("the file does not begin with %q", key)
	}
	return strings.TrimSuffix(value, "\n")
}

// run returns what a program of the system prints.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	program, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%v; scripts/setup installs it", err)
		}
		t.Skipf("%v (scripts/setup)", err)
	}
	out, err := exec.CommandContext(t.Context(), program, args...).Output()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return string(out)
}

func readMyCnf(t *testing.T, path string) string {
	return strings.TrimSuffix(strings.TrimPrefix(run(t, "my_print_defaults", "--defaults-file="+path, "client"), "--password="), "\n")
}

func readShell(t *testing.T, path string) string {
	return strings.TrimSuffix(run(t, "sh", "-c", `. "$1"; printf %s. "$password"`, "sh", path), ".")
}

func readINI(t *testing.T, path string) string {
	return strings.TrimSuffix(run(t, "python3", "-c", `import configparser, sys
c = configparser.ConfigParser()
c.read(sys.argv[1], encoding="utf-8")
sys.stdout.buffer.write(c["s"]["password"].encode() + b".")`, path), ".")
}

func readJSON(t *testing.T, path string) string {
	var file struct{ Password string }
	if err := json.Unmarshal([]byte(readAll(t, path)), &file); err != nil {
		t.Fatal(err)
	}
	return file.Password
}

func readYAML(t *testing.T, path string) string {
	var file struct{ Password string }
	if err := yaml.Unmarshal([]byte(readAll(t, path)), &file); err != nil {
		t.Fatal(err)
	}
	return file.Password
}

func readTOML(t *testing.T, path string) string {
	var file struct{ Password string }
	if _, err := toml.Decode(readAll(t, path), &file); err != nil {
		t.Fatal(err)
	}
	return file.Password
}

func readXML(t *testing.T, path string) string {
	var file struct {
		Password string `xml:"password"`
	}
	if err := xml.Unmarshal([]byte(readAll(t, path)), &file); err != nil {
		t.Fatal(err)
	}
	return file.Password
}

func readDotenv(t *testing.T, path string) string {
	file, err := compose.Parse(strings.NewReader(readAll(t, path)))
	if err != nil {
		t.Fatal(err)
	}
	return file["password"]
}

// readPgpass follows PostgreSQL's manual, "The Password File".
func readPgpass(t *testing.T, path string) string {
	return strings.NewReplacer(`\\`, `\`, `\:`, `:`).Replace(value(t, path, "*:*:*:u:"))
}

// readEnvironment follows systemd.exec(5) on EnvironmentFile=, for a value in
// double quotes.
func readEnvironment(t *testing.T, path string) string {
	quoted := value(t, path, "password=")
	inside, opened := strings.CutPrefix(quoted, `"`)
	inside, closed := strings.CutSuffix(inside, `"`)
	if !opened || !closed {
		t.Fatal("the value is not in double quotes")
	}
	return strings.NewReplacer(`\\`, `\`, `\"`, `"`, "\\`", "`", `\$`, `$`).Replace(inside)
}

// readProperties follows the documentation of java.util.Properties.load, for
// a value on one line.
func readProperties(t *testing.T, path string) string {
	text := strings.TrimLeft(value(t, path, "db.password="), " \t\f")
	var units []uint16
	for text != "" {
		r := []rune(text)[0]
		text = strings.TrimPrefix(text, string(r))
		if r != '\\' {
			units = utf16.AppendRune(units, r)
			continue
		}
		r = []rune(text)[0]
		text = strings.TrimPrefix(text, string(r))
		if r == 'u' {
			n, err := strconv.ParseUint(text[:4], 16, 16)
			if err != nil {
				t.Fatal(err)
			}
			units = append(units, uint16(n))
			text = text[4:]
			continue
		}
		if escaped := strings.IndexRune("nrtf", r); escaped >= 0 {
			r = rune("\n\r\t\f"[escaped])
		}
		units = utf16.AppendRune(units, r)
	}
	return string(utf16.Decode(units))
}

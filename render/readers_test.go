package render

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf16"

	"github.com/BurntSushi/toml"
	compose "github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/joho/godotenv"
	"go.yaml.in/yaml/v3"
)

// Other people's parsers, and where there is none in Go that can be trusted,
// one written from the format's documentation alone.

// path returns a program of the system's own, and skips without one.
func path(t *testing.T, program string) string {
	t.Helper()
	for _, dir := range []string{"/usr/bin", "/bin", "/usr/local/bin"} {
		if p := filepath.Join(dir, program); exec.Command(p, "--version").Run() == nil {
			return p
		}
	}
	t.Skipf("%s is not installed", program)
	return ""
}

// output runs a program on a file, whose name takes the place of FILE in its
// arguments.
func output(t *testing.T, file string, command ...string) []byte {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file.cnf")
	if err := os.WriteFile(name, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range command {
		command[i] = strings.Replace(command[i], "FILE", name, 1)
	}
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
	cmd.Env = []string{"HOME=/nonexistent", "PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8"}
	var failed bytes.Buffer
	cmd.Stderr = &failed
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", command[0], err, failed.Bytes())
	}
	return out
}

// lists returns what a program printed: the hexadecimal digits of a key, a
// colon and those of its value in each line.
func pairs(t *testing.T, out []byte) reads {
	t.Helper()
	got := reads{}
	for line := range strings.Lines(string(out)) {
		k, v, ok := strings.Cut(strings.TrimSpace(line), ":")
		key, err := hex.DecodeString(k)
		value, err2 := hex.DecodeString(v)
		if !ok || err != nil || err2 != nil {
			t.Fatalf("got a line %q", line)
		}
		got[string(key)] = string(value)
	}
	return got
}

// flat returns a value of JSON, YAML or TOML: a list as [VALUE], an object as
// the VALUE of its b in braces.
func flat(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case []any:
		return "[" + flat(v[0]) + "]"
	case map[string]any:
		return "{" + flat(v["b"]) + "}"
	}
	return fmt.Sprintf("%T", v)
}

func flatAll(object map[string]any) reads {
	got := reads{}
	for k, v := range object {
		got[k] = flat(v)
	}
	return got
}

const printPairs = `
def flat(v):
    if isinstance(v, list): return "[" + flat(v[0]) + "]"
    if isinstance(v, dict): return "{" + flat(v["b"]) + "}"
    return v
def show(pairs):
    for k, v in pairs:
        print(k.encode().hex() + ":" + flat(v).encode().hex())
`

func python(t *testing.T, file, module, program string) reads {
	t.Helper()
	python := path(t, "python3")
	if exec.CommandContext(t.Context(), python, "-c", "import "+module).Run() != nil {
		t.Skipf("python3 has no module %s", module)
	}
	return pairs(t, output(t, file, python, "-c", "import sys, "+module+printPairs+program, "FILE"))
}

func readConfigparser(t *testing.T, file string) reads {
	return python(t, file, "configparser", "c = configparser.ConfigParser()\nc.read(sys.argv[1], encoding='utf-8')\nshow(c.items('s'))")
}

func readPythonJSON(t *testing.T, file string) reads {
	return python(t, file, "json", "show(json.load(open(sys.argv[1], encoding='utf-8')).items())")
}

func readPythonYAML(t *testing.T, file string) reads {
	return python(t, file, "yaml", "show(yaml.safe_load(open(sys.argv[1], 'rb')).items())")
}

func readPythonTOML(t *testing.T, file string) reads {
	return python(t, file, "tomllib", "show(tomllib.load(open(sys.argv[1], 'rb'))['t'].items())")
}

func readPythonXML(t *testing.T, file string) reads {
	return python(t, file, "xml.etree.ElementTree", "show((e.get('k'), e.get('a') or e.text or '') for e in xml.etree.ElementTree.parse(sys.argv[1]).getroot())")
}

func readJSON(t *testing.T, file string) reads {
	var got map[string]any
	if err := json.Unmarshal([]byte(file), &got); err != nil {
		t.Fatal(err)
	}
	return flatAll(got)
}

func readYAML(t *testing.T, file string) reads {
	var got map[string]any
	if err := yaml.Unmarshal([]byte(file), &got); err != nil {
		t.Fatal(err)
	}
	return flatAll(got)
}

func readTOML(t *testing.T, file string) reads {
	var got map[string]map[string]any
	if err := toml.Unmarshal([]byte(file), &got); err != nil {
		t.Fatal(err)
	}
	return flatAll(got["t"])
}

func readXML(t *testing.T, file string) reads {
	var root struct {
		V []struct {
			K    string `xml:"k,attr"`
			A    string `xml:"a,attr"`
			Text string `xml:",chardata"`
		} `xml:"v"`
	}
	d := xml.NewDecoder(strings.NewReader(file))
	d.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil }
	if err := d.Decode(&root); err != nil {
		t.Fatal(err)
	}
	got := reads{}
	for _, v := range root.V {
		got[v.K] = v.A + v.Text
	}
	return got
}

func readCompose(t *testing.T, file string) reads {
	got, err := compose.Parse(strings.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func readGodotenv(t *testing.T, file string) reads {
	got, err := godotenv.Parse(strings.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func readNode(t *testing.T, file string) reads {
	node := path(t, "node")
	if exec.CommandContext(t.Context(), node, "-e", "require('util').parseEnv('')").Run() != nil {
		t.Skip("node has no parseEnv")
	}
	return pairs(t, output(t, file, node, "-e", `
		const read = require('util').parseEnv(require('fs').readFileSync('FILE', 'utf8'));
		for (const k in read) console.log(Buffer.from(k).toString('hex') + ':' + Buffer.from(read[k]).toString('hex'));`))
}

// readJava has java.util.Properties read the file, once as bytes and once as
// characters.
func readJava(t *testing.T, file string) reads {
	java := path(t, "java")
	program := filepath.Join(t.TempDir(), "Show.java")
	err := os.WriteFile(program, []byte(`
import java.io.*;
import java.nio.charset.StandardCharsets;
import java.util.*;
class Show {
	public static void main(String[] args) throws IOException {
		Properties bytes = new Properties(), text = new Properties();
		bytes.load(new FileInputStream(args[0]));
		text.load(new InputStreamReader(new FileInputStream(args[0]), StandardCharsets.UTF_8));
		if (!bytes.equals(text)) throw new IOException("as bytes and as text they differ");
		HexFormat hex = HexFormat.of();
		for (String key : text.stringPropertyNames())
			System.out.println(hex.formatHex(key.getBytes(StandardCharsets.UTF_8)) + ":"
				+ hex.formatHex(text.getProperty(key).getBytes(StandardCharsets.UTF_8)));
	}
}`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return pairs(t, output(t, file, java, program, "FILE"))
}

// readProperties follows the documentation of java.util.Properties.load.
func readProperties(_ *testing.T, file string) reads {
	got := reads{}
	natural := strings.Split(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(file), "\n")
	for i := 0; i < len(natural); i++ {
		line := strings.TrimLeft(natural[i], " \t\f")
		if line == "" || line[0] == '#' || line[0] == '!' {
			continue
		}
		for i+1 < len(natural) && (len(line)-len(strings.TrimRight(line, `\`)))%2 == 1 {
			i++
			line = line[:len(line)-1] + strings.TrimLeft(natural[i], " \t\f")
		}
		end := 0
		for end < len(line) && !strings.ContainsRune(" \t\f=:", rune(line[end])) {
			if line[end] == '\\' {
				end++
			}
			end++
		}
		end = min(end, len(line))
		value := strings.TrimLeft(line[end:], " \t\f")
		if value != "" && (value[0] == '=' || value[0] == ':') {
			value = strings.TrimLeft(value[1:], " \t\f")
		}
		got[unescapeJava(line[:end])] = unescapeJava(value)
	}
	return got
}

func unescapeJava(s string) string {
	var units []uint16
	runes := []rune(s)
	for i := 0; i < len(runes); i++ {
		r := runes[i]
		if r == '\\' && i+1 < len(runes) {
			i++
			switch r = runes[i]; r {
			case 'n':
				r = '\n'
			case 'r':
				r = '\r'
			case 't':
				r = '\t'
			case 'f':
				r = '\f'
			case 'u':
				n, _ := strconv.ParseUint(string(runes[i+1:i+5]), 16, 16)
				units = append(units, uint16(n))
				i += 4
				continue
			}
		}
		units = utf16.AppendRune(units, r)
	}
	return string(utf16.Decode(units))
}

// readMyCnf follows "Using Option Files" of MySQL's manual.
func readMyCnf(_ *testing.T, file string) reads {
	got := reads{}
	for line := range strings.Lines(file) {
		quote := byte(0)
		end := len(line)
		for i := 0; i < len(line) && i < end; i++ {
			switch c := line[i]; {
			case quote != 0 && c == '\\':
				i++
			case c == quote:
				quote = 0
			case quote == 0 && (c == '"' || c == '\''):
				quote = c
			case quote == 0 && c == '#':
				end = i
			}
		}
		key, value, ok := strings.Cut(line[:end], "=")
		if !ok {
			continue
		}
		for value != "" && strings.IndexByte(" \t\n\r\v\f\xa0", value[0]) >= 0 {
			value = value[1:]
		}
		for value != "" && strings.IndexByte(" \t\n\r\v\f\xa0", value[len(value)-1]) >= 0 {
			value = value[:len(value)-1]
		}
		if n := len(value); n > 1 && value[0] == value[n-1] && (value[0] == '"' || value[0] == '\'') {
			value = value[1 : n-1]
		}
		value = strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\r`, "\r", `\t`, "\t", `\b`, "\b", `\s`, " ", `\"`, `"`, `\'`, "'").Replace(value)
		got[strings.TrimSpace(key)] = value
	}
	return got
}

// readMariaDB has MariaDB's own code print the options, in their order.
func readMariaDB(t *testing.T, file string) reads {
	out := "\n" + string(output(t, file, path(t, "my_print_defaults"), "--defaults-file=FILE", "client"))
	got := reads{}
	for i := 0; ; i++ {
		value, ok := strings.CutPrefix(out, fmt.Sprintf("\n--k%d=", i))
		if !ok {
			t.Fatalf("got %q for entry %d", out[:min(len(out), 20)], i)
		}
		end := strings.Index(value, fmt.Sprintf("\n--k%d=", i+1))
		if end < 0 {
			got["k"+strconv.Itoa(i)] = strings.TrimSuffix(value, "\n")
			return got
		}
		got["k"+strconv.Itoa(i)], out = value[:end], value[end:]
	}
}

// readEnvironment follows systemd.exec(5) on EnvironmentFile=.
func readEnvironment(t *testing.T, file string) reads {
	got, err := environmentFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func environmentFile(file string) (reads, error) {
	got := reads{}
	for file != "" {
		file = strings.TrimLeft(file, " \t\r\n")
		line, rest, _ := strings.Cut(file, "\n")
		key, _, ok := strings.Cut(line, "=")
		if line == "" || line[0] == '#' || line[0] == ';' || !ok {
			file = rest
			continue
		}
		value := strings.TrimLeft(file[len(key)+1:], " \t\r")
		var read string
		switch {
		case strings.HasPrefix(value, "'"):
			read, file, ok = strings.Cut(value[1:], "'")
		case strings.HasPrefix(value, `"`):
			read, file, ok = environmentDouble(value[1:])
		default:
			read, file = environmentBare(value)
		}
		if !ok {
			return nil, errors.New("a quotation is not closed")
		}
		got[strings.TrimSpace(key)] = read
	}
	return got, nil
}

func environmentDouble(s string) (read, rest string, ok bool) {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return read, s[i+1:], true
		case c == '\\' && i+1 < len(s) && s[i+1] == '\n':
			i++
		case c == '\\' && i+1 < len(s) && strings.IndexByte("\"\\`$", s[i+1]) >= 0:
			i++
			read += string(s[i])
		default:
			read += string([]byte{c})
		}
	}
	return read, "", false
}

func environmentBare(s string) (read, rest string) {
	kept := 0 // what trailing blanks are not cut from
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\n':
			return read[:kept] + strings.TrimRight(read[kept:], " \t\r"), s[i+1:]
		case c == '\\' && i+1 < len(s):
			i++
			if s[i] != '\n' {
				read += string([]byte{s[i]})
			}
			kept = len(read)
		default:
			read += string([]byte{c})
		}
	}
	return strings.TrimRight(read, " \t\r"), ""
}

// readShell has the system's shell print the variables that the script set.
func readShell(t *testing.T, file string) reads {
	for i := range strings.Count(file, "\n") {
		file += fmt.Sprintf("\nif [ -n \"${k%d+x}\" ]; then printf 'k%d=%%s\\0' \"$k%d\"; fi", i, i, i)
	}
	got := reads{}
	for pair := range strings.SplitSeq(strings.TrimSuffix(string(output(t, file, "/bin/sh", "FILE")), "\x00"), "\x00") {
		key, value, _ := strings.Cut(pair, "=")
		got[key] = value
	}
	return got
}

func readPgpass(t *testing.T, file string) reads {
	got := reads{}
	for _, fields := range pgpassFile(file) {
		if len(fields) != 5 {
			t.Fatalf("got %d fields", len(fields))
		}
		got[fields[0].(string)] = fields[4].(string)
	}
	return got
}

// pgpassFile follows "The Password File" of PostgreSQL's manual.
func pgpassFile(file string) (all [][]any) {
	for line := range strings.Lines(file) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "#") || line == "" {
			continue
		}
		fields, last := []any{}, ""
		for i := 0; i < len(line); i++ {
			switch {
			case line[i] == '\\' && i+1 < len(line):
				i++
				last += line[i : i+1]
			case line[i] == ':':
				fields, last = append(fields, last), ""
			default:
				last += line[i : i+1]
			}
		}
		all = append(all, append(fields, last))
	}
	return all
}

func readINI(t *testing.T, file string) reads {
	got, err := iniFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// iniFile follows "Supported INI File Structure" and "Interpolation of
// values" of Python's manual. All sections are taken for one.
func iniFile(file string) (reads, error) {
	got := reads{}
	section, key, indent := false, "", 0
	for line := range strings.Lines(file) {
		text := strings.TrimFunc(line, isPythonSpace)
		deep := len(line) - len(strings.TrimLeft(line, " \t\r"))
		end := strings.IndexAny(text, "=:")
		switch {
		case text == "" || text[0] == '#' || text[0] == ';':
		case key != "" && deep > indent:
			got[key] += "\n" + text
		case text[0] == '[':
			section, key = true, ""
		case !section || end <= 0:
			return nil, errors.New("no section or no key")
		default:
			key, indent = strings.ToLower(strings.TrimFunc(text[:end], isPythonSpace)), deep
			got[key] = strings.TrimFunc(text[end+1:], isPythonSpace)
		}
	}
	for k, v := range got {
		got[k] = strings.ReplaceAll(v, "%%", "%")
	}
	return got, nil
}

func isPythonSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }

// readLibpq has psql look the passwords up for one host after another, and
// send them to a server that asks for them and then is not ready.
func readLibpq(t *testing.T, file string) reads {
	psql := path(t, "psql")
	passfile := filepath.Join(t.TempDir(), "pgpass")
	if err := os.WriteFile(passfile, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	got := reads{}
	var hosts, addresses []string
	for line := range strings.Lines(file) {
		host, fields, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		if ok && fields != "*:*:u:" { // there is nothing to send
			hosts, addresses = append(hosts, host), append(addresses, "127.0.0.1")
		} else if ok {
			got[host] = ""
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	cmd := exec.CommandContext(t.Context(), psql, "--no-password", fmt.Sprintf(
		"host=%s hostaddr=%s port=%s user=u dbname=d passfile=%s sslmode=disable gssencmode=disable",
		strings.Join(hosts, ","), strings.Join(addresses, ","), port, passfile))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	for _, host := range hosts {
		got[host] = asked(t, listener)
	}
	return got
}

// asked returns the password that the next client sends.
func asked(t *testing.T, listener net.Listener) string {
	t.Helper()
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := message(conn); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte{'R', 0, 0, 0, 8, 0, 0, 0, 3}); err != nil { // AuthenticationCleartextPassword
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	password, err := message(conn)
	if err != nil {
		t.Fatal(err)
	}
	reply := "SFATAL\x00VFATAL\x00C57P03\x00Mnot ready\x00\x00"
	if _, err := conn.Write(append([]byte{'E', 0, 0, 0, byte(4 + len(reply))}, reply...)); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(string(password), "\x00")
}

// message reads the length and the body of a message of PostgreSQL's.
func message(r io.Reader) ([]byte, error) {
	var length uint32
	if err := binary.Read(r, binary.BigEndian, &length); err != nil {
		return nil, err
	}
	body := make([]byte, length-4)
	_, err := io.ReadFull(r, body)
	return body, err
}

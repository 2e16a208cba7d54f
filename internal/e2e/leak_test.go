package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"outrider/serve"
)

// leak is an app whose value makes something fail, or nearly so.
type leak struct {
	value string // of the secret's password; CANARY stands for the canary
	app   string // what it is made of but for its secret; OUT stands for the file
	fails string // a part of the error; empty: it may be delivered
}

// leaks returns them by the names of their apps. Every one of them hands a value
// to something that says what it did not like. Database is a server's address
// that refuses every login, and tells of whom.
func leaks(database string) map[string]leak {
	file := func(format, text string) string {
		return fmt.Sprintf("files: [{content: %q, destination: OUT, format: %s}]", text, format)
	}
	all := map[string]leak{
		"verify":        {"CANARY", "verify: [{run: [DIR/tell, '1']}]\n    " + file("none", "{{ .s.password }}"), "verify"},
		"undecided":     {"CANARY", "verify: [{run: [DIR/tell, '2'], on_inconclusive: hold}]\n    " + file("none", "{{ .s.password }}"), "exit status 2"},
		"check":         {"CANARY", "check: [DIR/tell, '1']\n    " + file("none", "{{ .s.password }}"), "check"},
		"notify":        {"CANARY", "notify: [{run: [DIR/tell, '1']}]\n    " + file("none", "{{ .s.password }}"), ""},
		"confirm":       {"CANARY", "confirm: {run: [DIR/tell, '1'], within: 1s}\n    " + file("none", "{{ .s.password }}"), ""},
		"mysql":         {"CANARY", "verify: [{mysql: {secret: s, address: '" + database + "', tls: 'off'}}]\n    " + file("none", "{{ .s.password }}"), "1045"},
		"unreachable":   {"CANARY", "verify: [{mysql: {secret: s, address: '127.0.0.1:1'}, on_inconclusive: hold}]\n    " + file("none", "{{ .s.password }}"), "127.0.0.1:1"},
		"pair":          {"CANARY", "verify: [{tls_pair: {certificate: '{{ .s.password }}', private_key: '{{ .s.password }}'}}]\n    " + file("none", "x"), "PEM"},
		"pem":           {`-----BEGIN CERTIFICATE-----\nCANARY\n-----END CERTIFICATE-----\n`, "verify: [{tls_pair: {certificate: '{{ .s.password }}', private_key: '{{ .s.password }}'}}]\n    " + file("none", "x"), "PEM"},
		"broken-json":   {`CANARY\",`, file("json", `{"a": {{ raw .s.password }}}`), "json"},
		"broken-yaml":   {`CANARY: [: {`, file("yaml", "a: {{ raw .s.password }}"), "yaml"},
		"broken-toml":   {`CANARY = = `, file("toml", "a = {{ raw .s.password }}"), "toml"},
		"broken-xml":    {`CANARY<a b='`, file("xml", "<a>{{ raw .s.password }}</a>"), "xml"},
		"no-credential": {"CANARY", "credentials: {c: {value: '{{ atoi (.s.password | toJSON) }}{{ parseInt .s.password }}', units: [a.service]}}", "parseInt"},
	}
	for name, text := range map[string]string{
		"number": "{{ parseInt .s.password }}", "boolean": "{{ parseBool .s.password }}", "version": "{{ semver .s.password }}", "json": "{{ parseJSON .s.password }}",
		"yaml": "{{ parseYAML .s.password }}", "base64": "{{ base64Decode .s.password }}", "field": "{{ .s.password.x }}", "index": "{{ index .s .s.password }}",
		"key": "{{ get .s .s.password }}", "fail": "{{ fail .s.password }}", "format": "{{ printf .s.password 1 | parseInt }}", "expression": `{{ regexMatch (print .s.password "(") "x" }}`,
		"template": "{{ executeTemplate .s.password }}", "range": "{{ range .s.password }}{{ . | parseInt }}{{ end }}", "division": "{{ divide .s.password 2 }}",
	} {
		all["fn-"+name] = leak{"CANARY", file("none", text), ""}
	}
	for format, text := range map[string]string{
		"properties": "a={{ .s.password }}", "ini": "[s]\na={{ .s.password }}", "dotenv": "A={{ .s.password }}", "json": `{"a": {{ .s.password }}}`, "yaml": "a: {{ .s.password }}",
		"my.cnf": "[client]\npassword={{ .s.password }}", "systemd-environment": "A={{ .s.password }}", "toml": "a = {{ .s.password }}", "shell": "A={{ .s.password }}",
		"pgpass": "h:1:d:u:{{ .s.password }}", "xml": "<a>{{ .s.password }}</a>",
	} {
		all["as-"+strings.ReplaceAll(format, ".", "")] = leak{`CANARY\u0000\n\u0007\ufffe'\"`, file(format, text), ""}
	}
	return all
}

// database refuses every login as MariaDB does, and tells what it was given.
func database(t *testing.T, tells string) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	t.Cleanup(func() { _ = l.Close(); <-ended })
	packet := func(number byte, payload string) []byte {
		return append([]byte{byte(len(payload)), byte(len(payload) >> 8), 0, number}, payload...)
	}
	const greeting = "\x0a8.4.0\x00\x01\x00\x00\x00saltsalt\x00\x01\x82\xff\x02\x00\x08\x00\x15\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00saltsaltsalt\x00mysql_native_password\x00"
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				continue
			}
			_ = c.SetDeadline(time.Now().Add(patience))
			_, _ = c.Write(packet(0, greeting))
			head := make([]byte, 4)
			if _, err := io.ReadFull(c, head); err == nil {
				_, _ = io.CopyN(io.Discard, c, int64(head[0])|int64(head[1])<<8)
				_, _ = c.Write(packet(head[3]+1, "\xff\x15\x04#28000Access denied for user '"+tells+"'@'localhost' (using password: YES)"))
			}
			_ = c.Close()
		}
	}()
	return l.Addr().String()
}

// TestNoErrorHoldsAValue has an app for each thing that a value can bring to
// fail, and looks for the value wherever the failure is told.
func TestNoErrorHoldsAValue(t *testing.T) {
	t.Parallel()
	s := newScene(t, "")
	s.mkdir("out")
	s.script("tell", `v=$(cat; cat DIR/out/* 2>/dev/null); echo "$v"; echo "$v" >&2; exit $1`)
	c := &canaries{t: t}
	const login = "canary-login-4711"
	c.values = append(c.values, login)
	all := leaks(database(t, login))
	var apps strings.Builder
	for name, l := range all {
		canary := fmt.Sprintf("canary+%s/%x", name, time.Now().UnixNano())
		c.values = append(c.values, canary)
		s.put(name, fmt.Sprintf(`{"username":%q,"host":"127.0.0.1","password":"%s"}`, login, strings.ReplaceAll(l.value, "CANARY", canary)))
		fmt.Fprintf(&apps, "  %s:\n    secrets: {s: {secret: %s}}\n    %s\n", name, name, strings.ReplaceAll(l.app, "OUT", "DIR/out/"+name))
	}
	s.head = strings.Replace(s.head, `listen: {admin: "unix:sock"}`, `listen: {admin: "unix:sock", systemd: "unix:credentials"}
audit: {path: audit.log}
log: {level: debug}`, 1)
	s.configure("\nwatch: {interval: 1h}\napps:\n" + apps.String())
	s.env = append(s.env, "GOTRACEBACK=crash")
	p := s.start()
	for name, l := range all {
		if l.fails != "" {
			s.fails(name, l.fails)
			continue
		}
		s.until(name, "through", func(a serve.App) bool { return a.State != serve.Starting && a.State != "" })
	}
	for _, args := range [][]string{{"status"}, {"status", "--json"}, {"plan"}, {"check"}, {"refresh"}, {"retry", "check"}, {"history", "confirm"}, {"history", "notify"}} {
		out, err := s.outrider(args...)
		c.in("outrider "+strings.Join(args, " "), fmt.Append(nil, out, err))
	}
	failing := 0
	var status serve.Status
	if err := json.Unmarshal([]byte(s.do("status", "--json")), &status); err != nil {
		t.Fatal(err)
	}
	for _, a := range status.Apps {
		if a.Error != "" {
			failing++
		}
	}
	t.Logf("%d of %d apps fail", failing, len(all))
	if failing < len(all)/2 {
		t.Errorf("%d of %d apps fail: too few to prove anything", failing, len(all))
	}
	s.crash(p)
	s.looked(c, func(name string) bool { return strings.HasPrefix(name, "out/") }, "log", "state/check.journal")
}

package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"outrider/internal/porttest"
)

// canaries are values that may stand nowhere but in the application's file.
type canaries struct {
	t      *testing.T
	values []string
}

// in fails the test when a text holds a value, in whatever form it would be
// written by accident.
func (c *canaries) in(what string, text []byte) {
	c.t.Helper()
	for i, value := range c.values {
		b := []byte(value)
		for form, coded := range map[string]string{
			"plain": value, "base64": base64.StdEncoding.EncodeToString(b), "base64url": base64.RawURLEncoding.EncodeToString(b),
			"hex": hex.EncodeToString(b), "a URL's": url.QueryEscape(value), "bytes": strings.Trim(fmt.Sprintf("%d", b), "[]"),
		} {
			if bytes.Contains(text, []byte(strings.TrimRight(coded, "="))) {
				c.t.Errorf("%s holds canary %d, %s form", what, i, form)
			}
		}
	}
}

// open asks an HTTP listener, and returns the body of its 200.
func (s *scene) open(method, address string, header http.Header) []byte {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+address, http.NoBody)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header, r.Close = header, true
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		s.t.Fatalf("%s: %s, %v", address, answer.Status, err)
	}
	return body
}

// credential asks for a systemd credential as systemd does.
func (s *scene) credential(unit, name string) string {
	s.t.Helper()
	dialer := net.Dialer{LocalAddr: &net.UnixAddr{Name: fmt.Sprintf("@%x/unit/%s/%s", os.Getpid(), unit, name), Net: "unix"}}
	c, err := dialer.DialContext(s.t.Context(), "unix", s.path("credentials"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	value, err := io.ReadAll(io.LimitReader(c, 1<<20))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(value)
}

// newWatched returns a scene with all that a sidecar can do for an app, whose
// hooks say all that they know: what is theirs, and what they read.
func newWatched(t *testing.T, endpoints map[string]string) *scene {
	t.Helper()
	s := newScene(t, "")
	s.head = strings.Replace(s.head, "}}\nlisten: {admin: \"unix:sock\"}", fmt.Sprintf(`, token: {file: token}}}
listen:
  admin: "unix:sock"
  metrics: %q
  credentials: %q
  imds: {address: %q, role: lab}
  systemd: "unix:credentials"
audit: {path: audit.log}
log: {level: debug}`, endpoints["metrics"], endpoints["credentials"], endpoints["imds"]), 1)
	const confess = `{ cat /proc/$$/environ /proc/$$/cmdline /proc/$PPID/environ /proc/$PPID/cmdline; } >> DIR/confessed
cat DIR/run/conf; cat DIR/run/conf >&2
`
	s.script("tell", confess)
	s.script("healthy", confess)
	s.script("proof", confess)
	s.script("check", confess+`cat "$1"`)
	s.script("verify", confess+`v=$(cat); echo "$v"; echo "$v" >&2; case $v in *wrong*) exit 1;; esac`)
	s.configure("\n" + pushed + `
apps:
  app:
    secrets: {db: {secret: db}, smtp: {parameter: /smtp}}
    verify: [{run: [DIR/verify]}]
    files: [{content: "{{ .db.password }}\n{{ .smtp }}\n", destination: DIR/run/conf}]
    check: [DIR/check, '{{ staged "DIR/run/conf" }}']
    notify: [{run: [DIR/tell]}]
    confirm: {run: [DIR/healthy], within: 30s}
    sealed: {path: app.sealed, key: seal.key}
    credentials: {password: {value: "{{ .db.password }}", units: [app.service]}}
`)
	s.mkdir("run")
	s.env = append(s.env, "GOTRACEBACK=crash") // a fault in it would leave a core
	return s
}

// TestNoValueIsWhereItDoesNotBelong rotates a secret by push, once to a value
// that is refused, with every listener, hook and record there is, and then
// looks everywhere.
func TestNoValueIsWhereItDoesNotBelong(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("left out: systemd's socket answers root alone")
	}
	at := map[string]string{"metrics": porttest.Free(t), "credentials": porttest.Free(t), "imds": porttest.Free(t)}
	s := newWatched(t, at)
	c := &canaries{t: t}
	rotate := func(kind string) string {
		value := fmt.Sprintf("canary/%s+%d=%x", kind, len(c.values), time.Now().UnixNano())
		c.values = append(c.values, value)
		s.put("db", fmt.Sprintf(`{"password":%q}`, value))
		return value
	}
	c.values = append(c.values, "canary&parameter~4711")
	if _, err := s.lab.PutParameter("/smtp", c.values[0], "SecureString"); err != nil {
		t.Fatal(err)
	}
	rotate("first")
	p := s.ready("app")
	second := rotate("second")
	s.holds(second)
	rotate("wrong")
	s.fails("app", "verify")
	last := rotate("last")
	s.holds(last)
	app := s.current("app")
	if app.Generation < 3 {
		t.Errorf("generation %d: the rotations were not delivered one by one", app.Generation)
	}

	session := s.session(at)
	c.values = append(c.values, session.SecretAccessKey, session.Token, s.read("token"))
	if got := s.credential("app.service", "password"); got != last {
		t.Error("systemd did not get the value")
	}
	for _, args := range [][]string{
		{"status"}, {"status", "--json"}, {"history", "app"}, {"plan"}, {"check"}, {"check", "--online", "--json"},
		{"refresh"}, {"policy"}, {"cost"}, {"env", "lab"}, {"retry", "app"},
	} {
		out, err := s.outrider(args...)
		c.in("outrider "+strings.Join(args, " "), fmt.Append(nil, out, err))
	}
	c.in("/metrics", s.open(http.MethodGet, at["metrics"]+"/metrics", http.Header{}))
	c.in("/readyz", s.open(http.MethodGet, at["metrics"]+"/readyz", http.Header{}))
	pid := p.cmd.Process.Pid
	for _, file := range []string{"environ", "cmdline", "comm", "maps", "mountinfo"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
		if err != nil {
			t.Error(err)
		}
		c.in("/proc/PID/"+file, text)
	}
	if len(s.read("confessed")) == 0 || len(s.read("audit.log")) == 0 {
		t.Error("the hooks and the audit log have said nothing: the test proves nothing")
	}
	if s.crash(p) {
		t.Error("the sidecar left a core")
	} else if !wouldBeSeen(t) {
		t.Log("left out: this machine writes no cores (kernel.core_pattern), so that none proves nothing")
	}
	s.everywhere(c)
}

// holds waits until the application's file begins with a value.
func (s *scene) holds(value string) {
	s.t.Helper()
	if !poll(s.t.Context(), 20*time.Millisecond, func() bool { return strings.HasPrefix(s.read("run/conf"), value+"\n") }) {
		s.t.Fatal("the file does not get the value")
	}
	s.current("app")
}

// sessionKeys are what a client gets of a session.
type sessionKeys struct{ SecretAccessKey, Token string }

// session asks both endpoints for the role's session.
func (s *scene) session(at map[string]string) sessionKeys {
	s.t.Helper()
	var keys, same sessionKeys
	body := s.open(http.MethodGet, at["credentials"]+"/roles/lab", http.Header{"Authorization": {s.read("token")}})
	if err := json.Unmarshal(body, &keys); err != nil {
		s.t.Fatal(err)
	}
	token := s.open(http.MethodPut, at["imds"]+"/latest/api/token", http.Header{"X-Aws-Ec2-Metadata-Token-Ttl-Seconds": {"60"}})
	with := http.Header{"X-Aws-Ec2-Metadata-Token": {string(token)}}
	const credentials = "/latest/meta-data/iam/security-credentials/"
	role := s.open(http.MethodGet, at["imds"]+credentials, with)
	if err := json.Unmarshal(s.open(http.MethodGet, at["imds"]+credentials+string(role), with), &same); err != nil {
		s.t.Fatal(err)
	}
	if len(keys.SecretAccessKey) < 20 || len(keys.Token) < 20 || keys != same {
		s.t.Error("the endpoints do not give one session")
	}
	return keys
}

// crash ends the sidecar as a fault in it would, where nothing but itself
// keeps a core from being written, and reports whether one was.
func (s *scene) crash(p *sidecar) bool {
	s.t.Helper()
	all := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	if err := unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_CORE, &all, nil); err != nil {
		s.t.Fatal(err)
	}
	p.lives()
	if err := p.cmd.Process.Signal(unix.SIGABRT); err != nil {
		s.t.Fatal(err)
	}
	<-p.ended
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() {
		s.t.Errorf("it ended with %v, want by a signal", p.cmd.ProcessState)
	}
	return status.CoreDump()
}

// everywhere looks into all files of the scene's folder, but for the
// application's own.
func (s *scene) everywhere(c *canaries) {
	s.t.Helper()
	s.looked(c, func(name string) bool { return name == "run/conf" || name == "token" },
		"log", "audit.log", "app.sealed", "state/app.journal", "confessed")
}

// looked looks into all files of the scene's folder but for those that are
// meant to hold values, and fails the test unless these are among them.
func (s *scene) looked(c *canaries, holds func(name string) bool, among ...string) {
	s.t.Helper()
	var seen []string
	err := filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		name, _ := filepath.Rel(s.dir, path)
		if err != nil || !d.Type().IsRegular() || holds(name) {
			return err
		}
		seen = append(seen, name)
		text, err := os.ReadFile(path)
		c.in(name, text)
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, name := range among {
		if !slices.Contains(seen, name) {
			s.t.Errorf("%s was not there to be looked into, only %q", name, seen)
		}
	}
}

// wouldBeSeen reports whether a core is written of a program that does not
// forbid it: elsewhere the absence of one proves nothing.
func wouldBeSeen(t *testing.T) bool {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", "ulimit -c unlimited; kill -ABRT $$")
	cmd.Dir = t.TempDir()
	_ = cmd.Run() // it ends by the signal
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.CoreDump()
}

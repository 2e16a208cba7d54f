package clocktest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"outrider/awslab"
	"outrider/internal/programtest"
	"outrider/serve"
)

// patience is how long what should come is waited for, on a busy machine: a nap
// of 30 s is a part of it.
const patience = 2 * time.Minute

// scene is a host whose clocks the test sets, and AWS.
type scene struct {
	t      *testing.T
	dir    string
	lab    *awslab.Lab
	ahead  atomic.Int64 // AWS's clock before this test's, in nanoseconds
	server *httptest.Server
	queue  string // of the configuration; empty: none
	env    []string

	clock *Clock
	cmd   *exec.Cmd
	said  programtest.Log
}

func newScene(t *testing.T, session time.Duration) *scene {
	t.Helper()
	t.Parallel()
	dir, err := os.MkdirTemp("", "clock-") //nolint:usetesting // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &scene{t: t, dir: dir}
	clock := func() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }
	if s.lab, err = awslab.New(awslab.Options{SessionDuration: session, Now: clock}); err != nil {
		t.Fatal(err)
	}
	s.server = httptest.NewUnstartedServer(s.lab)
	s.server.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes fail on purpose
	t.Cleanup(func() { s.server.CloseClientConnections(); s.server.Close() })
	s.rotate("1")
	return s
}

// configure writes the configuration of one app that looks every interval.
func (s *scene) configure(interval time.Duration, rest string) {
	s.t.Helper()
	setup, err := s.lab.Write(s.path("pki"))
	if err != nil {
		s.t.Fatal(err)
	}
	if s.server.URL == "" {
		s.server.Start()
	}
	s.write("outrider.yaml", fmt.Sprintf(`version: 1
identities: {host: {certificate: %q, private_key: %q}}
roles: {lab: {region: %s, trust_anchor: %q, profile: %q, role: %q}}
apps: {billing: {secrets: {db: {secret: db}}, files: [{content: "{{ .db }}", destination: %s}]}}
watch: {interval: %s%s}
listen: {admin: "unix:sock"}
state: state
%s`, setup.Certificate, setup.PrivateKey, setup.Region, setup.TrustAnchor, setup.Profile, setup.Role, s.path("conf"), interval, s.queue, rest))
}

// start runs the sidecar, whose wall clock is off by so much, until the test
// ends.
func (s *scene) start(wall time.Duration) {
	s.t.Helper()
	s.cmd = exec.Command(program, "run", "--config", s.path("outrider.yaml"))
	s.cmd.Env = append([]string{"PATH=/usr/bin:/bin", "AWS_ENDPOINT_URL=" + s.server.URL}, s.env...)
	s.cmd.Stderr = &s.said
	s.clock = Start(s.t, s.cmd, wall)
	s.t.Cleanup(s.stop)
}

func (s *scene) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGCONT)
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	hung := time.AfterFunc(patience, func() { _ = s.cmd.Process.Kill() })
	defer hung.Stop()
	if err := s.cmd.Wait(); err != nil {
		s.t.Errorf("the sidecar: %v", err)
	}
	text := s.said.String()
	if strings.Contains(text, "value-") {
		s.t.Error("the log shows a value")
	} else if s.t.Failed() {
		s.t.Logf("the log:\n%s", text)
	}
}

func (s *scene) path(name string) string { return filepath.Join(s.dir, name) }

func (s *scene) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(s.path(name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// rotate gives the secret another value.
func (s *scene) rotate(value string) {
	s.t.Helper()
	if _, err := s.lab.PutSecret("db", "value-"+value); err != nil {
		s.t.Fatal(err)
	}
}

// delivered waits until the file holds a value.
func (s *scene) delivered(value string) {
	s.t.Helper()
	s.eventually("the file holds the value of "+value, func() error {
		text, err := os.ReadFile(s.path("conf"))
		if err == nil && string(text) != "value-"+value {
			return errNotYet
		}
		return err
	})
}

// says waits until the log holds a text.
func (s *scene) says(text string) {
	s.t.Helper()
	s.eventually("the log says "+text, func() error {
		if !strings.Contains(s.said.String(), text) {
			return errNotYet
		}
		return nil
	})
}

// errNotYet is what a test still waits for.
var errNotYet = errors.New("not yet")

func (s *scene) eventually(what string, ask func() error) {
	s.t.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for end := time.Now().Add(patience); ; <-again.C {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("not within %s: %s: %v", patience, what, err)
		}
	}
}

func (s *scene) client() serve.Client { return serve.Client{Path: s.path("sock")} }

// handed is what another program is given.
type handed struct {
	AccessKeyID string `json:"AccessKeyId"`
	Expiration  time.Time
}

// ask asks for the role's session.
func (s *scene) ask() (handed, error) {
	var h handed
	body, err := s.client().Credentials(s.t.Context(), "lab")
	if err != nil {
		return h, err
	}
	return h, json.Unmarshal(body.Reveal(), &h)
}

// handed waits for a session of a sidecar that has just started.
func (s *scene) handed() handed {
	s.t.Helper()
	var h handed
	s.eventually("a session", func() (err error) { h, err = s.ask(); return err })
	return h
}

// manager is a service manager's socket, and counts what it is told.
type manager struct {
	conn *net.UnixConn
	mu   sync.Mutex
	told map[string]int
}

func (s *scene) manager(watchdog time.Duration) *manager {
	s.t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: s.path("notify"), Net: "unixgram"})
	if err != nil {
		s.t.Fatal(err)
	}
	m := &manager{conn: conn, told: map[string]int{}}
	s.env = append(s.env, "NOTIFY_SOCKET="+s.path("notify"), fmt.Sprintf("WATCHDOG_USEC=%d", watchdog.Microseconds()))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		buffer := make([]byte, 4096)
		for {
			n, err := conn.Read(buffer)
			if err != nil {
				return
			}
			m.mu.Lock()
			m.told[string(buffer[:n])]++
			m.mu.Unlock()
		}
	}()
	s.t.Cleanup(func() { _ = conn.Close(); <-ended })
	return m
}

func (m *manager) count(message string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.told[message]
}

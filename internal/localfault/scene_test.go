package localfault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"outrider/awslab"
	"outrider/serve"
)

// patience is how long a test waits for what should be there in a moment: the
// machine may be busy. It is more than what the page promises after a fault,
// 1.5 times the ceiling of the back-off.
const patience = 100 * time.Second

// scene is a host with a running sidecar, and AWS.
type scene struct {
	t      *testing.T
	dir    string
	lab    *awslab.Lab
	c      *exec.Cmd
	kernel *kernel
	ended  chan struct{} // closed when the sidecar has

	mu     sync.Mutex
	values []string // that the secret has had

	certificates int
	serial       string // of the certificate before the last
}

// queue tells the sidecar what changes: it looks then, and seldom without.
const queue = "local"

// newScene writes the configuration of a host. Each thing that may fail has a
// folder of its own.
func newScene(t *testing.T, session time.Duration, role, rest string) *scene {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a process that hides its memory is watched by root alone")
	}
	dir, err := os.MkdirTemp("", "local-") //nolint:usetesting // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	lab, err := awslab.New(awslab.Options{SessionDuration: session})
	if err == nil {
		_, err = lab.CreateQueue(queue)
	}
	if err == nil {
		err = lab.Subscribe(queue, awslab.EventForm{})
	}
	if err != nil {
		t.Fatal(err)
	}
	s := &scene{t: t, dir: dir, lab: lab}
	s.renew()
	for _, name := range []string{"etc", "state", "sealed", "audit", "home", "run", "templates", "apps.d", "keys"} {
		s.mkdir(name)
	}
	setup := lab.Setup()
	s.write("templates/conf.tmpl", "{{ .db }}")
	s.rotate()
	s.write("outrider.yaml", fmt.Sprintf(`version: 1
identities: {host: {certificate: pki/live/certificate.pem, private_key: pki/live/private_key.pem}}
roles: {lab: {region: %s, trust_anchor: %s, profile: %s, role: %s%s}}
listen: {admin: "unix:sock", credentials: "unix:credentials"}
watch: {interval: 1h, queue: https://sqs.%s.amazonaws.com/%s/%s}
state: state
`, setup.Region, setup.TrustAnchor, setup.Profile, setup.Role, role, setup.Region, setup.Account, queue)+rest)
	return s
}

// start starts the sidecar, which ends with the test. Judge may be nil.
func (s *scene) start(judge func(call) unix.Errno) {
	s.t.Helper()
	server := httptest.NewServer(s.lab)
	s.t.Cleanup(server.Close)
	log, err := os.Create(s.path("log"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	s.c = exec.Command(program, "run", "--config", s.path("outrider.yaml"))
	s.c.Env, s.c.Stderr = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "AWS_ENDPOINT_URL=" + server.URL}, log
	s.kernel, s.ended = startFiltered(s.t, s.c, judge), make(chan struct{})
	go func() {
		defer close(s.ended)
		_ = s.c.Wait()
	}()
	s.t.Cleanup(s.stop)
}

// stop ends the sidecar as its service manager would.
func (s *scene) stop() {
	s.kernel.by(nil)
	_ = s.c.Process.Signal(unix.SIGTERM)
	hung := time.AfterFunc(patience, func() { _ = s.c.Process.Kill() })
	defer hung.Stop()
	<-s.ended
	if !s.c.ProcessState.Success() {
		s.t.Errorf("the sidecar: %v", s.c.ProcessState)
	}
	s.kernel.wait()
	text := s.read("log")
	if text == "" || strings.Contains(text, "value-") {
		s.t.Error("the log shows a value, or nothing")
	}
	if s.t.Failed() {
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

// read returns what is in a file, nothing when it is not there.
func (s *scene) read(name string) string {
	text, err := os.ReadFile(s.path(name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.t.Error(err)
	}
	return string(text)
}

// rotate gives the app's secret a new value, of many pages.
func (s *scene) rotate() {
	s.t.Helper()
	s.mu.Lock()
	value := strings.Repeat(fmt.Sprintf("value-%d\n", len(s.values)), 2000)
	s.values = append(s.values, value)
	s.mu.Unlock()
	if _, err := s.lab.PutSecret("db", value); err != nil {
		s.t.Fatal(err)
	}
}

// trace is what anybody would see who looks at a file.
func (s *scene) trace(name string) string {
	var st unix.Stat_t
	if err := unix.Stat(s.path(name), &st); err != nil {
		return err.Error()
	}
	return fmt.Sprint(st.Ino, st.Mtim, st.Mode, st.Uid, st.Gid)
}

// until waits until the answer is yes, and returns after how long it was, and
// whether it ever was.
func (s *scene) until(ask func() bool) (time.Duration, bool) {
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for began := time.Now(); ; {
		if ask() {
			return time.Since(began), true
		}
		if time.Since(began) > patience {
			return 0, false
		}
		select {
		case <-again.C:
		case <-s.ended:
			return 0, false
		}
	}
}

// pass lets time pass.
func (s *scene) pass(d time.Duration) {
	end := time.Now().Add(d)
	s.until(func() bool { return time.Now().After(end) })
}

// status asks the sidecar, which may still be starting.
func (s *scene) status() (serve.Status, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Second)
	defer cancel()
	return serve.Client{Path: s.path("sock")}.Status(ctx)
}

// complaint is the first error that a status shows, from the cause on.
func complaint(status serve.Status) string {
	for _, text := range []string{status.Identities["host"].Error, status.Roles["lab"].Error, status.Watch.Error, status.Apps["billing"].Error} {
		if text != "" {
			return text
		}
	}
	return ""
}

// well reports whether status shows nothing wrong, and nothing that is owed.
func (s *scene) well() bool {
	status, err := s.status()
	app, has := status.Apps["billing"]
	return err == nil && complaint(status) == "" && status.Roles["lab"].AccessKeyID != "" && status.Watch.State == serve.Receiving &&
		(!has || app.State == serve.Current && len(app.Owed) == 0)
}

// line is one line of the log.
type line struct{ Level, Msg, Error string }

// lines returns the lines that a person should see, after so many bytes of
// the log.
func (s *scene) lines(after int) []line {
	var all []line
	for _, text := range bytes.SplitAfter([]byte(s.read("log")[after:]), []byte("\n")) {
		var l line
		if json.Unmarshal(text, &l) == nil && (l.Level == "WARN" || l.Level == "ERROR") { // the last may be being written
			all = append(all, l)
		}
	}
	return all
}

package faulttest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"outrider/agent"
	"outrider/awslab"
	"outrider/internal/config"
	"outrider/serve"
)

// mode says whether a cell is lived through in virtual time or on the wire.
type mode struct {
	wire     bool
	interval time.Duration // between polls
	session  time.Duration // of CreateSession's cells
}

// scene is a host with an application's file, and AWS.
type scene struct {
	t      *testing.T
	m      mode
	op     operation
	f      fault
	dir    string
	line   *line
	door   *door // to the service that goes wrong; nil: virtual
	newest map[string]string
	count  int
}

const queue = "faults"

func newScene(t *testing.T, m mode, o operation, f fault, number int) *scene {
	t.Helper()
	dir, err := os.MkdirTemp("", "fault-") //nolint:usetesting // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	session := 12 * time.Hour // longer than a clock is off
	if o.name == "CreateSession" {
		session = m.session
	}
	clock := time.Now
	if o.queue { // the lab's clock cannot be set under messages that lie in a queue
		clock = func() time.Time { return time.Now().Add(f.skew) }
	}
	lab, err := awslab.New(awslab.Options{SessionDuration: session, Now: clock})
	if err == nil {
		_, err = lab.CreateQueue(queue)
	}
	if err == nil {
		err = lab.Subscribe(queue, awslab.EventForm{})
	}
	if err != nil {
		t.Fatal(err)
	}
	s := &scene{t: t, m: m, op: o, f: f, dir: dir, line: &line{lab: lab, op: o}, newest: map[string]string{}}
	s.rotate(s.op.all()...)
	well, broken := "http://127.0.0.1:1", "http://127.0.0.1:1"
	if m.wire {
		s.door = newDoor(t, fmt.Sprintf("127.77.%d.1", number), s.line)
		well, broken = "http://"+newDoor(t, "127.0.0.1", s.line).address, "http://"+s.door.address
	}
	if f.unnamed && m.wire {
		host, port, _ := net.SplitHostPort(s.door.address)
		broken = "http://localhost:" + port
		s.write("hosts", host+" localhost\n")
		s.write("nsswitch.conf", "hosts: files\n")
	}
	s.configure(well, broken)
	return s
}

func (s *scene) configure(well, broken string) {
	s.t.Helper()
	setup, err := s.line.lab.Write(s.path("pki"))
	if err != nil {
		s.t.Fatal(err)
	}
	var endpoints []string
	for _, service := range []string{"rolesanywhere", "secretsmanager", "ssm", "sqs"} {
		url := well
		if service == s.op.service {
			url = broken
		}
		endpoints = append(endpoints, service+": "+url)
	}
	watch := fmt.Sprintf("interval: %s", s.op.interval(s.m))
	if s.op.queue {
		watch += fmt.Sprintf(", queue: https://sqs.%s.amazonaws.com/%s/%s", setup.Region, setup.Account, queue)
	}
	s.write("outrider.yaml", fmt.Sprintf(`version: 1
identities: {host: {certificate: %q, private_key: %q}}
roles: {lab: {region: %s, trust_anchor: %q, profile: %q, role: %q, endpoints: {%s}}}
apps: {billing: {secrets: %s, files: [{content: %q, destination: %s}]}}
watch: {%s}
listen: {admin: "unix:sock"}
state: state
`, setup.Certificate, setup.PrivateKey, setup.Region, setup.TrustAnchor, setup.Profile, setup.Role, strings.Join(endpoints, ", "),
		s.op.secrets, s.op.file, s.path("conf"), watch))
}

func (s *scene) path(name string) string { return filepath.Join(s.dir, name) }

func (s *scene) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(s.path(name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// rotate gives secrets new values.
func (s *scene) rotate(ids ...string) {
	s.t.Helper()
	s.count++
	for _, id := range ids {
		value := fmt.Sprintf("value-%d-of-%s", s.count, strings.Trim(id, "/"))
		var err error
		if strings.HasPrefix(id, "/") {
			_, err = s.line.lab.PutParameter(id, value, awslab.TypeSecureString)
		} else {
			_, err = s.line.lab.PutSecret(id, value)
		}
		if err != nil {
			s.t.Fatal(err)
		}
		s.newest[id] = value
	}
}

// fresh reports whether the file holds the newest values, all of them.
func (s *scene) fresh() bool {
	var values []string
	for _, id := range s.op.all() {
		values = append(values, s.newest[id])
	}
	return s.content() == strings.Join(values, " ")
}

func (s *scene) content() string {
	text, err := os.ReadFile(s.path("conf"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.t.Fatal(err)
	}
	return string(text)
}

// trace is what anybody would see who looks at a file.
func (s *scene) trace() string {
	s.t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(s.path("conf"), &st); err != nil {
		s.t.Fatal(err)
	}
	return fmt.Sprint(st.Ino, st.Mtim, st.Ctim, st.Mode, st.Uid, st.Gid)
}

// begin makes the fault strike.
func (s *scene) begin() {
	s.line.begin(s.f)
	if s.door == nil {
		return
	}
	if s.f.severs {
		if s.f.unnamed {
			s.write("hosts", "")
			s.pass(6 * time.Second) // for five it remembers names
		}
		s.door.shut()
		if s.f.unnamed {
			s.door.open()
		}
		s.pass(time.Second / 2) // until what was idle is seen to be cut
	}
}

// end mends it.
func (s *scene) end() (calls, hits int) {
	switch {
	case s.door == nil:
	case s.f.unnamed:
		host, _, _ := net.SplitHostPort(s.door.address)
		s.write("hosts", host+" localhost\n")
	case s.f.severs:
		s.door.open()
	}
	return s.line.end()
}

// until waits until the answer is yes, and returns after how long it was, and
// whether it was within the limit.
func (s *scene) until(limit time.Duration, ask func() bool) (time.Duration, bool) {
	pause := 50 * time.Millisecond
	if !s.m.wire {
		pause = 500 * time.Millisecond
	}
	again := time.NewTicker(pause)
	defer again.Stop()
	for began := time.Now(); ; <-again.C {
		if ask() {
			return time.Since(began), true
		}
		if time.Since(began) >= limit {
			return limit, false
		}
	}
}

// pass lets time pass.
func (s *scene) pass(d time.Duration) { s.until(d, func() bool { return false }) }

// live runs an agent in this process until the function it returns is called.
func (s *scene) live() (stop func()) {
	s.t.Helper()
	c, err := config.Load(s.path("outrider.yaml"), func(string) string { return "" })
	if err != nil {
		s.t.Fatal(err)
	}
	c.Listen = config.Listen{} // a socket would stop the bubble's clock
	dice := rand.New(rand.NewPCG(7, uint64(len(s.f.name))))
	a, err := agent.New(c, agent.Options{
		Transport: s.line, Roll: locked(dice.Float64),
		Watch: func(ctx context.Context, _ []string, _ func()) error {
			<-ctx.Done()
			return nil
		},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			s.t.Errorf("Run = %v", err)
		}
	}
}

// start runs the program until the function it returns is called.
func (s *scene) start() (stop func()) {
	s.t.Helper()
	log, err := os.Create(s.path("log"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	argv := []string{program, "run", "--config", s.path("outrider.yaml")}
	var attributes syscall.SysProcAttr
	if s.f.unnamed {
		// Names are found in a file of the scene's own, for this process alone.
		argv = append([]string{"/bin/sh", "-c", `mount --bind "$0/hosts" /etc/hosts && mount --bind "$0/nsswitch.conf" /etc/nsswitch.conf && exec "$@"`, s.dir}, argv...)
		attributes.Unshareflags = unix.CLONE_NEWNS
	}
	attributes.Pdeathsig = unix.SIGKILL
	c := exec.Command(argv[0], argv[1:]...)
	c.SysProcAttr, c.Env, c.Stderr = &attributes, []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, log
	if err := c.Start(); err != nil {
		s.t.Fatal(err)
	}
	return func() {
		s.t.Helper()
		_ = c.Process.Signal(unix.SIGTERM)
		hung := time.AfterFunc(30*time.Second, func() { _ = c.Process.Kill() })
		defer hung.Stop()
		if err := c.Wait(); err != nil {
			s.t.Errorf("the sidecar: %v", err)
		}
		text, err := os.ReadFile(s.path("log"))
		if err != nil || strings.Contains(string(text), "value-") {
			s.t.Errorf("the log shows a value, or nothing: %v", err)
		}
		if s.t.Failed() {
			s.t.Logf("the log:\n%s", text)
		}
	}
}

// status asks the program; it may still be starting.
func (s *scene) status() (serve.Status, error) {
	return serve.Client{Path: s.path("sock")}.Status(s.t.Context())
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

// locked makes a source of random numbers one for many goroutines.
func locked(roll func() float64) func() float64 {
	var mu sync.Mutex
	return func() float64 {
		mu.Lock()
		defer mu.Unlock()
		return roll()
	}
}

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"outrider/awslab"
	"outrider/serve"
)

// patience is how long a test waits for what should be there in a moment: the
// machine may be busy.
const patience = 60 * time.Second

// scene is a host with a configuration, and AWS.
type scene struct {
	t    *testing.T
	dir  string
	lab  *awslab.Lab
	env  []string // of the sidecar
	head string   // of the configuration
}

// queue is the name of the queue that hears of changes in a scene's lab.
const queue = "e2e"

// pushed is for a configuration whose changes come by the queue, and by it
// alone. AWS_ENDPOINT_URL says where that is.
const pushed = "watch: {interval: 1h, queue: https://sqs.us-east-1.amazonaws.com/111122223333/" + queue + "}\n"

// newScene returns a scene whose files stand below parent, empty for the
// system's folder of temporary files.
func newScene(t *testing.T, parent string) *scene {
	t.Helper()
	// A socket's path is short: the test's own folder may not be.
	dir, err := os.MkdirTemp(parent, "e2e-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	lab, err := awslab.New(awslab.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = lab.CreateQueue(queue); err == nil {
		err = lab.Subscribe(queue, awslab.EventForm{})
	}
	if err != nil {
		t.Fatal(err)
	}
	setup, err := lab.Write(filepath.Join(dir, "pki"))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(lab)
	t.Cleanup(server.Close)
	return &scene{
		t: t, dir: dir, lab: lab, env: []string{"AWS_ENDPOINT_URL=" + server.URL},
		head: fmt.Sprintf(`version: 1
identities: {host: {certificate: %s, private_key: %s}}
roles: {lab: {region: %s, trust_anchor: %s, profile: %s, role: %s}}
listen: {admin: "unix:sock"}
state: state
`, setup.Certificate, setup.PrivateKey, setup.Region, setup.TrustAnchor, setup.Profile, setup.Role),
	}
}

// path returns where something of the scene's stands.
func (s *scene) path(name string) string { return filepath.Join(s.dir, name) }

// configure writes the configuration. In it, DIR stands for the scene's
// folder. Secrets are looked at every second unless it says otherwise.
func (s *scene) configure(rest string) {
	s.t.Helper()
	if !strings.Contains(rest, "\nwatch:") {
		rest += "watch: {interval: 1s}\n"
	}
	s.write("outrider.yaml", s.head+strings.ReplaceAll(rest, "DIR", s.dir))
}

func (s *scene) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(s.path(name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// script writes a shell script, in which DIR stands for the scene's folder.
// Nothing is forked meanwhile: until it is another program, a child has open
// what is being written, and the script is not run but "text file busy".
func (s *scene) script(name, text string) {
	s.t.Helper()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	s.write(name, "#!/bin/sh\n"+strings.ReplaceAll(text, "DIR", s.dir)+"\n")
	if err := os.Chmod(s.path(name), 0o700); err != nil {
		s.t.Fatal(err)
	}
}

// read returns what is in a file, nothing when it is not there.
func (s *scene) read(name string) string {
	s.t.Helper()
	text, err := os.ReadFile(s.path(name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		s.t.Fatal(err)
	}
	return string(text)
}

// put gives a secret a new version.
func (s *scene) put(name, text string, stages ...string) (version string) {
	s.t.Helper()
	version, err := s.lab.PutSecret(name, text, stages...)
	if err != nil {
		s.t.Fatal(err)
	}
	return version
}

// label moves a label of a secret.
func (s *scene) label(name, label, version string) {
	s.t.Helper()
	if err := s.lab.MoveLabel(name, label, version); err != nil {
		s.t.Fatal(err)
	}
}

// outrider runs a command of the program, and returns what it prints. Its
// error ends with what it complains of.
func (s *scene) outrider(args ...string) (string, error) {
	cmd := exec.CommandContext(s.t.Context(), program, append(args, "--config", s.path("outrider.yaml"))...)
	cmd.Env = s.env
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("outrider %s: %w: %s", strings.Join(args, " "), err, complaint.String())
	}
	return out.String(), nil
}

// do is outrider for what must go well.
func (s *scene) do(args ...string) string {
	s.t.Helper()
	out, err := s.outrider(args...)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

// until waits until status --json says of an app what is wanted, and returns
// it. The sidecar may still be starting.
func (s *scene) until(name, wanted string, ok func(serve.App) bool) serve.App {
	s.t.Helper()
	var last serve.App
	var err error
	if !poll(s.t.Context(), 50*time.Millisecond, func() bool {
		var out string
		if out, err = s.outrider("status", "--json"); err != nil {
			return false
		}
		var status serve.Status
		if err := json.Unmarshal([]byte(out), &status); err != nil {
			s.t.Fatal(err)
		}
		last = status.Apps[name]
		return ok(last)
	}) {
		s.t.Fatalf("after %s app %s is not %s: %+v, %v", patience, name, wanted, last, err)
	}
	return last
}

// current waits until an app's files are current and everybody knows.
func (s *scene) current(name string) serve.App {
	s.t.Helper()
	return s.until(name, "current, and nothing owed", func(a serve.App) bool {
		return a.State == serve.Current && len(a.Owed) == 0 && a.Error == ""
	})
}

// fails waits until the status of an app gives all of these as its error's
// words.
func (s *scene) fails(name string, words ...string) serve.App {
	s.t.Helper()
	return s.until(name, fmt.Sprintf("failing with %q", words), func(a serve.App) bool {
		for _, w := range words {
			if !strings.Contains(a.Error, w) {
				return false
			}
		}
		return true
	})
}

// poll asks again after each pause until the answer is yes, or patience ends.
func poll(ctx context.Context, pause time.Duration, ask func() bool) bool {
	again := time.NewTicker(pause)
	defer again.Stop()
	for end := time.Now().Add(patience); ; {
		if ask() {
			return true
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return false
		}
		if time.Now().After(end) {
			return false
		}
	}
}

// sidecar is the running program.
type sidecar struct {
	s     *scene
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has
	err   error         // how, then
}

// start starts the sidecar, which ends with the test at the latest.
func (s *scene) start() *sidecar {
	s.t.Helper()
	log, err := os.OpenFile(s.path("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	p := &sidecar{s: s, cmd: exec.Command(program, "run", "--config", s.path("outrider.yaml")), ended: make(chan struct{})}
	p.cmd.Env, p.cmd.Stderr = s.env, log
	if err := p.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		p.err = p.cmd.Wait()
	}()
	s.t.Cleanup(p.stop)
	return p
}

// ready is start for a sidecar whose apps all become current.
func (s *scene) ready(apps ...string) *sidecar {
	s.t.Helper()
	p := s.start()
	for _, app := range apps {
		s.do("wait", app, "--timeout", patience.String())
		s.current(app)
	}
	return p
}

// lives fails the test if the sidecar has ended.
func (p *sidecar) lives() {
	p.s.t.Helper()
	select {
	case <-p.ended:
		p.s.t.Fatalf("the sidecar has ended by itself: %v; its log:\n%s", p.err, p.s.read("log"))
	default:
	}
}

// kill ends the sidecar as a power switch would.
func (p *sidecar) kill() {
	p.s.t.Helper()
	p.lives()
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// stop ends the sidecar as its service manager would.
func (p *sidecar) stop() {
	select {
	case <-p.ended:
		return
	default:
	}
	_ = p.cmd.Process.Signal(unix.SIGTERM)
	hung := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
	defer hung.Stop()
	<-p.ended
	if p.err != nil {
		p.s.t.Errorf("the sidecar did not end well: %v", p.err)
	}
	if p.s.t.Failed() {
		p.s.t.Logf("its log:\n%s", p.s.read("log"))
	}
}

// client asks the sidecar without a process for each question.
func (s *scene) client() serve.Client { return serve.Client{Path: s.path("sock")} }

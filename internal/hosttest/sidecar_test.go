package hosttest

import (
	"fmt"
	"io"
	"net"
	"os/exec"
	"syscall"
	"time"

	"outrider/internal/programtest"
	"outrider/serve"
)

// sidecar is an `outrider run`.
type sidecar struct {
	h    *host
	cmd  *exec.Cmd
	log  programtest.Log
	done chan struct{} // closed when it has ended
}

// start runs a sidecar that logs all it can, until the test ends or stop.
func (h *host) start(args ...string) *sidecar {
	h.t.Helper()
	s := &sidecar{h: h, done: make(chan struct{})}
	s.cmd = exec.Command(h.binary, append([]string{"run", "--log-level", "debug"}, args...)...)
	s.cmd.Env, s.cmd.Dir = h.env, h.dir
	s.cmd.Stderr = io.MultiWriter(&s.log, &h.said)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	go func() {
		_ = s.cmd.Wait()
		close(s.done)
	}()
	h.t.Cleanup(func() { s.stop() })
	return s
}

// stop ends the sidecar, which must end well, and returns what it logged.
func (s *sidecar) stop() string {
	s.h.t.Helper()
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.done:
	case <-time.After(patience):
		_ = s.cmd.Process.Kill()
		<-s.done
		s.h.t.Errorf("the sidecar did not end within %s of SIGTERM", patience)
	}
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		s.h.t.Errorf("the sidecar ended with %v:\n%s", s.cmd.ProcessState, s.log.String())
	}
	return s.log.String()
}

// status asks the running sidecar.
func (h *host) status() (serve.Status, error) {
	return serve.Client{Path: h.path("outrider.sock")}.Status(h.t.Context())
}

// await waits until the roles have a session each, and its endpoints answer.
func (h *host) await(roles ...string) {
	h.t.Helper()
	eventually(h.t, "sessions", func() error {
		s, err := h.status()
		for _, name := range roles {
			if err == nil && s.Roles[name].AccessKeyID == "" {
				err = fmt.Errorf("role %s has none: %s", name, s.Roles[name].Error)
			}
		}
		return err
	})
	h.listening()
}

// listening waits until its endpoints answer, and those on these sockets.
func (h *host) listening(sockets ...string) {
	h.t.Helper()
	answers := func(network, address string) {
		eventually(h.t, "an endpoint", func() error {
			c, err := net.Dial(network, address)
			if err != nil {
				return err
			}
			return c.Close()
		})
	}
	for _, address := range h.addresses {
		answers("tcp", address)
	}
	for _, name := range sockets {
		answers("unix", h.path(name))
	}
}

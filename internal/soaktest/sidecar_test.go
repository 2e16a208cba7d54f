package soaktest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"outrider/serve"
)

// sidecar is the running program.
type sidecar struct {
	h     *host
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has
	err   error         // how, then
}

// start starts the sidecar, which ends with the test at the latest, below
// another program if one is given.
func (h *host) start(below ...string) *sidecar {
	h.t.Helper()
	log, err := os.OpenFile(h.path("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		h.t.Fatal(err)
	}
	defer log.Close()
	argv := append(below, program, "run", "--config", h.path("outrider.yaml"))
	p := &sidecar{h: h, cmd: exec.Command(argv[0], argv[1:]...), ended: make(chan struct{})}
	p.cmd.Env, p.cmd.Stderr = h.env, log
	if err := p.cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		p.err = p.cmd.Wait()
	}()
	h.t.Cleanup(p.stop)
	return p
}

// lives returns an error if the sidecar has ended.
func (p *sidecar) lives() error {
	select {
	case <-p.ended:
		return fmt.Errorf("the sidecar has ended by itself: %w", p.err)
	default:
		return nil
	}
}

// signal is for what a sidecar must be alive for.
func (p *sidecar) signal(s os.Signal) {
	p.h.t.Helper()
	if err := errors.Join(p.lives(), p.cmd.Process.Signal(s)); err != nil {
		p.h.t.Fatal(err)
	}
}

// kill ends the sidecar as a power switch would.
func (p *sidecar) kill() {
	p.h.t.Helper()
	p.signal(unix.SIGKILL)
	<-p.ended
}

// stop ends the sidecar as its service manager would.
func (p *sidecar) stop() {
	if p.lives() != nil {
		return
	}
	_ = p.cmd.Process.Signal(unix.SIGCONT)
	_ = p.cmd.Process.Signal(unix.SIGTERM)
	hung := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
	defer hung.Stop()
	<-p.ended
	if p.err != nil {
		p.h.t.Errorf("the sidecar did not end well: %v", p.err)
	}
	if p.h.t.Failed() {
		log := p.h.read("log")
		p.h.t.Logf("the end of its log:\n%s", log[max(0, len(log)-20000):])
	}
}

// delivered returns an error until every file holds what is newest, every
// application knows, and nothing is wrong. Nothing may rotate meanwhile.
func (p *sidecar) delivered() error {
	if err := p.lives(); err != nil {
		return err
	}
	status, err := p.h.client().Status(p.h.t.Context())
	if err != nil {
		return err
	}
	for _, k := range kinds() {
		app := status.Apps[k.app]
		if app.State != serve.Current || app.Error != "" || len(app.Owed) > 0 {
			return fmt.Errorf("app %s is %s and owes %v: %s", k.app, app.State, app.Owed, app.Error)
		}
		for path, parts := range k.files {
			if p.h.read(path) != p.h.newest(parts) {
				return fmt.Errorf("%s is not the newest", path)
			}
		}
		if err := p.h.told(k, app.Generation); err != nil {
			return err
		}
	}
	return nil
}

// outrider runs a command of the program to its end.
func (h *host) outrider(args ...string) (code int, said string) {
	h.t.Helper()
	cmd := exec.CommandContext(h.t.Context(), program, append(args, "--config", h.path("outrider.yaml"))...)
	var complaint strings.Builder
	cmd.Env, cmd.Stderr = h.env, &complaint
	hung := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer hung.Stop()
	_ = cmd.Run()
	return cmd.ProcessState.ExitCode(), complaint.String()
}

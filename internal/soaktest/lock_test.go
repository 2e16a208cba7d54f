package soaktest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// refused returns an error unless a command ended with one line that names the
// process which has the state.
func (h *host) refused(by *sidecar, code int, said string) error {
	want := fmt.Sprintf("outrider: state %s is in use by process %d; ask that one (outrider status, outrider refresh) or stop it\n", h.path("state"), by.cmd.Process.Pid)
	said, found := strings.CutSuffix(said, want)
	if code != 1 || !found || strings.Contains(said, "ERROR") || strings.Contains(said, "WARN") {
		return fmt.Errorf("it ended with %d and\n%swant 1 and\n%s", code, said, want)
	}
	return nil
}

// A state has one sidecar: a second one is refused by a line that names the
// first, until that one is gone, however it went.
func TestOneSidecarHasTheState(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		do   func(*sidecar) // to the first
		gone bool
	}{
		"it runs":                  {do: func(*sidecar) {}},
		"it is stopped by SIGSTOP": {do: func(p *sidecar) { p.signal(unix.SIGSTOP) }},
		"it was told to stop":      {(*sidecar).stop, true},
		"it was killed":            {(*sidecar).kill, true},
		"it was killed while it was stopped": {func(p *sidecar) {
			p.signal(unix.SIGSTOP)
			p.kill()
		}, true},
		"its state was removed": {func(p *sidecar) {
			if err := os.RemoveAll(p.h.path("state")); err != nil {
				p.h.t.Fatal(err)
			}
			p.gaveUp()
		}, true},
		"another state is in the place of its own": {func(p *sidecar) {
			state := p.h.path("state")
			if err := errors.Join(os.Rename(state, p.h.path("pki/away.pem")), os.Mkdir(state, 0o700)); err != nil {
				p.h.t.Fatal(err)
			}
			p.gaveUp()
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			p := h.start()
			h.until("delivered", p.delivered)
			tc.do(p)
			h.moveAll()
			if tc.gone {
				p = h.start()
			} else {
				for _, command := range []string{"run", "once"} {
					code, said := h.outrider(command)
					if err := h.refused(p, code, said); err != nil {
						t.Errorf("%s: %v", command, err)
					}
				}
				p.signal(unix.SIGCONT)
			}
			h.until("delivered", p.delivered)
		})
	}
}

// gaveUp waits until the sidecar has ended by itself because its state is away.
func (p *sidecar) gaveUp() {
	p.h.t.Helper()
	p.h.until("its end", func() error {
		if p.lives() == nil {
			return errors.New("it goes on")
		}
		return nil
	})
	want := "state " + p.h.path("state") + " was moved or removed while it was in use; start outrider again\n"
	if code := p.cmd.ProcessState.ExitCode(); code != 1 || !strings.HasSuffix(p.h.read("log"), want) {
		p.h.t.Errorf("it ended with %d; want 1, and at the end of its log %s", code, want)
	}
}

// Of several sidecars that start at one moment, one has the state, and each
// other names it.
func TestOneOfSeveralSidecarsGetsTheState(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	const several = 6
	type end struct {
		code int
		said string
	}
	ends := make(chan end, several)
	for range several {
		go func() {
			code, said := h.outrider("run")
			ends <- end{code, said}
		}()
	}
	var refused []end
	for range several - 1 {
		refused = append(refused, <-ends)
	}
	pid, err := os.ReadFile(h.path("state/lock"))
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("is in use by process %s; ask that one (outrider status, outrider refresh) or stop it\n", strings.TrimSpace(string(pid)))
	for _, e := range refused {
		if e.code != 1 || !strings.HasSuffix(e.said, want) && !strings.Contains(e.said, "is in use by another process; ") { // who has it may be slow to write it down
			t.Errorf("one ended with %d and\n%swant 1 and\n%s", e.code, e.said, want)
		}
	}
	var last int
	if _, err := fmt.Sscan(string(pid), &last); err != nil || last < 2 {
		t.Fatalf("the lock names %q", pid)
	}
	if err := unix.Kill(last, unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if e := <-ends; e.code != 0 {
		t.Errorf("the one that had it ended with %d and\n%s", e.code, e.said)
	}
}

// Where a folder cannot be locked, the sidecar says so and tries on; once
// fails.
func TestStateWithoutLocks(t *testing.T) {
	t.Parallel()
	strace, err := exec.LookPath("strace")
	switch {
	case err != nil && os.Getenv("CI") == "true":
		t.Fatalf("%v; scripts/setup installs it", err)
	case err != nil:
		t.Skipf("%v (scripts/setup)", err)
	}
	const want = "lock: no locks available; put state on a file system that has locks"
	// The tracer is nobody's parent, so that what is started is the program, and
	// goes when it is told to.
	refusing := []string{strace, "-D", "-I", "1", "-f", "-qq", "-o", "/dev/null", "-e", "trace=flock", "-e", "inject=flock:error=ENOLCK"}
	h := newHost(t)
	p := h.start(refusing...)
	h.until("what is wrong", func() error {
		if log := h.read("log"); !strings.Contains(log, want) || !strings.Contains(log, `"msg":"state not usable"`) {
			return fmt.Errorf("not said: %q", want)
		}
		return p.lives()
	})
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(number(status, `(?m)^TracerPid:\s*(\d+)`), unix.SIGINT); err != nil {
		t.Fatal(err)
	}
	h.until("delivered, now that it can be locked", p.delivered)
	p.stop()
	if n := strings.Count(h.read("log"), want); n != 1 {
		t.Errorf("said %d times, want once", n)
	}
	argv := append(refusing, program, "once", "--config", h.path("outrider.yaml"))
	once := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	once.Env = h.env
	said, _ := once.CombinedOutput()
	if once.ProcessState.ExitCode() != 1 || !strings.HasSuffix(strings.TrimSpace(string(said)), want) {
		t.Errorf("once ended with %d and %q, want 1 and %q", once.ProcessState.ExitCode(), said, filepath.Join(h.path("state"), want))
	}
}

package e2e

import (
	"bufio"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"outrider/serve"
)

// What no file system here does, the kernel is made to answer, for one file
// and for as long as a tracer is attached: an exhausted quota, a disk that
// does not take what is written.
func TestDiskErrorsThatATracerMakes(t *testing.T) {
	t.Parallel()
	strace := tracer(t)
	s := newScene(t, "")
	s.put("db", "old")
	s.configure("apps: {billing: {secrets: {db: {secret: db}}, files: [{content: '{{ .db }}', destination: conf}]}}\n")
	sidecar := s.ready("billing")
	old := "old"
	for _, tc := range []struct{ name, errno, words string }{
		{"the quota is exhausted", "EDQUOT", "disk quota exceeded: raise the quota of uid 0 on the file system of "},
		{"the disk fails", "EIO", "input/output error: look at the kernel's log, and after the disk of "},
	} {
		before := s.traces("conf")
		detach := attach(t, exec.Command(strace, "-f", "-p", strconv.Itoa(sidecar.cmd.Process.Pid),
			"-P", s.path(".outrider-billing/1/conf"), "-e", "trace=write", "-e", "inject=write:error="+tc.errno))
		s.put("db", "after "+tc.errno)
		app := s.fails("billing", tc.words)
		if file := app.Files[s.path("conf")]; app.State != serve.Failing || file.Error == "" || s.read("conf") != old {
			t.Errorf("%s: state %s, its file %+v, the old content stays: %t", tc.name, app.State, file, s.read("conf") == old)
		}
		if after := s.traces("conf"); strings.Join(after, " ") != strings.Join(before, " ") {
			t.Errorf("%s: the file was touched", tc.name)
		}
		detach()
		s.current("billing")
		if old = s.read("conf"); old != "after "+tc.errno {
			t.Errorf("%s: mended, and the file holds %q", tc.name, old)
		}
	}
}

// tracer returns where strace is.
func tracer(t *testing.T) string {
	t.Helper()
	strace, err := exec.LookPath("strace")
	switch {
	case os.Geteuid() != 0:
		t.Skip("a process that hides its memory is traced by root alone")
	case err != nil && os.Getenv("CI") == "true":
		t.Fatalf("%v; scripts/setup installs it", err)
	case err != nil:
		t.Skipf("%v (scripts/setup)", err)
	}
	return strace
}

// attach starts a tracer, and returns when it traces what takes it away again.
func attach(t *testing.T, c *exec.Cmd) (detach func()) {
	t.Helper()
	says, err := c.StderrPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	detach = func() {
		_ = c.Process.Signal(unix.SIGINT)
		_ = c.Wait() // it ends by the signal
	}
	t.Cleanup(func() { _ = c.Process.Kill() })
	lines := bufio.NewScanner(says)
	for lines.Scan() {
		if strings.Contains(lines.Text(), " attached") {
			go func() {
				for lines.Scan() { // what it prints of each call is of no interest
				}
			}()
			return detach
		}
	}
	t.Fatalf("strace: %v", c.Wait())
	return nil
}

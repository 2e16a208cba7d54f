package localfault

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"outrider/internal/programtest"
)

// program is the path of the program under test, built as it is released.
var program string

var (
	update = flag.Bool("update", false, "write docs/local-faults.md; implies -full")
	full   = flag.Bool("full", false, "strike at every call, not at every third")
	hold   = flag.Duration("hold", 2*time.Second, "how long a fault lasts after it was seen; of calls, each folder's first")
)

// inside says, in the environment, what this binary was started again as.
const inside = "LOCALFAULT_INSIDE"

func TestMain(m *testing.M) {
	switch os.Getenv(inside) {
	case "filter": // to become the sidecar
		fmt.Fprintln(os.Stderr, becomeFiltered(os.Args[1:]))
		os.Exit(1)
	case "mounts":
		os.Exit(programtest.Main(m, os.Stderr, &program, 24))
	}
	os.Exit(apart(m))
}

// apart runs the tests in a process with mounts of its own: they end with it,
// however it ends.
func apart(m *testing.M) int {
	runtime.LockOSThread() // it is its parent's thread whose death it follows
	c := exec.Command("/proc/self/exe", os.Args[1:]...)
	c.Env, c.Stdin, c.Stdout, c.Stderr = append(os.Environ(), inside+"=mounts"), os.Stdin, os.Stdout, os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS, Pdeathsig: unix.SIGKILL}
	err := c.Run()
	if ended, ok := errors.AsType[*exec.ExitError](err); ok && ended.Exited() {
		return ended.ExitCode()
	}
	if err == nil {
		return 0
	}
	if c.ProcessState == nil && os.Getenv("CI") != "true" { // not ours to give
		fmt.Fprintf(os.Stderr, "left out: mounts of our own: %v\n", err)
		return programtest.Main(m, os.Stderr, &program, 24)
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

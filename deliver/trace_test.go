package deliver

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// What a crash or another user could see depends on the order of system
// calls, and no look at the files afterwards shows that.
func TestOrderOfSystemCalls(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "c"), "same", 0o604)
	want := []string{
		"create 0600", "write", "fchown 65534 65534", "fchmod 0640", "fsync",
		"create 0600", "write", "fsync",
		"fchmod 0600", "fchown 0 65534", "fchmod 0660", // the drifted file, narrowed before it changes hands
		"rename", "rename", "rmdir", "rmdir", "fsync",
	}
	if diff := cmp.Diff(trace(t, "once", dir), want); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
}

// syscallInfo is struct ptrace_syscall_info at the entry of a call (ptrace(2)).
type syscallInfo struct {
	op     uint8
	_      [3]uint8
	_      uint32
	_, _   uint64
	number uint64
	args   [6]uint64
	_      [16]byte
}

// trace runs the test binary in a part and lists its calls that change files.
func trace(t *testing.T, part ...string) []string {
	t.Helper()
	runtime.LockOSThread() // the tracer is a thread
	defer runtime.UnlockOSThread()
	cmd := exec.Command(os.Args[0], append([]string{"as"}, part...)...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		t.Skipf("left out: no leave to trace: %v", err)
	}
	defer cmd.Wait() // after the loop it has nothing left to wait for
	var status unix.WaitStatus
	_, err := unix.Wait4(cmd.Process.Pid, &status, unix.WALL, nil)
	err = errors.Join(err, unix.PtraceSetOptions(cmd.Process.Pid, unix.PTRACE_O_TRACESYSGOOD|unix.PTRACE_O_TRACECLONE|unix.PTRACE_O_EXITKILL))
	if err != nil {
		t.Fatal(err)
	}
	var calls []string
	for stopped := cmd.Process.Pid; ; {
		signal := 0
		switch stop := status.StopSignal(); {
		case stop == unix.SIGTRAP|0x80:
			var info syscallInfo
			_, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_GET_SYSCALL_INFO, uintptr(stopped), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0)
			if errno != 0 {
				t.Fatal(errno)
			}
			if call := info.String(); info.op == unix.PTRACE_SYSCALL_INFO_ENTRY && call != "" {
				calls = append(calls, call)
			}
		case status.Stopped() && stop != unix.SIGTRAP && stop != unix.SIGSTOP: // its own affair
			signal = int(stop)
		}
		if status.Stopped() {
			if err := unix.PtraceSyscall(stopped, signal); err != nil && !errors.Is(err, unix.ESRCH) {
				t.Fatal(err)
			}
		}
		if stopped, err = unix.Wait4(-1, &status, unix.WALL, nil); err != nil {
			t.Fatal(err)
		}
		if stopped == cmd.Process.Pid && status.Exited() {
			if status.ExitStatus() != 0 {
				t.Errorf("%v: exit status %d", part, status.ExitStatus())
			}
			return calls
		}
	}
}

// String names a call that changes a file, and is empty for any other.
func (i syscallInfo) String() string {
	switch i.number {
	case unix.SYS_OPENAT:
		if i.args[2]&unix.O_CREAT != 0 {
			return fmt.Sprintf("create %04o", i.args[3])
		}
	case unix.SYS_WRITE:
		if i.args[2] == uint64(len("traced")) {
			return "write"
		}
	case unix.SYS_FCHOWN:
		return fmt.Sprintf("fchown %d %d", i.args[1], i.args[2])
	case unix.SYS_FCHMOD:
		return fmt.Sprintf("fchmod %04o", i.args[1])
	case unix.SYS_FSYNC:
		return "fsync"
	case unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2:
		return "rename"
	case unix.SYS_UNLINKAT:
		if i.args[2] == unix.AT_REMOVEDIR {
			return "rmdir"
		}
	}
	return ""
}

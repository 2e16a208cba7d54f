package deliver

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// What a crash or another user could see depends on the order of system
// calls, and no look at the files afterwards shows that. These are the orders
// in docs/architecture.md, of the second commit of an app.
func TestOrderOfSystemCalls(t *testing.T) {
	needRoot(t)
	tests := []struct {
		name, part string
		want       []string
	}{
		{"one file", "once", []string{
			"create etc/.outrider-app/1/a 0600",
			"write etc/.outrider-app/1/a",
			"chown etc/.outrider-app/1/a 65534:65534",
			"chmod etc/.outrider-app/1/a 0640",
			"write state/app.journal", // intended
			"sync state/app.journal",  // both at the same time
			"sync etc/.outrider-app/1/a",
			"rename etc/.outrider-app/1/a etc/a",
			"sync etc",
			"write state/app.journal", // committed
			"mark committed 2",
			"mark told 2",
			"write state/app.journal", // told
		}},
		{"two files that are to be confirmed, and one whose mode and group have drifted", "twice", []string{
			"create etc/.outrider-app/1/a 0600",
			"write etc/.outrider-app/1/a",
			"chown etc/.outrider-app/1/a 65534:65534",
			"chmod etc/.outrider-app/1/a 0640",
			"create etc/.outrider-app/1/b 0600",
			"write etc/.outrider-app/1/b",
			"chmod etc/c 0600", // narrowed before it changes hands
			"chown etc/c 0:65534",
			"chmod etc/c 0660",
			"link etc/a etc/.outrider-app/previous/a",
			"link etc/b etc/.outrider-app/previous/b",
			"write state/app.journal", // intended
			"sync state/app.journal",  // all five at the same time
			"sync etc/.outrider-app/1/a",
			"sync etc/.outrider-app/1/b",
			"sync etc/.outrider-app/1",
			"sync etc/.outrider-app/previous",
			"rename etc/.outrider-app/1/a etc/a",
			"rename etc/.outrider-app/1/b etc/b",
			"sync etc",
			"write state/app.journal", // committed
			"mark committed 2",
			"mark told 2",
			"write state/app.journal", // told
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			dir := filepath.Join(root, "etc")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"a", "b", "c"} {
				write(t, filepath.Join(dir, name), "same", 0o600)
			}
			var got []string
			for _, o := range traced(t, root, tt.part, dir, filepath.Join(root, "state")) {
				got = append(got, o.String())
			}
			sortSyncs(got, tt.want)
			if diff := cmp.Diff(got, tt.want); diff != "" {
				t.Errorf("(-got +want):\n%s", diff)
			}
		})
	}
}

// sortSyncs brings the syncs that are made at the same time into the order in
// which they are wanted.
func sortSyncs(got, want []string) {
	for i := range got {
		n := i
		for n < len(got) && strings.HasPrefix(got[n], "sync ") {
			n++
		}
		slices.SortFunc(got[i:n], func(a, b string) int { return slices.Index(want, a) - slices.Index(want, b) })
	}
}

// op is one call that changes files below a folder, or a mark that the traced
// process has set by printing it.
type op struct {
	kind     string // create, mkdir, symlink, link, rename, exchange, remove, write, truncate, chmod, chown, sync, mark
	path, to string // to: of link, rename, exchange, and the target of a symlink
	fd       uint64
	data     []byte
	offset   int64
	mode     uint32
	detail   string
}

// String shows the op as in docs/architecture.md.
func (o op) String() string {
	return strings.TrimRight(strings.Join([]string{o.kind, o.path, o.to}, " "), " ") + o.detail
}

// syscallInfo is struct ptrace_syscall_info (ptrace(2)).
type syscallInfo struct {
	op     uint8
	_      [3]uint8
	_      uint32
	_, _   uint64
	number uint64 // at the exit of a call: what it returns
	args   [6]uint64
	_      [16]byte
}

// tracer watches a process.
type tracer struct {
	t       *testing.T
	pid     int
	root    string
	begun   func() // called when the process prints "begin": nothing before counts
	ops     []op
	started bool
	entered map[int]op // by thread
}

// traced runs the test binary in a part and returns its ops below root.
func traced(t *testing.T, root string, part ...string) []op {
	t.Helper()
	tr := &tracer{t: t, root: root}
	tr.run(part...)
	return tr.ops
}

func (tr *tracer) run(part ...string) {
	t := tr.t
	t.Helper()
	runtime.LockOSThread() // the tracer is a thread
	defer runtime.UnlockOSThread()
	cmd := exec.Command(self(t), append([]string{"as"}, part...)...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		t.Skipf("left out: no leave to trace: %v", err)
	}
	defer cmd.Wait() // after the loop it has nothing left to wait for
	tr.pid, tr.entered = cmd.Process.Pid, map[int]op{}
	var status unix.WaitStatus
	_, err := unix.Wait4(tr.pid, &status, unix.WALL, nil)
	err = errors.Join(err, unix.PtraceSetOptions(tr.pid, unix.PTRACE_O_TRACESYSGOOD|unix.PTRACE_O_TRACECLONE|unix.PTRACE_O_EXITKILL))
	if err != nil {
		t.Fatal(err)
	}
	for stopped := tr.pid; ; {
		signal := 0
		switch stop := status.StopSignal(); {
		case stop == unix.SIGTRAP|0x80:
			var info syscallInfo
			_, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_GET_SYSCALL_INFO, uintptr(stopped), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0)
			if errno != 0 {
				t.Fatal(errno)
			}
			tr.stop(stopped, info)
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
		if stopped == tr.pid && status.Exited() {
			if status.ExitStatus() != 0 {
				t.Fatalf("%v: exit status %d", part, status.ExitStatus())
			}
			return
		}
	}
}

// stop hears of a thread that enters or leaves a call. An op counts from the
// moment it is carried out, so in the order of the exits.
func (tr *tracer) stop(thread int, info syscallInfo) {
	switch info.op {
	case unix.PTRACE_SYSCALL_INFO_ENTRY:
		tr.entered[thread] = tr.before(info)
	case unix.PTRACE_SYSCALL_INFO_EXIT:
		if int64(info.number) >= 0 {
			tr.after(tr.entered[thread], info.number)
		}
		delete(tr.entered, thread)
	}
}

// before decodes a call that is entered. An empty kind is none of ours.
func (tr *tracer) before(i syscallInfo) op {
	a := i.args
	switch i.number {
	case unix.SYS_OPENAT:
		if a[2]&unix.O_CREAT != 0 {
			return op{kind: "create", path: tr.at(a[0], a[1]), mode: uint32(a[3]), detail: fmt.Sprintf(" %04o", a[3])}
		}
	case unix.SYS_MKDIRAT:
		return op{kind: "mkdir", path: tr.at(a[0], a[1]), mode: uint32(a[2])}
	case unix.SYS_SYMLINKAT:
		return op{kind: "symlink", path: tr.at(a[1], a[2]), to: tr.text(a[0])}
	case unix.SYS_LINKAT:
		return op{kind: "link", path: tr.at(a[0], a[1]), to: tr.at(a[2], a[3])}
	case unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2:
		o := op{kind: "rename", path: tr.at(a[0], a[1]), to: tr.at(a[2], a[3])}
		if i.number == unix.SYS_RENAMEAT2 && a[4]&unix.RENAME_EXCHANGE != 0 {
			o.kind = "exchange"
		}
		return o
	case unix.SYS_UNLINKAT:
		return op{kind: "remove", path: tr.at(a[0], a[1])}
	case unix.SYS_WRITE, unix.SYS_PWRITE64:
		data := tr.bytes(a[1], int(a[2]))
		switch {
		case a[0] == 1:
			return op{kind: "mark", path: strings.TrimSpace(string(data))}
		case i.number == unix.SYS_PWRITE64:
			return tr.open(op{kind: "write", data: data, offset: int64(a[3])}, a[0])
		}
		o := tr.open(op{kind: "write", data: data}, a[0])
		if o.kind != "" {
			o.offset = tr.position(a[0])
		}
		return o
	case unix.SYS_COPY_FILE_RANGE:
		return tr.open(op{kind: "copy", fd: a[2]}, a[2])
	case unix.SYS_FTRUNCATE:
		return tr.open(op{kind: "truncate", offset: int64(a[1])}, a[0])
	case unix.SYS_FCHMOD:
		return tr.open(op{kind: "chmod", mode: uint32(a[1]), detail: fmt.Sprintf(" %04o", a[1])}, a[0])
	case unix.SYS_FCHOWN:
		return tr.open(op{kind: "chown", detail: fmt.Sprintf(" %d:%d", int32(a[1]), int32(a[2]))}, a[0])
	case unix.SYS_FSYNC, unix.SYS_FDATASYNC:
		return tr.open(op{kind: "sync"}, a[0])
	}
	return op{}
}

// after notes a call that has succeeded.
func (tr *tracer) after(o op, result uint64) {
	switch o.kind {
	case "":
		return
	case "mark":
		if o.path == "begin" {
			tr.started = true
			if tr.begun != nil {
				tr.begun()
			}
			return
		}
	case "write":
		o.data = o.data[:result]
	case "copy": // what the kernel has written is in the file now
		data, err := os.ReadFile(o.path)
		if err != nil {
			tr.t.Fatal(err)
		}
		end := tr.position(o.fd)
		o.kind, o.offset = "write", end-int64(result)
		o.data = data[o.offset:end]
	}
	if o.kind == "write" && len(o.data) == 0 {
		return
	}
	var below, belowToo bool
	o.path, below = tr.below(o.path)
	if o.kind != "symlink" && o.to != "" {
		o.to, belowToo = tr.below(o.to)
	}
	if tr.started && (below || belowToo || o.kind == "mark") {
		tr.ops = append(tr.ops, o)
	}
}

// position returns how far a file has been read or written.
func (tr *tracer) position(fd uint64) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%d", tr.pid, fd))
	if err != nil {
		tr.t.Fatal(err)
	}
	var at int64
	if _, err := fmt.Sscanf(string(text), "pos:\t%d", &at); err != nil {
		tr.t.Fatal(err)
	}
	return at
}

// below returns a path as seen from the root, and whether it is below it.
func (tr *tracer) below(path string) (string, bool) {
	return strings.CutPrefix(path, tr.root+"/")
}

// open fills in what a descriptor is open for.
func (tr *tracer) open(o op, fd uint64) op {
	path, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", tr.pid, fd))
	if err != nil || !strings.HasPrefix(path, tr.root) {
		return op{}
	}
	o.path = path
	return o
}

// at returns the path of a name in an open folder.
func (tr *tracer) at(fd, name uint64) string {
	path := tr.text(name)
	if filepath.IsAbs(path) || int32(fd) == unix.AT_FDCWD {
		return path
	}
	dir, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", tr.pid, fd))
	if err != nil {
		tr.t.Fatal(err)
	}
	return filepath.Join(dir, path)
}

// text reads a string of the process.
func (tr *tracer) text(at uint64) string {
	var text []byte
	for {
		page := tr.bytes(at, 4096-int(at%4096)) // what lies behind may not be there
		if before, _, found := bytes.Cut(page, []byte{0}); found {
			return string(append(text, before...))
		}
		text = append(text, page...)
		at += uint64(len(page))
	}
}

// bytes reads memory of the process.
func (tr *tracer) bytes(at uint64, n int) []byte {
	data := make([]byte, n)
	if n == 0 {
		return data
	}
	_, err := unix.ProcessVMReadv(tr.pid, []unix.Iovec{{Base: &data[0], Len: uint64(n)}}, []unix.RemoteIovec{{Base: uintptr(at), Len: n}}, 0)
	if err != nil {
		tr.t.Fatal(err)
	}
	return data
}

package localfault

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// call is a system call of the sidecar's that the kernel is about to answer.
type call struct {
	does  string // create, write, sync, rename…
	path  string // that it is about; a rename's is where it goes
	reads bool   // it changes nothing
}

func (c call) String() string { return c.does + " " + c.path }

// kernel stands between a process and the kernel: it hears of the system
// calls that may go wrong, before they are carried out, and may answer them
// itself. The kernel's own way for that is seccomp's user notification
// (seccomp_unotify(2)): unlike a tracer's, its count of calls is one for all
// threads.
type kernel struct {
	t        *testing.T
	listener int
	pid      int
	ended    chan struct{}

	mu    sync.Mutex
	judge func(call) unix.Errno // called for one call at a time; 0: the kernel answers
}

// notification is struct seccomp_notif.
type notification struct {
	id     uint64
	tid, _ uint32
	number int32
	_      uint32
	_      uint64
	a      [6]uint64
}

// response is struct seccomp_notif_resp.
type response struct {
	id    uint64
	_     int64
	error int32
	flags uint32
}

// watched are the calls that are heard of.
func watched() []uint32 {
	return []uint32{
		unix.SYS_OPENAT, unix.SYS_MKDIRAT, unix.SYS_LINKAT, unix.SYS_SYMLINKAT, unix.SYS_UNLINKAT, unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2,
		unix.SYS_READ, unix.SYS_PREAD64, unix.SYS_GETDENTS64, unix.SYS_WRITE, unix.SYS_PWRITE64, unix.SYS_COPY_FILE_RANGE,
		unix.SYS_FALLOCATE, unix.SYS_FTRUNCATE, unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_FCHMOD, unix.SYS_FCHOWN, unix.SYS_UTIMENSAT,
		unix.SYS_CLONE, unix.SYS_INOTIFY_INIT1, unix.SYS_INOTIFY_ADD_WATCH,
	}
}

// becomeFiltered has this process's calls be heard of by whoever has the other
// end of the socket that it was given, and becomes another program. It returns
// only to say why it did not.
func becomeFiltered(argv []string) error {
	runtime.LockOSThread() // the filter is this thread's, which is the one that goes on
	const socket = 3
	unix.CloseOnExec(socket)
	filter := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}} // of struct seccomp_data, whose first member is the number
	numbers := watched()
	for i, n := range numbers {
		filter = append(filter, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: n, Jt: uint8(len(numbers) - i)})
	}
	filter = append(filter, unix.SockFilter{Code: unix.BPF_RET, K: unix.SECCOMP_RET_ALLOW}, unix.SockFilter{Code: unix.BPF_RET, K: unix.SECCOMP_RET_USER_NOTIF})
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	// A call that was heard of is not broken off and made again by a signal.
	listener, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_NEW_LISTENER|unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	if err := unix.Sendmsg(socket, []byte{0}, unix.UnixRights(int(listener)), nil, 0); err != nil {
		return err
	}
	return unix.Exec(argv[0], argv, strings.Split(os.Getenv("LOCALFAULT_ENV"), "\n"))
}

// startFiltered starts a program whose calls the kernel that it returns hears
// of. The caller waits for the command, and then for the kernel.
func startFiltered(t *testing.T, c *exec.Cmd, judge func(call) unix.Errno) *kernel {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "socket")
	defer unix.Close(pair[0])
	c.Args = append([]string{"/proc/self/exe"}, c.Args...)
	c.Path, c.ExtraFiles = "/proc/self/exe", []*os.File{theirs}
	c.Env = []string{inside + "=filter", "LOCALFAULT_ENV=" + strings.Join(c.Env, "\n")}
	if err := errors.Join(c.Start(), theirs.Close()); err != nil {
		t.Fatal(err)
	}
	k := &kernel{t: t, pid: c.Process.Pid, ended: make(chan struct{}), judge: judge}
	rights := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(pair[0], make([]byte, 1), rights, unix.MSG_CMSG_CLOEXEC)
	if err != nil || n == 0 {
		t.Fatalf("no filter: %v, %v", err, c.Wait())
	}
	messages, err := unix.ParseSocketControlMessage(rights[:n])
	if err != nil {
		t.Fatal(err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		t.Fatal(err)
	}
	k.listener = fds[0]
	go k.answer()
	return k
}

// by has another function judge the calls from now on; nil: the kernel answers
// them all. When it returns, no call is in the hands of the one before.
func (k *kernel) by(judge func(call) unix.Errno) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.judge = judge
}

// answer answers calls until the process has ended, with all of its children.
func (k *kernel) answer() {
	defer close(k.ended)
	defer unix.Close(k.listener)
	for {
		poll := []unix.PollFd{{Fd: int32(k.listener), Events: unix.POLLIN}}
		_, err := unix.Poll(poll, -1)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			k.t.Errorf("poll: %v", err)
			return
		case poll[0].Revents&unix.POLLIN == 0:
			return
		}
		var n notification
		if errno := k.ioctl(unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&n)); errno == unix.ENOENT || errno == unix.EINTR {
			continue // killed meanwhile
		} else if errno != 0 {
			k.t.Errorf("receive a call: %v", errno)
			return
		}
		r := response{id: n.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
		if errno := k.rule(n); errno != 0 {
			r.flags, r.error = 0, -int32(errno)
		}
		if errno := k.ioctl(unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&r)); errno != 0 && errno != unix.ENOENT {
			k.t.Errorf("answer a call: %v", errno)
			return
		}
	}
}

func (k *kernel) ioctl(request uintptr, about unsafe.Pointer) unix.Errno {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(k.listener), request, uintptr(about))
	return errno
}

// rule asks the judge about a call of the process, and not of its children.
func (k *kernel) rule(n notification) unix.Errno {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.judge == nil || unix.Access(fmt.Sprintf("/proc/%d/task/%d", k.pid, n.tid), unix.F_OK) != nil {
		return 0
	}
	c, ok := n.call()
	if !ok {
		return 0
	}
	return k.judge(c)
}

// call decodes what was asked for.
func (n notification) call() (call, bool) {
	a := n.a
	switch uint64(n.number) {
	case unix.SYS_OPENAT:
		path := n.at(a[0], a[1])
		switch {
		case a[2]&unix.O_CREAT != 0:
			return call{does: "create", path: path}, true
		case a[2]&(unix.O_WRONLY|unix.O_RDWR) != 0:
			return call{does: "open to write", path: path}, true
		}
		return call{"open", path, true}, a[2]&unix.O_PATH == 0
	case unix.SYS_MKDIRAT:
		return call{does: "mkdir", path: n.at(a[0], a[1])}, true
	case unix.SYS_SYMLINKAT:
		return call{does: "symlink", path: n.at(a[1], a[2])}, true
	case unix.SYS_LINKAT:
		return call{does: "link", path: n.at(a[2], a[3])}, true
	case unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2:
		return call{does: "rename", path: n.at(a[2], a[3])}, true
	case unix.SYS_UNLINKAT:
		return call{does: "remove", path: n.at(a[0], a[1])}, true
	case unix.SYS_UTIMENSAT:
		return call{does: "set times", path: n.at(a[0], a[1])}, true
	case unix.SYS_COPY_FILE_RANGE:
		return n.file("write", a[2], false)
	case unix.SYS_READ, unix.SYS_PREAD64:
		return n.file("read", a[0], true)
	case unix.SYS_GETDENTS64:
		return n.file("list", a[0], true)
	case unix.SYS_WRITE, unix.SYS_PWRITE64:
		return n.file("write", a[0], false)
	case unix.SYS_FALLOCATE:
		return n.file("allocate", a[0], false)
	case unix.SYS_FTRUNCATE:
		return n.file("truncate", a[0], false)
	case unix.SYS_FSYNC, unix.SYS_FDATASYNC:
		return n.file("sync", a[0], false)
	case unix.SYS_FCHMOD:
		return n.file("chmod", a[0], false)
	case unix.SYS_FCHOWN:
		return n.file("chown", a[0], false)
	case unix.SYS_CLONE:
		return call{does: "fork"}, a[0]&unix.CLONE_THREAD == 0
	case unix.SYS_INOTIFY_INIT1:
		return call{does: "inotify"}, true
	case unix.SYS_INOTIFY_ADD_WATCH:
		return call{does: "inotify watch", path: n.text(a[1])}, true
	}
	return call{}, false
}

// file is a call about what is open under a descriptor, if that is a file.
func (n notification) file(does string, fd uint64, reads bool) (call, bool) {
	path, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", n.tid, int32(fd)))
	return call{does, path, reads}, err == nil && filepath.IsAbs(path)
}

// at returns the path of a name in an open folder.
func (n notification) at(fd, name uint64) string {
	path := n.text(name)
	if filepath.IsAbs(path) {
		return path
	}
	dir := fmt.Sprintf("/proc/%d/fd/%d", n.tid, int32(fd))
	if int32(fd) == unix.AT_FDCWD {
		dir = fmt.Sprintf("/proc/%d/cwd", n.tid)
	}
	folder, _ := os.Readlink(dir) // without one the path is nobody's
	return filepath.Join(folder, path)
}

// text reads a string of the process.
func (n notification) text(at uint64) string {
	var text []byte
	for {
		page := make([]byte, 4096-int(at%4096)) // what lies behind may not be there
		_, err := unix.ProcessVMReadv(int(n.tid), []unix.Iovec{{Base: &page[0], Len: uint64(len(page))}}, []unix.RemoteIovec{{Base: uintptr(at), Len: len(page)}}, 0)
		if err != nil {
			return ""
		}
		if before, _, found := bytes.Cut(page, []byte{0}); found {
			return string(append(text, before...))
		}
		text = append(text, page...)
		at += uint64(len(page))
	}
}

// wait waits until all that was watched has ended.
func (k *kernel) wait() {
	select {
	case <-k.ended:
	case <-time.After(patience):
		k.t.Error("children of the sidecar are left")
	}
}

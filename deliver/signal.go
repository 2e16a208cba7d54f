package deliver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Signal is a process that is told by a signal.
type Signal struct {
	Signal  syscall.Signal
	PIDFile string // absolute path; its first line is the process id
}

// String returns the signal and the pid file.
func (s Signal) String() string {
	return "signal " + strings.TrimPrefix(unix.SignalName(s.Signal), "SIG") + " " + s.PIDFile
}

// Notify sends the signal. Without a pid file or without the process the
// target is Absent, and so it is when the process is a later one that got the
// same id. The pid file must belong to root or to the process's own user, and
// be out of others' reach; neither process 1 nor ourselves are ever signalled.
// Nobody can tell when a process has acted on a signal: Delivered is sent.
func (s Signal) Notify(_ context.Context, _ Notification) (Outcome, error) {
	file, err := readPIDFile(s.PIDFile)
	if errors.Is(err, unix.ENOENT) {
		return Absent, nil
	}
	if err != nil {
		return Failed, fmt.Errorf("pid file %s: %w", s.PIDFile, err)
	}
	outcome, err := file.send(s.Signal)
	if err != nil {
		return Failed, fmt.Errorf("process %d: %w", file.pid, err)
	}
	return outcome, nil
}

// pidFile is what a pid file says, and what it can be believed by.
type pidFile struct {
	pid      int
	path     string
	uid      uint32
	written  time.Time
	inMemory bool // it stands on a tmpfs, so it is of this boot
}

// readPIDFile reads a pid file that nobody but its owner and root can have
// written.
func readPIDFile(path string) (pidFile, error) {
	w := newWalker()
	defer w.close()
	folder, name, st, err := w.locate(path, Follow)
	switch {
	case err != nil:
		return pidFile{}, err
	case st == nil:
		return pidFile{}, unix.ENOENT
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return pidFile{}, errors.New("is not a file")
	}
	fd, err := openat(folder.fd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return pidFile{}, inFolder(err, "open", folder.path)
	}
	file := os.NewFile(uintptr(fd), path)
	defer file.Close()
	var now unix.Stat_t
	var system unix.Statfs_t
	if err := errors.Join(unix.Fstat(fd, &now), unix.Fstatfs(fd, &system)); err != nil {
		return pidFile{}, err
	}
	if now.Mode&0o002 != 0 || now.Uid == 0 && now.Gid != 0 && now.Mode&0o020 != 0 {
		return pidFile{}, fmt.Errorf("others than its owner may write it (mode %04o): chmod go-w %s", now.Mode&0o7777, path)
	}
	text, err := io.ReadAll(io.LimitReader(file, 4096)) // far more than a number, in case there are other lines
	if err != nil {
		return pidFile{}, err
	}
	pid, err := parsePID(string(text))
	return pidFile{
		pid:      pid,
		path:     path,
		uid:      now.Uid,
		written:  time.Unix(now.Mtim.Unix()),
		inMemory: system.Type == unix.TMPFS_MAGIC,
	}, err
}

// parsePID returns the process id on the first line. PostgreSQL writes
// further lines.
func parsePID(text string) (int, error) {
	line, _, _ := strings.Cut(text, "\n")
	pid, err := strconv.ParseUint(strings.TrimSpace(line), 10, 31)
	switch {
	case err != nil:
		return 0, errors.New("its first line is not a process id")
	case pid <= 1:
		return 0, fmt.Errorf("process %d is never signalled", pid)
	}
	return int(pid), nil
}

// send signals the process that wrote the file. The descriptor holds the
// process while it is looked at, so that the one looked at is the one that
// gets the signal.
func (f pidFile) send(signal syscall.Signal) (Outcome, error) {
	if f.pid == os.Getpid() {
		return Failed, errors.New("it is outrider itself")
	}
	fd, err := unix.PidfdOpen(f.pid, 0)
	switch {
	case errors.Is(err, unix.ESRCH), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT):
		return Absent, nil // the last two: it is a thread, so the id was reused
	case err != nil:
		return Failed, fmt.Errorf("pidfd_open: %w: use run: instead on a kernel before 5.3", err)
	}
	defer func() { _ = unix.Close(fd) }()
	p, err := readProcess(f.pid)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) {
		if err := unix.PidfdSendSignal(fd, 0, nil, 0); errors.Is(err, unix.ESRCH) {
			return Absent, nil
		}
		return Failed, errors.New("it is hidden from us in /proc: under systemd set ProtectProc=default")
	}
	switch {
	case err != nil:
		return Failed, err
	case p.zombie:
		return Absent, nil
	case f.stale(p.started, p.booted):
		// Nobody can tell which. An error about an application that does not run
		// is better than one that runs and is not told.
		return Failed, errors.New("it is younger than the file: another one has its number now, or the clock was set: remove the file, or restart the application")
	case f.uid != 0 && f.uid != p.real && f.uid != p.effective:
		return Failed, fmt.Errorf("it runs as uid %d, and the pid file belongs to uid %d: chown the file to root or to %d", p.effective, f.uid, p.effective)
	}
	switch err := unix.PidfdSendSignal(fd, signal, nil, 0); {
	case err == nil:
		return Delivered, nil
	case errors.Is(err, unix.ESRCH):
		return Absent, nil
	case errors.Is(err, unix.EPERM):
		return Failed, fmt.Errorf("send signal: %w: give outrider CAP_KILL, or run it as uid %d", err, p.effective)
	default:
		return Failed, fmt.Errorf("send signal: %w", err)
	}
}

// stale reports whether a process that started then seems not to be the one the
// file names, being younger than the file. Two seconds allow for the
// coarseness of both times. A file in memory that seems older than the boot
// was written before the clock was set, and its time says nothing.
func (f pidFile) stale(started, booted time.Time) bool {
	if f.inMemory && f.written.Before(booted) {
		return false
	}
	return started.Sub(f.written) > 2*time.Second
}

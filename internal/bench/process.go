package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long any one thing may take.
const patience = 30 * time.Second

// process is a process that was started here and ends here.
type process struct {
	*exec.Cmd
	cancel context.CancelFunc
	log    bytes.Buffer
}

// command prepares a process, which ends with ctx at the latest.
func command(ctx context.Context, dir string, argv ...string) *process {
	ctx, cancel := context.WithCancel(ctx)
	p := &process{Cmd: exec.CommandContext(ctx, argv[0], argv[1:]...), cancel: cancel}
	p.Dir, p.Stderr = dir, &p.log
	p.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	p.Cancel = func() error { return p.Process.Signal(unix.SIGTERM) }
	p.WaitDelay = 5 * time.Second
	return p
}

// stop ends the process and waits for that.
func (p *process) stop() {
	p.cancel()
	_ = p.Wait() // it was told to end, and how it did says nothing
}

// startReady starts the process and waits until it says that it is ready, as
// to a service manager. It returns how long that took from before the fork.
func (p *process) startReady(ctx context.Context) (took time.Duration, err error) {
	path := filepath.Join(p.Dir, "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, socket.Close(), os.Remove(path)) }()
	if err := socket.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	p.Env = append(os.Environ(), "NOTIFY_SOCKET="+path)
	defer context.AfterFunc(ctx, func() { _ = socket.SetReadDeadline(time.Now()) })()
	began := time.Now()
	if err := p.Start(); err != nil {
		return 0, err
	}
	state := make([]byte, 64<<10)
	for {
		n, err := socket.Read(state)
		took = time.Since(began)
		if err != nil {
			p.stop()
			return 0, fmt.Errorf("%s: not ready: %w: %s", p, err, p.log.String())
		}
		if strings.Contains(string(state[:n]), "READY=1") {
			return took, nil
		}
	}
}

// anonymous returns the process's anonymous memory in bytes.
func (p *process) anonymous() (int64, error) { return p.memory("RssAnon") }

// memory returns a line of proc_pid_status(5) that is in kB, in bytes.
func (p *process) memory(line string) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), line+":")
	value, _, _ := strings.Cut(rest, "kB")
	kilobytes, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
	return kilobytes << 10, err
}

// watchMemory keeps the most anonymous memory that the process is seen to have
// until stop is called.
func (p *process) watchMemory(peak *int64) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	watching.Go(func() {
		for ctx.Err() == nil {
			if now, err := p.anonymous(); err == nil { // else it has ended, which the caller sees
				*peak = max(*peak, now)
			}
			_ = pause(ctx, 50*time.Millisecond)
		}
	})
	return func() {
		cancel()
		watching.Wait()
	}
}

// descriptors returns how many the process has open.
func (p *process) descriptors() (int, error) {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.Process.Pid))
	return len(entries), err
}

// processor returns the processor time that the process has used, utime and
// stime of proc_pid_stat(5), which come in hundredths of a second.
func (p *process) processor() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Process.Pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:])) // from the third on
	user, err := strconv.ParseInt(fields[14-3], 10, 64)
	system, e := strconv.ParseInt(fields[15-3], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond, errors.Join(err, e)
}

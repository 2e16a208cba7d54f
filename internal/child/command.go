// Package child runs programs that inherit nothing from this process but its user.
package child

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// searchPath is the PATH of commands. Ours may have been set by anybody.
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Command is a program and what it is given.
//
// It runs without a shell, in "/", in a process group of its own, with PATH
// (the usual system folders), LANG and Env as its whole environment. What it
// prints is thrown away, since it may have read the secrets: a program that
// has something to say logs it itself. None of our capabilities reach it, but
// run as root it is root.
type Command struct {
	Argv    []string      // program, by its absolute path or its name in PATH, and arguments
	User    string        // name or number, with all of its groups; empty: our own
	Env     []string      // NAME=value; no values of secrets
	Input   []byte        // its standard input; nil: none
	Timeout time.Duration // then the whole group is killed; 0: 30s
}

// String returns "run" and the program.
func (c Command) String() string {
	if len(c.Argv) == 0 {
		return "run"
	}
	return "run " + c.Argv[0]
}

// Run runs the command and waits for its end. It returns nil for exit status
// 0, an *exec.ExitError for every other and for a signal that is not ours,
// and else the reason why the command did not start or was killed.
func (c Command) Run(ctx context.Context) error {
	limit := c.Timeout
	if limit == 0 {
		limit = 30 * time.Second
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd, err := c.prepare(limited)
	if err != nil {
		return err
	}
	if err := startBare(cmd); err != nil {
		if cmd.SysProcAttr.Credential != nil && errors.Is(err, unix.EPERM) {
			return fmt.Errorf("run as %s: %w: give outrider CAP_SETUID and CAP_SETGID", c.User, err)
		}
		return remedied(err)
	}
	err = cmd.Wait()
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay): // it did not read all of its input
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("killed: %w", context.Cause(ctx))
	case limited.Err() != nil:
		return fmt.Errorf("killed after %s: raise timeout, or let it end sooner", limit)
	}
	return err
}

// remedied says which limit keeps a command from being started, where the cause
// tells (fork(2)).
func remedied(err error) error {
	switch {
	case errors.Is(err, unix.EAGAIN):
		return fmt.Errorf("%w: raise TasksMax= of outrider's unit, or its user's limit of processes", err)
	case errors.Is(err, unix.ENOMEM):
		return fmt.Errorf("%w: give the host, or outrider's unit, more memory", err)
	case errors.Is(err, unix.EMFILE):
		return fmt.Errorf("%w: raise LimitNOFILE= of outrider's unit", err)
	}
	return err
}

// prepare returns the command, whose process group is killed when ctx ends.
func (c Command) prepare(ctx context.Context) (*exec.Cmd, error) {
	program, err := c.program()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program, c.Argv[1:]...)
	cmd.Dir = "/"
	cmd.Env = append([]string{"PATH=" + searchPath, "LANG=C.UTF-8"}, c.Env...)
	if c.Input != nil {
		cmd.Stdin = bytes.NewReader(c.Input)
	}
	// A child that it leaves behind may hold the input open and not read it.
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error {
		err := unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
		if errors.Is(err, unix.ESRCH) {
			return os.ErrProcessDone
		}
		return err
	}
	if c.User == "" {
		return cmd, nil
	}
	credential, err := credentialOf(c.User)
	if err == nil && int(credential.Uid) != os.Geteuid() { // ours are what we run with anyway
		cmd.SysProcAttr.Credential = credential
	}
	return cmd, err
}

// program returns the path of the program to run.
func (c Command) program() (string, error) {
	switch {
	case len(c.Argv) == 0:
		return "", errors.New("no program is named")
	case filepath.IsAbs(c.Argv[0]):
		return c.Argv[0], nil
	case !strings.Contains(c.Argv[0], "/"):
		for dir := range strings.SplitSeq(searchPath, ":") {
			if path, err := exec.LookPath(filepath.Join(dir, c.Argv[0])); err == nil {
				return path, nil
			}
		}
	}
	return "", fmt.Errorf("%s is in none of %s: name it by its absolute path", c.Argv[0], searchPath)
}

// credentialOf looks up a user, by name or number, and all of its groups.
func credentialOf(name string) (*syscall.Credential, error) {
	u, err := user.Lookup(name)
	if err != nil && strings.Trim(name, "0123456789") == "" {
		u, err = user.LookupId(name)
	}
	if err != nil {
		return nil, fmt.Errorf("user %s: %w: create it, or name another", name, err)
	}
	groups, err := u.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("groups of user %s: %w", name, err)
	}
	ids := make([]uint32, 0, len(groups)+2)
	for _, text := range append([]string{u.Uid, u.Gid}, groups...) {
		id, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("user %s: %w", name, err)
		}
		ids = append(ids, uint32(id))
	}
	return &syscall.Credential{Uid: ids[0], Gid: ids[1], Groups: ids[2:]}, nil
}

// startBare starts a command that inherits no capability. A process that is
// not root hands its ambient capabilities on through execve, and they go when
// the inheritable ones do. Both belong to the thread, so they are given up on
// one that then ends with its goroutine, being locked to it, and that all of
// our other threads do not notice.
func startBare(cmd *exec.Cmd) error {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	if err := unix.Capget(&hdr, &caps[0]); err != nil {
		return fmt.Errorf("read our capabilities: %w", err)
	}
	if caps[0].Inheritable|caps[1].Inheritable == 0 {
		return cmd.Start()
	}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		caps[0].Inheritable, caps[1].Inheritable = 0, 0
		err := unix.Capset(&hdr, &caps[0])
		if err != nil {
			started <- fmt.Errorf("give up inheritable capabilities: %w", err)
			return
		}
		started <- cmd.Start()
	}()
	return <-started
}

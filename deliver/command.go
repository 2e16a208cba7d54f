package deliver

import (
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

// Command is a program that is run to tell an application.
//
// It runs without a shell, in "/", in a process group of its own, with
// nothing on its standard input and an environment of PATH, LANG,
// OUTRIDER_APP and OUTRIDER_GENERATION alone. What it prints is thrown away,
// since it may have read the secrets: a hook that has something to say logs
// it itself. None of our capabilities reach it, but run as root it is root.
type Command struct {
	Argv    []string      // program, by its absolute path, and arguments
	User    string        // name or number, with all of its groups; empty: our own
	Timeout time.Duration // then the whole group is killed; 0: 30s
}

// String returns the program.
func (c Command) String() string {
	if len(c.Argv) == 0 {
		return "run"
	}
	return "run " + c.Argv[0]
}

// Notify runs the command and waits for its end. Exit status 0 is Delivered,
// everything else an error.
func (c Command) Notify(ctx context.Context, n Notification) (Outcome, error) {
	if len(c.Argv) == 0 || !filepath.IsAbs(c.Argv[0]) {
		return Failed, errors.New("the program is not named by its absolute path")
	}
	limit := c.Timeout
	if limit == 0 {
		limit = 30 * time.Second
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd, err := c.command(limited, n)
	if err != nil {
		return Failed, err
	}
	if err := startBare(cmd); err != nil {
		if cmd.SysProcAttr.Credential != nil && errors.Is(err, unix.EPERM) {
			return Failed, fmt.Errorf("run as %s: %w: give outrider CAP_SETUID and CAP_SETGID", c.User, err)
		}
		return Failed, err
	}
	err = cmd.Wait()
	switch {
	case err == nil:
		return Delivered, nil
	case ctx.Err() != nil:
		return Failed, fmt.Errorf("killed: %w", context.Cause(ctx))
	case limited.Err() != nil:
		return Failed, fmt.Errorf("killed after %s: raise timeout, or let it end sooner", limit)
	}
	return Failed, err
}

// command returns the prepared command, whose process group is killed when
// ctx ends.
func (c Command) command(ctx context.Context, n Notification) (*exec.Cmd, error) {
	cmd := exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...)
	cmd.Dir = "/"
	cmd.Env = []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"LANG=C.UTF-8",
		"OUTRIDER_APP=" + n.App,
		"OUTRIDER_GENERATION=" + strconv.FormatUint(n.Generation, 10),
	}
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

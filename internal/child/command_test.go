package child

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// report is a shell script that writes down how it was started.
const report = `echo "cwd $PWD"; echo "input $(cat)"; echo "group $(cut -d' ' -f5 /proc/$$/stat)"; echo "pid $$"; tr '\0' '\n' </proc/$$/environ
grep -E '^(Uid|Gid|Groups|Cap)' /proc/$$/status`

// TestMain runs the tests, or, as one of them starts it, a command that
// reports itself into a file.
func TestMain(m *testing.M) {
	if path, ok := os.LookupEnv("CHILD_TEST_REPORT"); ok {
		err := Command{Argv: []string{"sh", "-c", "exec >" + path + "; " + report}}.Run(context.Background())
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(3)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// public returns a new file that every user may write and find.
func public(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "child-") //nolint:usetesting // the test's own folder is closed to other users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "report")
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(path, nil, 0o600), os.Chmod(path, 0o666)); err != nil {
		t.Fatal(err)
	}
	return path
}

// reported runs the reporting script and returns its lines.
func reported(t *testing.T, c Command) string {
	t.Helper()
	path := public(t)
	c.Argv = []string{"sh", "-c", "exec >" + path + "; " + report}
	if err := c.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestCommandHasACleanStart(t *testing.T) {
	t.Setenv("CANARY", "must-not-pass")
	t.Setenv("PATH", t.TempDir()) // ours does not count
	got := reported(t, Command{Env: []string{"OUTRIDER_APP=billing"}, Input: []byte("values")})
	pid := regexp.MustCompile(`(?m)^pid (\d+)$`).FindStringSubmatch(got)
	if pid == nil {
		t.Fatalf("no pid in:\n%s", got)
	}
	want := "cwd /\ninput values\ngroup " + pid[1] + "\npid " + pid[1] +
		"\nPATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nLANG=C.UTF-8\nOUTRIDER_APP=billing\nUid:"
	if !strings.HasPrefix(got, want) {
		t.Errorf("got:\n%s\nwant it to begin:\n%s", got, want)
	}
}

func TestCommandWithoutInputReadsNone(t *testing.T) {
	if got := reported(t, Command{}); !strings.Contains(got, "input \n") {
		t.Errorf("got:\n%s", got)
	}
}

func TestCommandNeedNotReadItsInput(t *testing.T) {
	input := make([]byte, 1<<20) // more than a pipe holds
	if err := (Command{Argv: []string{"true"}, Input: input}).Run(t.Context()); err != nil {
		t.Error(err)
	}
	// The child that stays behind holds the reading end open.
	script := "exec 3<&0; sleep 5 & exit 0"
	if err := (Command{Argv: []string{"sh", "-c", script}, Input: input}).Run(t.Context()); err != nil {
		t.Errorf("with a child left behind: %v", err)
	}
}

func TestCommandAsAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	for _, name := range []string{"nobody", "65534"} {
		got := reported(t, Command{User: name})
		for _, want := range []string{"Uid:\t65534\t65534\t65534\t65534\n", "Gid:\t65534\t65534\t65534\t65534\n", "CapEff:\t0000000000000000\n"} {
			if !strings.Contains(got, want) {
				t.Errorf("user %s: got no %q in:\n%s", name, want, got)
			}
		}
	}
}

// A sidecar that is not root has its capabilities as ambient ones, which
// every program it starts would have too.
func TestCommandGetsNoCapability(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	path := public(t)
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(filepath.Dir(path), "program")
	if err := errors.Join(os.WriteFile(program, self, 0o600), os.Chmod(program, 0o755)); err != nil {
		t.Fatal(err)
	}
	sidecar := exec.CommandContext(t.Context(), program)
	sidecar.Env = []string{"CHILD_TEST_REPORT=" + path}
	sidecar.SysProcAttr = &syscall.SysProcAttr{
		Credential:  &syscall.Credential{Uid: 65534, Gid: 65534},
		AmbientCaps: []uintptr{unix.CAP_KILL, unix.CAP_CHOWN},
	}
	if out, err := sidecar.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got := regexp.MustCompile(`(?m)^Cap(Inh|Prm|Eff|Amb):\t0{16}$`).FindAllString(string(text), -1)
	if len(got) != 4 {
		t.Errorf("got %q all zero, want four sets, in:\n%s", got, text)
	}
}

func TestCommandFails(t *testing.T) {
	tests := []struct {
		name    string
		command Command
		want    string
	}{
		{"an exit status other than 0", Command{Argv: []string{"sh", "-c", "echo canary >&2; exit 3"}}, "exit status 3"},
		{"a signal", Command{Argv: []string{"sh", "-c", "kill -TERM $$"}}, "signal: terminated"},
		{"a program that is not there", Command{Argv: []string{"/no/such/program"}}, "no such file or directory"},
		{"a name that is not in PATH", Command{Argv: []string{"no-such-program"}}, "no-such-program is in none of /usr/local/sbin:"},
		{"a relative path", Command{Argv: []string{"bin/true"}}, "name it by its absolute path"},
		{"no program", Command{}, "no program is named"},
		{"a user that does not exist", Command{Argv: []string{"true"}, User: "no-such-user"}, "create it, or name another"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.command.Run(t.Context())
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got error %v, want %q", err, tt.want)
			}
			if strings.Contains(err.Error(), "canary") {
				t.Errorf("the error shows what the command printed: %v", err)
			}
		})
	}
}

// family runs a command that, with its child, never ends, and returns the
// error it ended with after end was called.
func family(ctx context.Context, t *testing.T, timeout time.Duration, end func()) error {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pids")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		script := "sleep 1000 & echo $! >" + path + "; wait"
		done <- Command{Argv: []string{"sh", "-c", script}, Timeout: timeout}.Run(ctx)
	}()
	pid, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var child int
	if _, err := fmt.Sscan(string(pid), &child); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.PidfdOpen(child, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	end()
	err = <-done
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, pollErr := unix.Poll(poll, 60_000)
	for errors.Is(pollErr, unix.EINTR) { // the runtime's own signals
		n, pollErr = unix.Poll(poll, 60_000)
	}
	if n != 1 || pollErr != nil {
		t.Errorf("the command's child lives on: %v", pollErr)
		_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	}
	return err
}

func TestCommandIsKilledWithItsChildren(t *testing.T) {
	err := family(t.Context(), t, 10*time.Second, func() {}) // on a busy machine, a shell needs some to start
	if err == nil || err.Error() != "killed after 10s: raise timeout, or let it end sooner" {
		t.Errorf("at its timeout: got error %v", err)
	}
	stopping := errors.New("stopping")
	ctx, cancel := context.WithCancelCause(t.Context())
	if err := family(ctx, t, 0, func() { cancel(stopping) }); !errors.Is(err, stopping) {
		t.Errorf("at the end of its context: got error %v, want %v", err, stopping)
	}
}

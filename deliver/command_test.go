package deliver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// hook runs the test binary as a command and returns what it wrote down.
func hook(t *testing.T, c Command) string {
	t.Helper()
	path := filepath.Join(publicDir(t), "out")
	c.Argv = append(c.Argv, "as", "hook", path)
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chmod(path, 0o666)); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Notify(t.Context(), Notification{App: "billing", Generation: 42}); got != Delivered || err != nil {
		t.Fatalf("got %q, error %v, want %q", got, err, Delivered)
	}
	report, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(report)
}

func TestCommandHasACleanStart(t *testing.T) {
	t.Setenv("CANARY", "must-not-pass")
	t.Setenv("HOME", "/must/not/pass")
	report := hook(t, Command{Argv: []string{self(t)}})
	for _, want := range []string{
		`env ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" "LANG=C.UTF-8" "OUTRIDER_APP=billing" "OUTRIDER_GENERATION=42"]` + "\n",
		"stdin 0\n",
		"cwd /\n",
		"leader true\n",
	} {
		if !strings.Contains(report, want) {
			t.Errorf("got no %q in:\n%s", want, report)
		}
	}
}

func TestCommandByName(t *testing.T) {
	t.Setenv("PATH", t.TempDir()) // ours does not count
	if got, err := (Command{Argv: []string{"true"}}).Notify(t.Context(), Notification{}); got != Delivered || err != nil {
		t.Errorf("got %q, error %v, want %q", got, err, Delivered)
	}
}

func TestCommandAsAnotherUser(t *testing.T) {
	needRoot(t)
	program := publicProgram(t)
	for _, name := range []string{"nobody", "65534"} {
		report := hook(t, Command{Argv: []string{program}, User: name})
		if !strings.Contains(report, "uid 65534 gid 65534 groups [65534]\n") || !strings.Contains(report, "CapPrm:\t0000000000000000") {
			t.Errorf("user %s: got\n%s", name, report)
		}
	}
	_, err := Command{Argv: []string{program}, User: "no-such-user"}.Notify(t.Context(), Notification{})
	if err == nil || !strings.Contains(err.Error(), "user no-such-user: ") || !strings.Contains(err.Error(), "create it, or name another") {
		t.Errorf("got error %v", err)
	}
}

// A sidecar that is not root has its capabilities as ambient ones, which
// every program it starts would have too.
func TestCommandGetsNoCapability(t *testing.T) {
	needRoot(t)
	program := publicProgram(t)
	path := filepath.Join(publicDir(t), "out")
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chmod(path, 0o666)); err != nil {
		t.Fatal(err)
	}
	notifier, _ := start(t, &syscall.SysProcAttr{
		Credential:  &syscall.Credential{Uid: nobody, Gid: nobody},
		AmbientCaps: []uintptr{unix.CAP_KILL, unix.CAP_CHOWN},
	}, program, "notifier", program, path)
	if err := notifier.Wait(); err != nil {
		t.Fatal(err)
	}
	report, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got := regexp.MustCompile(`(?m)^Cap(Inh|Prm|Eff|Amb):\t0{16}$`).FindAllString(string(report), -1)
	if len(got) != 4 {
		t.Errorf("got %q all zero, want four sets, in:\n%s", got, report)
	}
}

func TestCommandFails(t *testing.T) {
	tests := []struct {
		name    string
		command Command
		want    string
	}{
		{"an exit status other than 0", Command{Argv: []string{self(t), "as", "hook", "", "fail"}}, "exit status 3"},
		{"a program that is not there", Command{Argv: []string{"/no/such/program"}}, "no such file or directory"},
		{"a name that is not in PATH", Command{Argv: []string{"no-such-program"}}, "no-such-program is in none of /usr/local/sbin:"},
		{"a relative path", Command{Argv: []string{"bin/true"}}, "name it by its absolute path"},
		{"no program", Command{}, "no program is named"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.command.Notify(t.Context(), Notification{})
			if got != Failed || err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %q, error %v, want %q", got, err, tt.want)
			}
			if strings.Contains(err.Error(), "canary") {
				t.Errorf("the error shows what the command printed: %v", err)
			}
		})
	}
}

// family runs a command that, with its child, never ends, and returns the
// error it ended with after end was called.
func family(t *testing.T, ctx context.Context, timeout time.Duration, end func()) error {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pids")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		_, err := Command{Argv: []string{self(t), "as", "family", path}, Timeout: timeout}.Notify(ctx, Notification{})
		done <- err
	}()
	pids, err := os.ReadFile(path) // once both are there
	if err != nil {
		t.Fatal(err)
	}
	var parent, child int
	if _, err := fmt.Sscan(string(pids), &parent, &child); err != nil {
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
	if n, pollErr := unix.Poll(poll, 10_000); n != 1 || pollErr != nil {
		t.Errorf("the command's child lives on: %v", pollErr)
		_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	}
	return err
}

func TestCommandIsKilledWithItsChildren(t *testing.T) {
	err := family(t, t.Context(), time.Second, func() {})
	if err == nil || err.Error() != "killed after 1s: raise timeout, or let it end sooner" {
		t.Errorf("at its timeout: got error %v", err)
	}
	stopping := errors.New("stopping")
	ctx, cancel := context.WithCancelCause(t.Context())
	if err := family(t, ctx, 0, func() { cancel(stopping) }); !errors.Is(err, stopping) {
		t.Errorf("at the end of its context: got error %v, want %v", err, stopping)
	}
}

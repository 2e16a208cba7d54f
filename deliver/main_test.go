package deliver

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"outrider/secret"
)

// nobody is a uid and gid that is neither root's nor, in tests, ours.
const nobody = 65534

// TestMain runs the tests, or what the test binary is to be when it is
// started by one of them.
func TestMain(m *testing.M) {
	syscall.Umask(0o022)
	if len(os.Args) > 2 && os.Args[1] == "as" {
		if err := play(os.Args[2], os.Args[3:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(3)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// play is the part of another process.
func play(part string, args []string) error {
	switch part {
	case "application": // says what it is told, until its standard input ends
		signals := make(chan os.Signal, 8)
		signal.Notify(signals, syscall.SIGHUP, syscall.SIGUSR1)
		fmt.Println("ready")
		go func() {
			for s := range signals {
				fmt.Println(s)
			}
		}()
		_, err := io.Copy(io.Discard, os.Stdin)
		return err
	case "stager": // says what keeps a file from being staged
		l, err := openLedger(args[1])
		if err != nil {
			return err
		}
		_, err = l.Stage([]File{{Destination: args[0], Content: secret.Text("new")}})
		fmt.Println(err)
		return nil
	case "inspector": // says what would keep a file from being delivered
		fmt.Println(Inspect([]File{{Destination: args[0]}}))
		return nil
	case "sidecar": // commits one generation after the other
		l, err := openLedger(args[1])
		if err != nil {
			return err
		}
		for n := uint64(1); ; n++ {
			if err := deliverAll(l, args[0], n); err != nil {
				return err
			}
			fmt.Println(n)
		}
	case "once", "twice": // delivers one file, or two and one that has drifted, for the second time
		return again(args[0], args[1], part == "twice")
	case "lazy": // delivers without syncing what is in memory
		l, err := openLedger(args[1])
		if err != nil {
			return err
		}
		l.state.disk = false
		fmt.Println("begin")
		return deliver(l, Plan{}, File{Destination: args[0] + "/a", Content: secret.Text("a")})
	case "story": // lives through one
		s, err := find(args[0])
		if err != nil {
			return err
		}
		fmt.Println("begin")
		return s.tell(args[1], os.Stdout)
	case "mortal": // goes on with a story until it is killed by its own hand
		return mortal(args[0], args[1], args[2])
	case "attacker": // exchanges a folder for a link and back
		return attack(args[0], args[1])
	case "inhabitant": // exchanges what stands in a folder for links
		return inhabit(args[0], args[1])
	}
	return fmt.Errorf("no part %s", part)
}

// again delivers to an app that was delivered to before, and says when the
// second time begins.
func again(dir, state string, more bool) error {
	l, err := openLedger(state, printer{os.Stdout})
	if err != nil {
		return err
	}
	for n := range uint64(2) {
		files := []File{{Destination: dir + "/a", Content: secret.Text(fmt.Sprint("traced ", n)), UID: new(nobody), GID: new(nobody), Mode: new(fs.FileMode(0o640))}}
		if more {
			files = append(files, File{Destination: dir + "/b", Content: secret.Text(fmt.Sprint("traced ", n))},
				File{Destination: dir + "/c", Content: secret.Text("same"), GID: new(nobody), Mode: new(fs.FileMode(0o660))})
		}
		if n == 1 {
			if err := errors.Join(os.Chmod(dir+"/c", 0o604), os.Chown(dir+"/c", 0, 0)); err != nil {
				return err
			}
			fmt.Println("begin")
		}
		if err := deliver(l, Plan{Confirm: more}, files...); err != nil {
			return err
		}
		fmt.Println("committed", n+1)
		if _, err := l.Deliver(context.Background()); err != nil {
			return err
		}
		if n == 0 {
			l.Confirmed(1)
		}
	}
	return nil
}

// printer is a target that says what it is told.
type printer struct{ out io.Writer }

func (printer) String() string { return "printer" }

func (p printer) Notify(_ context.Context, n Notification) (Outcome, error) {
	_, err := fmt.Fprintln(p.out, "told", n.Generation)
	return Delivered, err
}

// asNobody makes a process another user's.
func asNobody() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
}

// stay never returns. The runtime would take select{} for a deadlock.
func stay() error {
	for {
		_, _ = unix.Poll(nil, -1)
	}
}

// start starts the test binary in another part, ended with the test, and
// returns it with a scanner of what it says.
func start(t testing.TB, attr *syscall.SysProcAttr, program string, part ...string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command(program, append([]string{"as"}, part...)...)
	cmd.SysProcAttr = attr
	cmd.Stderr = os.Stderr
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = input.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd, bufio.NewScanner(output)
}

// self returns the test binary's path.
func self(t testing.TB) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// needRoot skips a test that needs other users.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("left out: it needs root, to act as other users")
	}
}

// publicProgram returns a copy of the test binary that every user may run.
func publicProgram(t *testing.T) string {
	t.Helper()
	dir := publicDir(t)
	binary, err := os.ReadFile(self(t))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "program")
	if err := os.WriteFile(path, binary, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// publicDir returns a folder of ours that every user may enter.
func publicDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// content is what a sidecar delivers as generation n: long, and of one piece
// only if all of it is of that generation.
func content(n uint64) secret.Value {
	return secret.NewValue(bytes.Repeat(fmt.Appendf(nil, "%020d\n", n), 3000))
}

// whole returns the generation that a content is, and whether it is one.
func whole(b []byte) (uint64, bool) {
	line, _, _ := bytes.Cut(b, []byte("\n"))
	n, err := strconv.ParseUint(string(line), 10, 64)
	return n, err == nil && content(n).Equal(secret.NewValue(b))
}

// openLedger opens the ledger of an app in a state folder of its own.
func openLedger(state string, targets ...Target) (*Ledger, error) {
	if err := os.MkdirAll(state, 0o700); err != nil {
		return nil, err
	}
	s, err := OpenState(state)
	if err != nil {
		return nil, err
	}
	s.disk = true
	return s.Open("app", targets)
}

// deliver takes files all the way to their places.
func deliver(l *Ledger, p Plan, files ...File) error {
	staged, err := l.Stage(files)
	if err != nil {
		return err
	}
	_, err = l.Commit(staged, p)
	return err
}

// deliverAll commits generation n to three files in dir.
func deliverAll(l *Ledger, dir string, n uint64) error {
	var files []File
	for name := range strings.FieldsSeq("a b c") {
		files = append(files, File{Destination: filepath.Join(dir, name), Content: content(n)})
	}
	return deliver(l, Plan{}, files...)
}

package deliver

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// hup signals the process that a pid file with that text names.
func hup(t *testing.T, path string) (Outcome, error) {
	t.Helper()
	return Signal{Signal: syscall.SIGHUP, PIDFile: path}.Notify(t.Context(), Notification{})
}

func TestSignalReachesTheApplication(t *testing.T) {
	app, says := start(t, nil, self(t), "application")
	says.Scan()
	path := filepath.Join(t.TempDir(), "pid")
	write(t, path, fmt.Sprintf("%d\n/var/lib/postgresql\n", app.Process.Pid), 0o644)
	for range 3 {
		if got, err := hup(t, path); got != Delivered || err != nil {
			t.Fatalf("got %q, error %v, want %q", got, err, Delivered)
		}
		if says.Scan(); says.Text() != "hangup" {
			t.Fatalf("the application got %q, want hangup", says.Text())
		}
	}
	got, err := Signal{Signal: syscall.SIGUSR1, PIDFile: path}.Notify(t.Context(), Notification{})
	if says.Scan(); got != Delivered || err != nil || says.Text() != "user defined signal 1" {
		t.Errorf("got %q, error %v; the application got %q", got, err, says.Text())
	}
}

func TestSignalToTheAbsent(t *testing.T) {
	app, says := start(t, nil, self(t), "application")
	says.Scan()
	dir := t.TempDir()
	path := filepath.Join(dir, "pid")
	expect := func(step, path string) {
		t.Helper()
		if got, err := hup(t, path); got != Absent || err != nil {
			t.Errorf("%s: got %q, error %v, want %q", step, got, err, Absent)
		}
	}
	expect("no pid file", path)
	expect("no folder", filepath.Join(dir, "no", "pid"))
	write(t, path, fmt.Sprint(app.Process.Pid), 0o644)
	past := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, past, past); err != nil {
		t.Fatal(err)
	}
	if got, err := hup(t, path); got != Failed || err == nil || !strings.Contains(err.Error(), "younger than the file") {
		t.Errorf("a process that is younger than the pid file: got %q, error %v", got, err)
	}
	if err := os.Chtimes(path, time.Now(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if got, err := hup(t, path); got != Delivered || err != nil {
		t.Fatalf("got %q, error %v, want %q", got, err, Delivered)
	}
	if err := app.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	var info unix.Siginfo // waits for its end, and leaves the zombie
	if err := unix.Waitid(unix.P_PID, app.Process.Pid, &info, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	expect("a zombie", path)
	_ = app.Wait()
	expect("a process that has gone", path)
}

// A process of this boot cannot have been named before it, so the clock was
// wrong then; on a disk the file may well be an old one.
func TestPIDFileFromBeforeTheBoot(t *testing.T) {
	booted := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		name             string
		written, started time.Duration // after the boot
		inMemory, want   bool
	}{
		{"the process has written it", 20 * time.Second, 10 * time.Second, true, false},
		{"the process is younger", 20 * time.Second, 30 * time.Second, true, true},
		{"the process is younger by no more than the clocks' grain", 20 * time.Second, 21 * time.Second, true, false},
		{"it is from before the boot, in memory", -time.Hour, 10 * time.Second, true, false},
		{"it is from before the boot, on a disk", -time.Hour, 10 * time.Second, false, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := pidFile{written: booted.Add(tt.written), inMemory: tt.inMemory}
			if got := f.stale(booted.Add(tt.started), booted); got != tt.want {
				t.Errorf("got stale %t, want %t", got, tt.want)
			}
		})
	}
}

func TestPIDFileRefused(t *testing.T) {
	app, says := start(t, nil, self(t), "application")
	says.Scan()
	pid := fmt.Sprint(app.Process.Pid)
	tests := []struct {
		name, text string
		mode       fs.FileMode
		want       string
	}{
		{"process 1", "1", 0o644, "process 1 is never signalled"},
		{"process 0, which is our group", "0", 0o644, "process 0 is never signalled"},
		{"minus one, which is everybody", "-1", 0o644, "its first line is not a process id"},
		{"outrider itself", fmt.Sprint(os.Getpid()), 0o644, "it is outrider itself"},
		{"nothing", "", 0o644, "its first line is not a process id"},
		{"a number and more", pid + " x", 0o644, "its first line is not a process id"},
		{"a number that is too large", "99999999999999999999", 0o644, "its first line is not a process id"},
		{"a file that everybody may write", pid, 0o666, "others than its owner may write it (mode 0666): chmod go-w"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "pid")
			write(t, path, tt.text, tt.mode)
			got, err := hup(t, path)
			if got != Failed || err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %q, error %v, want %q", got, err, tt.want)
			}
		})
	}
	folder := t.TempDir()
	if got, err := hup(t, folder); got != Failed || err == nil {
		t.Errorf("a folder: got %q, error %v", got, err)
	}
}

func TestPIDFileOfOthers(t *testing.T) {
	needRoot(t)
	const mallory = 12345
	program := publicProgram(t)
	ownProcess, says := start(t, nil, self(t), "application")
	says.Scan()
	appProcess, says := start(t, asNobody(), program, "application")
	says.Scan()
	tests := []struct {
		name        string
		pid, owner  int
		group       int
		mode        fs.FileMode
		folderOwner int
		want        string // empty: delivered
	}{
		{"root's file of another's process", appProcess.Process.Pid, 0, 0, 0o644, 0, ""},
		{"the process's own user's file", appProcess.Process.Pid, nobody, nobody, 0o664, nobody, ""},
		{"somebody's file of root's process", ownProcess.Process.Pid, mallory, mallory, 0o644, mallory,
			"it runs as uid 0, and the pid file belongs to uid 12345"},
		{"somebody's file of another's process", appProcess.Process.Pid, mallory, mallory, 0o644, mallory,
			"it runs as uid 65534, and the pid file belongs to uid 12345"},
		{"root's file that another group may write", appProcess.Process.Pid, 0, mallory, 0o664, 0, "others than its owner may write it"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "pid")
			write(t, path, fmt.Sprint(tt.pid), tt.mode)
			if err := errors.Join(os.Chown(path, tt.owner, tt.group), os.Chown(dir, tt.folderOwner, tt.folderOwner)); err != nil {
				t.Fatal(err)
			}
			got, err := hup(t, path)
			if tt.want == "" && (got != Delivered || err != nil) || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %q, error %v, want %q", got, err, tt.want)
			}
		})
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "real"), fmt.Sprint(ownProcess.Process.Pid), 0o644)
	link := filepath.Join(dir, "pid")
	if err := errors.Join(os.Symlink("real", link), os.Lchown(link, mallory, mallory)); err != nil {
		t.Fatal(err)
	}
	if got, err := hup(t, link); err == nil || !strings.Contains(err.Error(), "not followed because uid 12345 owns it") {
		t.Errorf("somebody's link: got %q, error %v", got, err)
	}
}

// A process that may signal nobody else's says what it lacks.
func TestSignalNotPermitted(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("left out: it needs another user than root")
	}
	app := pidFile{pid: 2, uid: 0, written: time.Now()} // a thread of the kernel, root's
	if _, err := readProcess(2); err != nil {
		t.Skipf("left out: process 2 is not to be seen: %v", err)
	}
	if _, err := app.send(0); err == nil || !strings.Contains(err.Error(), "give outrider CAP_KILL") {
		t.Errorf("got error %v", err)
	}
}

func FuzzPIDFile(f *testing.F) {
	for _, text := range []string{"1234\n", "1", "", "+5", " 77 ", "4194304\nmore", "-1", "0x10", "1_000"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		pid, err := parsePID(text)
		if err != nil {
			return
		}
		line, _, _ := strings.Cut(text, "\n")
		if digits := strings.TrimLeft(strings.TrimSpace(line), "0"); pid <= 1 || fmt.Sprint(pid) != digits {
			t.Errorf("%q: got %d", text, pid)
		}
	})
}

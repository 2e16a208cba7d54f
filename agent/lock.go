package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"outrider/deliver"
	"outrider/refresher"
)

// lock is the state folder, held for this process alone, and what it
// remembers.
type lock struct {
	file  *os.File
	state *deliver.State
}

// BusyError says that another process works on the same state.
type BusyError struct {
	State string
	PID   int // 0 when it cannot be read
}

// Error names the other process.
func (e *BusyError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("state %s is in use by another process; find it (fuser %s) and stop it", e.State, filepath.Join(e.State, lockName))
	}
	return fmt.Sprintf("state %s is in use by process %d; ask that one (outrider status, outrider refresh) or stop it", e.State, e.PID)
}

// lockName is the file that is locked. It names the process that has it.
const lockName = "lock"

// holdState takes the lock on the state folder. While the folder cannot be
// made or written it tries on, since that may be mended from outside; that
// another process holds it is an error at once.
func (a *Agent) holdState(ctx context.Context, state string) (*lock, error) {
	var was error
	for failures := 1; ; failures++ {
		held, err := a.open(state)
		var busy *BusyError
		if err == nil || errors.As(err, &busy) {
			return held, err
		}
		if changedError(was, err) {
			a.o.Log.Error("state not usable", "error", err)
			a.o.Notify("STATUS=" + err.Error())
		}
		was = err
		a.o.Notify(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", (3 * extension).Microseconds()))
		select {
		case <-time.After(refresher.Backoff{}.Delay(failures, a.o.Roll())):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// open locks the state folder and opens what it remembers.
func (a *Agent) open(dir string) (*lock, error) {
	held, err := takeLock(dir)
	if err != nil {
		return nil, err
	}
	if held.state, err = deliver.OpenState(dir); err != nil {
		held.release()
		return nil, err
	}
	a.host.gate.restore(dir)
	return held, nil
}

// takeLock makes the folder if its parent is there, and locks it.
func takeLock(state string) (*lock, error) {
	if err := os.Mkdir(state, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("state folder: %w; create it for outrider's user or change state", err)
	}
	path := filepath.Join(state, lockName)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("state folder: %w; it must belong to outrider's user", err)
	}
	if err := flock(file, state); err != nil {
		_ = file.Close()
		return nil, err
	}
	pid := []byte(strconv.Itoa(os.Getpid()) + "\n")
	if err = file.Truncate(0); err == nil {
		_, err = file.WriteAt(pid, 0)
	}
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return &lock{file: file}, nil
}

// flock locks the file. A process that was killed in the middle of starting a
// hook leaves the lock for a moment with what was to become the hook: while
// the one that the file names is dead, it is waited for, and while it names
// none: who has the lock is about to write it down.
func flock(file *os.File, state string) error {
	const pause = 20 * time.Millisecond
	for waited := time.Duration(0); ; waited += pause {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return fmt.Errorf("lock %s: %w; put state on a file system that has locks", file.Name(), err)
		}
		held, _ := os.ReadFile(file.Name())
		pid, _ := strconv.Atoi(strings.TrimSpace(string(held)))
		pid = max(pid, 0) // what else it may say
		if waited > 2*time.Second || pid > 0 && !errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
			return &BusyError{State: state, PID: pid}
		}
		<-time.After(pause)
	}
}

// keep returns an error once the lock is not where it was taken: what is
// written down from then on ends with this process, and another may have the
// folder that stands there now. Whoever started us starts us anew, as with
// PostgreSQL. It blocks until then, or until ctx ends.
func (l *lock) keep(ctx context.Context) error {
	again := time.NewTicker(30 * time.Second)
	defer again.Stop()
	for {
		select {
		case <-again.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		mine, mineErr := l.file.Stat()
		there, err := os.Stat(l.file.Name())
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Join(mineErr, err) == nil && !os.SameFile(mine, there) { // what fails otherwise is no reason
			return fmt.Errorf("state %s was moved or removed while it was in use; start outrider again", filepath.Dir(l.file.Name()))
		}
	}
}

func (l *lock) release() {
	if l.state != nil {
		_ = l.state.Close()
	}
	_ = l.file.Close()
}

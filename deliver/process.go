package deliver

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// process is what /proc tells of a process.
type process struct {
	real, effective uint32 // uids
	zombie          bool
	started, booted time.Time // by the wall clock as it is set now
}

// readProcess reads /proc/PID.
func readProcess(pid int) (process, error) {
	var p process
	dir := "/proc/" + strconv.Itoa(pid)
	status, err := readHead(dir + "/status")
	if err != nil {
		return p, err
	}
	stat, err := readHead(dir + "/stat")
	if err != nil {
		return p, err
	}
	if p.real, p.effective, err = parseStatus(status); err != nil {
		return p, fmt.Errorf("%s/status: %w", dir, err)
	}
	state, age, err := parseStat(stat)
	if err != nil {
		return p, fmt.Errorf("%s/stat: %w", dir, err)
	}
	var up unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &up); err != nil {
		return p, fmt.Errorf("clock: %w", err)
	}
	p.booted = time.Now().Add(-time.Duration(up.Nano()))
	p.started = p.booted.Add(age)
	p.zombie = state == "Z" || state == "X"
	return p, nil
}

// readHead returns the first page of a file in /proc, which the kernel gives in
// one piece. It is on the way of every signal, and os.ReadFile takes four
// times the calls.
func readHead(path string) (string, error) {
	fd, err := openat(unix.AT_FDCWD, path, unix.O_RDONLY, 0)
	if err != nil {
		return "", err
	}
	page := make([]byte, 4096)
	n, err := unix.Read(fd, page)
	_ = unix.Close(fd)
	return string(page[:max(0, n)]), err
}

// parseStatus returns the real and the effective uid (proc_pid_status(5)).
func parseStatus(text string) (real, effective uint32, err error) {
	for line := range strings.Lines(text) {
		rest, found := strings.CutPrefix(line, "Uid:")
		if !found {
			continue
		}
		fields := strings.Fields(rest)
		if len(fields) < 2 {
			break
		}
		r, err1 := strconv.ParseUint(fields[0], 10, 32)
		e, err2 := strconv.ParseUint(fields[1], 10, 32)
		return uint32(r), uint32(e), errors.Join(err1, err2)
	}
	return 0, 0, errors.New("no Uid in it")
}

// parseStat returns the state, and how long after boot the process started
// (proc_pid_stat(5), fields 3 and 22, the latter in hundredths of a second on
// every architecture that Go builds for). The command's name before them is
// in parentheses and may hold some of its own.
func parseStat(text string) (state string, started time.Duration, err error) {
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 20 {
		return "", 0, errors.New("too few fields")
	}
	ticks, err := strconv.ParseInt(fields[19], 10, 64)
	if err != nil || ticks < 0 || ticks > int64(1<<63-1)/int64(10*time.Millisecond) {
		return "", 0, errors.New("field 22 is not a time")
	}
	return fields[0], time.Duration(ticks) * 10 * time.Millisecond, nil
}

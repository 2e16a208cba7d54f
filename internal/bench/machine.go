package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// machine is what was measured, where and when.
type machine struct {
	date       string
	version    string // of the binary, a commit unless told otherwise
	size       int64  // of the binary, in bytes
	processor  string
	processors int
	memory     int64 // in bytes
	kernel     string
	fileSystem string // of the destinations
	load       string // the minute before
}

// look describes this machine; the destinations will be below dir.
func look(ctx context.Context, binary, dir string) (machine, error) {
	m := machine{date: time.Now().UTC().Format(time.DateOnly), processors: runtime.NumCPU()}
	info, err := os.Stat(binary)
	if err != nil {
		return m, err
	}
	m.size = info.Size()
	for _, ask := range []struct {
		answer *string
		argv   []string
	}{
		{&m.version, []string{binary, "version"}},
		{&m.kernel, []string{"uname", "-r"}},
		{&m.fileSystem, []string{"findmnt", "-n", "-o", "FSTYPE", "-T", dir}},
		{&m.processor, []string{"sed", "-n", "s/^model name.*: //p", "/proc/cpuinfo"}},
		{&m.load, []string{"cut", "-d", " ", "-f", "1", "/proc/loadavg"}},
	} {
		out, err := exec.CommandContext(ctx, ask.argv[0], ask.argv[1:]...).Output()
		if err != nil {
			return m, fmt.Errorf("%v: %w", ask.argv, err)
		}
		*ask.answer, _, _ = strings.Cut(string(out), "\n")
	}
	m.version = strings.TrimPrefix(m.version, "outrider ")
	kilobytes, err := exec.CommandContext(ctx, "sed", "-n", "s/^MemTotal: *\\([0-9]*\\) kB/\\1/p", "/proc/meminfo").Output()
	if err != nil {
		return m, err
	}
	m.memory, err = strconv.ParseInt(strings.TrimSpace(string(kilobytes)), 10, 64)
	m.memory <<= 10
	return m, err
}

func (m machine) String() string {
	return fmt.Sprintf("%d × %s, %d GiB of memory, Linux %s, destinations on %s, %s, load before %s",
		m.processors, m.processor, (m.memory+1<<29)>>30, m.kernel, m.fileSystem, runtime.Version(), m.load)
}

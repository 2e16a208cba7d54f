package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// hideMemory turns off core dumps of this process, and its memory to others of
// the same user (prctl(2)). Programs that it starts are as they always are.
func hideMemory() error { return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) }

// saveMemory collects garbage a little more often than Go does by itself: the
// sidecar shares its machine with the application. GOGC, where it is set, wins.
func saveMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(80)
	}
}

// shedding returns a notify that, once, soon after it has told that we are
// ready, gives back the pages of the program that starting needed.
func shedding(notify func(string)) func(string) {
	const soon = 2 * time.Second // the first session, too, is open by then
	shed := sync.OnceFunc(func() { time.AfterFunc(soon, shedText) })
	return func(state string) {
		notify(state)
		if strings.HasPrefix(state, "READY=1") {
			shed()
		}
	}
}

// shedText drops the mapped pages of the program's own text. They are clean
// and come back one by one as they are used (madvise(2), MADV_DONTNEED); other
// segments may hold what was written. It is a saving, so errors do not matter.
func shedText() {
	program, _ := os.Executable()
	maps, _ := os.ReadFile("/proc/self/maps")
	for line := range strings.Lines(string(maps)) {
		var from, to uintptr
		fields := strings.Fields(line)
		if len(fields) != 6 || fields[1] != "r-xp" || fields[5] != program {
			continue
		}
		if _, err := fmt.Sscanf(fields[0], "%x-%x", &from, &to); err == nil {
			_, _, _ = unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_DONTNEED)
		}
	}
}

package soaktest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// use is what a sidecar has taken of the machine.
type use struct {
	goroutines, threads, descriptors, watches, children int
	anonymous, live                                     int // KiB: of the process, and of heap when the next collection begins, which follows what is live
	state                                               int // KiB, and the files that they are in
	files                                               int
}

// A sidecar that has delivered thousands of rotations, to apps of every kind,
// has no more of anything than after the first few.
func TestNothingGrowsWithRotations(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	p := h.start()
	h.until("delivered", p.delivered)
	const warm = 100 // by then every way was gone, and the journals have their size
	var first use
	for begun, next := time.Now(), warm; h.rotated < *rotations+warm; {
		h.moveAll()
		h.until("delivered", p.delivered)
		if h.rotated < next {
			continue
		}
		now := p.settles(first)
		t.Logf("after %d rotations, %v: %+v", h.rotated, time.Since(begun).Round(time.Second), now)
		if first == (use{}) {
			first = now
		}
		next += max(1, *rotations/10)
	}
	p.stop()
	h.quietLog()
	h.deserted()
}

// settles returns what the sidecar uses once that is no more than it was before,
// and a little; zero: whatever it is.
func (p *sidecar) settles(before use) use {
	p.h.t.Helper()
	var now use
	p.h.until("back to what it was", func() (err error) {
		if now, err = p.use(); err != nil || before == (use{}) {
			return err
		}
		// Idle connections and the runtime's workers come and go, and threads
		// only come, as many as wait for a slow disk at one time.
		for _, over := range []struct {
			what      string
			by, bound int
		}{
			{"goroutines", now.goroutines - before.goroutines, 8},
			{"threads", now.threads - before.threads, 32},
			{"descriptors", now.descriptors - before.descriptors, 8},
			{"inotify watches", now.watches - before.watches, 0},
			{"children", now.children, 0},
			{"KiB of anonymous memory", now.anonymous - before.anonymous, 8 << 10},
			{"KiB of live memory", now.live - before.live, 2 << 10},
			{"files of the state", now.files - before.files, 0},
			{"KiB of the state", now.state, len(kinds()) << 10},
		} {
			if over.by > over.bound {
				err = errors.Join(err, fmt.Errorf("%d %s more, want at most %d", over.by, over.what, over.bound))
			}
		}
		return err
	})
	return now
}

// use reads what the kernel and the sidecar itself say.
func (p *sidecar) use() (use, error) {
	if err := p.lives(); err != nil {
		return use{}, err
	}
	var u use
	proc := "/proc/" + strconv.Itoa(p.cmd.Process.Pid)
	status, err := os.ReadFile(proc + "/status")
	if err != nil {
		return u, err
	}
	u.threads, u.anonymous = number(status, `(?m)^Threads:\s*(\d+)`), number(status, `(?m)^RssAnon:\s*(\d+)`)
	tasks, err := filepath.Glob(proc + "/task/*/children") // each thread has its own
	if err != nil {
		return u, err
	}
	for _, task := range tasks {
		text, _ := os.ReadFile(task) // it may have ended
		u.children += len(strings.Fields(string(text)))
	}
	descriptors, err := os.ReadDir(proc + "/fdinfo")
	if err != nil {
		return u, err
	}
	u.descriptors = len(descriptors)
	for _, d := range descriptors {
		text, _ := os.ReadFile(filepath.Join(proc, "fdinfo", d.Name())) // it may be closed by now
		u.watches += strings.Count(string(text), "inotify wd:")
	}
	answer, err := http.Get("http://" + p.h.port(9469) + "/metrics")
	if err != nil {
		return u, err
	}
	text, err := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	u.goroutines = number(text, `(?m)^go_goroutines (\d+)`)
	u.live = number(text, `(?m)^go_memstats_next_gc_bytes ([\d.e+]+)`) >> 10
	return u, errors.Join(err, filepath.WalkDir(p.h.path("state"), func(_ string, entry fs.DirEntry, err error) error {
		if info, err := entry.Info(); err == nil {
			u.files++
			u.state += int(info.Size()) >> 10
		}
		return err
	}))
}

// number returns what a pattern finds; 0: nothing.
func number(text []byte, pattern string) int {
	found := regexp.MustCompile(pattern).FindSubmatch(text)
	if found == nil {
		return 0
	}
	n, _ := strconv.ParseFloat(string(found[1]), 64)
	return int(n)
}

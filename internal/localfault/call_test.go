package localfault

import (
	"cmp"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The errors that a disk answers with: full, failing, and read-only, as the
// kernel itself makes one that fails.
func errnos() []unix.Errno { return []unix.Errno{unix.ENOSPC, unix.EIO, unix.EROFS} }

// TestEveryCall has the disk of each place fail at the n-th call of a delivery,
// and at all that come after it until the fault ends: for every n, one after
// the other, in the life of one sidecar.
func TestEveryCall(t *testing.T) {
	all := map[unix.Errno]*seen{}
	t.Run("rows", func(t *testing.T) {
		for _, errno := range errnos() {
			all[errno] = new(seen)
			for _, p := range places() {
				t.Run(unix.ErrnoName(errno)+"/"+p.folder, func(t *testing.T) {
					t.Parallel()
					strikeAll(t, errno, p, all[errno])
				})
			}
		}
	})
	for _, errno := range errnos() {
		if !t.Failed() || *update {
			compare(t, callsTitle+unix.ErrnoName(errno)+"\n", all[errno], func() string { return errorSection(errno, all[errno]) })
		}
	}
}

// strikeAll has one n after the other struck, until a delivery has fewer calls.
func strikeAll(t *testing.T, errno unix.Errno, p place, all *seen) {
	s := begun(t, fault{subject: p.subject})
	step, last := 3, *hold
	if *full || *update {
		step = 1
	}
	for n := 0; ; n += step {
		x := &strike{errno: errno, place: p, s: s, skip: n}
		out := s.live(fault{subject: p.subject, judge: x.judge, seen: x.shows}, last)
		if x.first == "" {
			return
		}
		all.note(x.first, out)
		t.Log(x.first, "|", out.stable(), "|", seconds(out.mended))
		last = time.Second / 2
	}
}

// strike has calls in a place fail, from one on.
type strike struct {
	place
	errno unix.Errno
	s     *scene
	skip  int // calls

	mu    sync.Mutex
	seen  map[string]int
	first string    // call that failed; empty: none did
	quiet time.Time // since when nothing has failed, and all is well; zero: not so
}

// judge fails what needs a disk that takes and gives: without room what is
// there can still be read and cut off, and what is read-only read.
func (x *strike) judge(c call) unix.Errno {
	path, in := strings.CutPrefix(c.path, x.s.dir+"/")
	small := c.does == "chmod" || c.does == "chown" || c.does == "remove" || c.does == "truncate" || c.does == "open to write"
	if !in || !x.has(path) || c.reads && x.errno != unix.EIO || small && x.errno == unix.ENOSPC {
		return 0
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	name := c.does + " " + path
	if x.seen == nil {
		x.seen = map[string]int{}
	}
	if x.seen[name]++; x.seen[name] > 1 {
		name += fmt.Sprintf(" (%d)", x.seen[name])
	}
	over := c.reads || x.role && x.seen[c.does+" "+path] > 1 // the delivery, when what is due is there
	if x.skip--; x.skip >= 0 || x.first == "" && over && x.fresh(x.s) {
		return 0
	}
	x.first, x.quiet = cmp.Or(x.first, name), time.Time{}
	return x.errno
}

// shows reports whether the sidecar has said what is wrong, or for a while
// nothing is.
func (x *strike) shows(log int) bool {
	if len(x.s.lines(log)) > 0 {
		return true
	}
	well := x.fresh(x.s) && x.s.well()
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case !well:
		x.quiet = time.Time{}
	case x.quiet.IsZero():
		x.quiet = time.Now()
	}
	return well && time.Since(x.quiet) > 3*time.Second
}

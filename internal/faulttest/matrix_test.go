package faulttest

import (
	"encoding/json"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"outrider/serve"
)

const (
	long    = 10 * time.Minute // a fault in virtual time
	ceiling = 60 * time.Second // of the back-off
)

// outcome is what a cell shows.
type outcome struct {
	state string // of the app, while the fault lasts
	error string // in status and log, then; normal
	log   string // the first line from WARN on

	delivered bool          // the change came through while the fault lasted
	calls     int           // in ten minutes
	mended    time.Duration // after its end, until what changed in it is in the file
	pushed    time.Duration // and what was changed then, by an event; 0: there is no queue
}

func TestEveryFaultOfEveryOperation(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]outcome{}
	t.Run("cells", func(t *testing.T) {
		number := 0
		for _, o := range operations() {
			for _, f := range faults() {
				if f.cannot[o.name] != "" {
					continue
				}
				number++
				t.Run(o.name+"/"+f.name, func(t *testing.T) {
					t.Parallel()
					var out outcome
					synctest.Test(t, func(t *testing.T) { virtually(t, o, f, &out) })
					if o.push {
						synctest.Test(t, func(t *testing.T) { pushed(t, o, f) })
					}
					really(t, o, f, number, &out)
					mu.Lock()
					defer mu.Unlock()
					seen[o.name+"/"+f.name] = out
				})
			}
		}
	})
	if !t.Failed() || *update {
		compare(t, seen)
	}
}

// current returns a scene in virtual time whose app has become current, and
// what ends it.
func current(t *testing.T, o operation, f fault) (s *scene, stop func()) {
	t.Helper()
	s = newScene(t, mode{interval: 30 * time.Second, session: time.Minute}, o, f, 0)
	stop = s.live()
	if _, ok := s.until(time.Minute, s.fresh); !ok {
		stop()
		t.Fatal("not current within a minute, before any fault")
	}
	s.pass(2 * time.Second) // until the queue's first wait is over
	return s, stop
}

// virtually lives through ten minutes of the fault, and says how many calls it
// cost and when the file is fresh after it.
func virtually(t *testing.T, o operation, f fault, out *outcome) {
	s, stop := current(t, o, f)
	defer stop()
	began := time.Now()
	s.begin()
	if o.late {
		s.rotate(o.rotates...) // which ends a wait at the queue
		s.pass(3 * time.Minute)
	}
	synctest.Wait()
	before := s.trace()
	s.rotate(o.rotates...)
	for ; time.Since(began) < long; s.pass(time.Second) {
		synctest.Wait() // it may be writing the file at this very instant
		out.delivered = out.delivered || s.fresh()
		if out.delivered != s.fresh() || !out.delivered && s.trace() != before {
			t.Fatal("the file was touched")
		}
	}
	calls, hits := s.end()
	if out.calls = calls; hits == 0 || calls > 200 {
		t.Errorf("%d calls in ten minutes, %d of them struck; want 1 to 200", calls, hits)
	}
	var fresh bool
	if out.mended, fresh = s.until(ceiling*3/2, s.fresh); !fresh {
		t.Errorf("not fresh within %v of the end", ceiling*3/2)
	}
}

// pushed lives through most of a minute of the fault, after which back-offs are
// long, in virtual time, in which nothing but the sidecar can be slow. It asserts
// when the file is fresh by an event that comes right after it.
func pushed(t *testing.T, o operation, f fault) {
	s, stop := current(t, o, f)
	defer stop()
	s.begin()
	s.rotate(o.rotates...)
	s.pass(55 * time.Second)
	s.end()
	s.rotate(o.all()...)
	limit := 5 * time.Second
	switch {
	case f.lasting:
		limit = 15 * time.Second // a call under way ends by its own limit
	case f.spends:
		limit = ceiling * 3 / 2
	}
	if _, ok := s.until(limit, s.fresh); !ok {
		t.Errorf("not fresh within %v of the end and an event", limit)
	}
}

// really lives through the fault on the wire, and says what is seen of it.
func really(t *testing.T, o operation, f fault, number int, out *outcome) {
	if f.unnamed && os.Geteuid() != 0 {
		t.Skip("names are taken from a process by root alone")
	}
	s := newScene(t, mode{wire: true, interval: time.Second, session: 4 * time.Second}, o, f, number)
	stop := s.start()
	defer stop()
	well := func() bool {
		status, err := s.status()
		queue := !o.queue || status.Watch.State == serve.Receiving
		return err == nil && s.fresh() && status.Apps["billing"].State == serve.Current && complaint(status) == "" && queue
	}
	if _, ok := s.until(3*ceiling, well); !ok {
		t.Fatal("not current, before any fault")
	}
	log := len(s.lines())
	if f.skew != 0 {
		log = 0
	}
	s.begin()
	before := s.trace()
	s.rotate(o.rotates...)
	if o.name == "ReceiveMessage" { // the wait under way may bring that, and a fault of messages shows in the next
		s.until(ceiling, s.fresh)
		s.rotate(o.rotates...)
	}
	s.observe(out, log)
	if o.late {
		s.pass(time.Second)
		before = s.trace()
		s.rotate(o.rotates...)
	}
	if _, touched := s.until(*hold, func() bool { return !out.delivered && s.trace() != before }); touched {
		t.Error("the file was touched")
	}
	if _, ok := s.until(ceiling, func() bool { return s.fresh() == out.delivered }); !ok {
		t.Errorf("delivered: %v, in virtual time %v", s.fresh(), out.delivered)
	}
	s.end()
	if o.push {
		s.rotate(o.all()...)
	}
	took, ok := s.until(ceiling*3/2, s.fresh)
	if !ok {
		t.Errorf("not fresh within %v of the end", ceiling*3/2)
	}
	if o.push {
		out.pushed = took
	}
	if _, ok := s.until(ceiling*3/2, well); !ok {
		status, err := s.status()
		t.Errorf("not well within %v of the end: %+v, %v", ceiling*3/2, status, err)
	}
}

// observe waits until the fault shows, or has struck and nothing shows for a
// moment.
func (s *scene) observe(out *outcome, log int) {
	s.t.Helper()
	var quiet time.Time
	_, ok := s.until(100*time.Second, func() bool {
		status, err := s.status()
		if err != nil {
			return false
		}
		out.state = string(status.Apps["billing"].State)
		out.log, out.error = s.said(log)
		shows, must := complaint(status) != "", s.f.skew == 0
		switch s.op.name {
		case "CreateSession":
			shows = status.Apps["billing"].Error != ""
		case "ReceiveMessage":
			shows = status.Watch.Error != ""
		default:
			must = false // others may make up for it
		}
		switch {
		case shows:
			return out.error != ""
		case must, s.line.struck() == 0, !s.fresh():
			quiet = time.Time{}
		case quiet.IsZero():
			quiet = time.Now()
		}
		if quiet.IsZero() || time.Since(quiet) < 4*time.Second {
			return false
		}
		if out.error != "" { // the log has it, and status had, between two looks at it
			out.state = string(serve.Failing)
		}
		return true
	})
	if !ok {
		s.t.Error("nothing shows, and the change does not come")
	}
}

func (s *scene) lines() []string {
	s.t.Helper()
	text, err := os.ReadFile(s.path("log"))
	if err != nil {
		s.t.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	return lines[:len(lines)-1] // the last is being written
}

// said returns the first log line after so many that a person should see, and
// the first error in one: when connections were cut, that of the next one.
func (s *scene) said(after int) (first, wrong string) {
	s.t.Helper()
	for _, text := range s.lines()[after:] {
		var line struct{ Level, Msg, Error string }
		if json.Unmarshal([]byte(text), &line) != nil || line.Level != "WARN" && line.Level != "ERROR" {
			continue
		}
		if s.op.name == "CreateSession" && line.Msg == "session refused" {
			continue // on a busy machine it has ended while a call was on its way
		}
		if first == "" || line.Msg == "clock off" {
			first = line.Level + " " + line.Msg
		}
		if wrong == "" && (!s.f.severs || strings.Contains(line.Error, "dial")) {
			wrong = normal(line.Error)
		}
	}
	return first, wrong
}

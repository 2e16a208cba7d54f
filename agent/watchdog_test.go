package agent

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"outrider/awslab"
)

// deaf hangs every read of a secret while it is stuck, and hears of no
// context: a kernel call that does not return.
type deaf struct {
	lab   *awslab.Lab
	stuck atomic.Pointer[chan struct{}]
}

func (d *deaf) RoundTrip(r *http.Request) (*http.Response, error) {
	if stuck := d.stuck.Load(); stuck != nil && !strings.Contains(r.URL.Path, "sessions") {
		<-*stuck
	}
	return d.lab.RoundTripper().RoundTrip(r)
}

func TestWatchdogIsAnsweredWhileEveryLoopTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const every = 30 * time.Second
		h := newHouse(t)
		h.put("db", "v1")
		o := h.options()
		way := &deaf{lab: h.lab}
		var last atomic.Int64
		o.Transport, o.Watchdog = way, every
		o.Notify = func(state string) {
			if state == "WATCHDOG=1" {
				last.Store(time.Now().UnixNano())
			}
		}
		a, err := New(h.config(time.Minute, h.app("one", "db")), o)
		if err != nil {
			t.Fatal(err)
		}
		silence := func() time.Duration { return time.Since(time.Unix(0, last.Load())) }
		defer h.run(a)()

		for range 24 * 60 {
			time.Sleep(time.Minute)
			synctest.Wait()
			if got := silence(); got >= every {
				t.Fatalf("silent for %v while all is well, want less than %v", got, every)
			}
		}

		stuck := make(chan struct{})
		way.stuck.Store(&stuck)
		time.Sleep(90 * time.Second)
		if got := silence(); got >= every {
			t.Errorf("silent for %v after 90 s of hanging, which may be slowness", got)
		}
		time.Sleep(2*time.Minute + every)
		if got := silence(); got < every {
			t.Errorf("answered %v ago while a loop hangs", got)
		}
		if !strings.Contains(h.log.String(), `"msg":"loop hangs","loops":["reads of role role"]`) {
			t.Error("the log does not name the loop")
		}

		way.stuck.Store(nil)
		close(stuck)
		time.Sleep(every)
		if got := silence(); got >= every {
			t.Errorf("silent for %v after the loop went on", got)
		}
	})
}

//go:build !race

// A week is some forty thousand calls with their signatures: under the race
// detector minutes, in which the thirty days of another test find no less.

package agent

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"outrider/awslab"
	"outrider/internal/config"
	"outrider/secret"
)

// TestWeekOfRotations lives through a week in which 200 secrets of ten apps are
// rotated at random while AWS throttles, fails and is away at times: every
// rotation is delivered, once, and the calls are those that cost foretells.
func TestWeekOfRotations(t *testing.T) {
	for name, queue := range map[string]bool{"polled": false, "pushed": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { newWeek(t, queue).live() })
		})
	}
}

const (
	weekApps    = 10
	weekSecrets = 20 // of each app
	weekPoll    = time.Hour
	weekTick    = 10 * time.Minute
	// weekRest is the least time between two rotations of one secret: longer
	// than any trouble, so that each version must be delivered.
	weekRest = 5 * time.Hour
)

// week is what happens, and what is delivered.
type week struct {
	*house
	dice      *rand.Rand
	config    *config.Config
	rotated   [weekApps * weekSecrets]int // how often, by secret
	last      [weekApps * weekSecrets]time.Time
	rotations int

	mu        sync.Mutex     // apps commit at the same time
	delivered map[string]int // how often, by secret and version
	files     map[string][]string
}

func newWeek(t *testing.T, queue bool) *week {
	w := &week{house: newHouse(t), dice: rand.New(rand.NewPCG(2026, 47)), delivered: map[string]int{}, files: map[string][]string{}}
	var apps []config.App
	for i := range weekApps {
		var ids []string
		for j := range weekSecrets {
			ids = append(ids, weekID(i*weekSecrets+j))
		}
		apps = append(apps, w.app(fmt.Sprintf("app%d", i), ids...))
	}
	for n := range w.rotated {
		w.rotate(n)
	}
	w.config = w.house.config(weekPoll, apps...)
	if queue {
		w.config = w.queued(awslab.EventForm{}, apps...)
		w.config.Watch.Interval = weekPoll
	}
	return w
}

func weekID(n int) string { return fmt.Sprintf("prod/secret-%03d", n) }

// rotate gives a secret its next version, half of the time as a rotation
// function does: pending first.
func (w *week) rotate(n int) {
	w.rotated[n]++
	w.last[n] = time.Now()
	w.rotations++
	value := fmt.Sprintf("%s=%d", weekID(n), w.rotated[n])
	if w.rotated[n] == 1 || w.dice.IntN(2) == 0 {
		w.put(weekID(n), value)
		return
	}
	version, err := w.lab.PutSecret(weekID(n), value, "AWSPENDING")
	if err != nil {
		w.t.Fatal(err)
	}
	time.Sleep(10 * time.Second)
	if err := w.lab.MoveLabel(weekID(n), secret.Current, version); err != nil {
		w.t.Fatal(err)
	}
	if err := w.lab.MoveLabel(weekID(n), "AWSPENDING", ""); err != nil {
		w.t.Fatal(err)
	}
}

// commits sees each commit as it is logged, before the app goes on.
type commits struct{ seen func(app string) }

// Write implements io.Writer.
func (c commits) Write(line []byte) (int, error) {
	var record struct{ Msg, App string }
	if bytes.Contains(line, []byte("generation committed")) && json.Unmarshal(line, &record) == nil {
		c.seen(record.App)
	}
	return len(line), nil
}

// see notes what an app's file holds that it did not hold before.
func (w *week) see(app string) {
	content, err := os.ReadFile(w.path(app))
	if err != nil {
		w.t.Error(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	now, before := strings.Fields(string(content)), w.files[app]
	for i, line := range now {
		if before == nil || before[i] != line {
			w.delivered[line]++
		}
	}
	w.files[app] = now
}

func (w *week) live() {
	o := w.options()
	o.Log = slog.New(slog.NewJSONHandler(io.MultiWriter(w.log, commits{w.see}), nil))
	a, err := New(w.config, o)
	if err != nil {
		w.t.Fatal(err)
	}
	stop := w.run(a)
	time.Sleep(time.Minute)
	synctest.Wait()
	if start := w.lab.Calls(); len(w.delivered) != len(w.rotated) {
		w.t.Fatalf("%d of %d secrets are delivered after a minute, with %v", len(w.delivered), len(w.rotated), start)
	}
	w.lab.ResetCalls()
	began, rotations := time.Now(), w.rotations
	for end := began.Add(7 * 24 * time.Hour); time.Now().Before(end); {
		w.tick(time.Since(began))
	}
	lived, calls := time.Since(began), w.lab.Calls()
	w.lab.ClearFaults()
	time.Sleep(2 * weekPoll)
	stop()
	for n, versions := range w.rotated {
		for v := 1; v <= versions; v++ {
			if got := w.delivered[fmt.Sprintf("%s=%d", weekID(n), v)]; got != 1 {
				w.t.Errorf("version %d of %s was delivered %d times, want once", v, weekID(n), got)
			}
		}
	}
	w.compare(a, calls, lived, w.rotations-rotations)
}

// tick is ten minutes, with a few rotations, and trouble that begins or ends.
func (w *week) tick(at time.Duration) {
	next := time.Now().Add(weekTick)
	// Once a day AWS is in trouble for twenty minutes.
	switch phase := at % (24 * time.Hour); {
	case phase < weekTick:
		faults := []awslab.Fault{{Kind: awslab.Drop}, {Kind: awslab.Throttle}, {Kind: awslab.Fail}, {Kind: awslab.Throttle, Service: "secretsmanager"}}
		if err := w.lab.AddFault(faults[w.dice.IntN(len(faults))]); err != nil {
			w.t.Fatal(err)
		}
	case phase >= 2*weekTick:
		w.lab.ClearFaults()
	}
	for range w.dice.IntN(4) {
		if n := w.dice.IntN(len(w.rotated)); time.Since(w.last[n]) > weekRest {
			w.rotate(n)
		}
	}
	time.Sleep(time.Until(next))
}

// compare holds what the lab has counted against what cost foretells.
func (w *week) compare(a *Agent, calls map[string]int, lived time.Duration, rotations int) {
	days := lived.Hours() / 24
	plan := a.Costs(float64(rotations) / days / float64(len(w.rotated)))
	total, foretold := 0, 0.0
	for _, n := range calls {
		total += n
	}
	for _, c := range plan.Foretell() {
		foretold += c.PerDay * days
		w.t.Logf("%-40s %8d counted, %10.1f foretold", c, calls[c.String()], c.PerDay*days)
	}
	off := float64(total)/foretold - 1
	w.t.Logf("%d rotations in %.2f days, %d calls, %.0f foretold, off by %+.1f %%", rotations, days, total, foretold, 100*off)
	if off > 0.05 || off < -0.05 {
		w.t.Errorf("%d calls counted (%v), %.0f foretold: off by %+.1f %%, want at most 5", total, calls, foretold, 100*off)
	}
}

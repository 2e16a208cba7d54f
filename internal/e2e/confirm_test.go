package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"outrider/serve"
)

// newConfirmed returns the scene of an application that takes up its file when
// it is told, and says that it runs when that was good, or is forgiven. It
// writes down what it takes up.
func newConfirmed(t *testing.T, within string) *scene {
	t.Helper()
	s := newScene(t, "")
	s.put("db", "good 1")
	s.script("tell", `{ cat DIR/conf; echo; } >> DIR/told`)
	s.script("healthy", `tail -n 1 DIR/told | grep -q good || test -e DIR/forgiven`)
	s.configure(`
apps:
  billing:
    secrets: {db: {secret: db}}
    files: [{content: "{{ .db }}", destination: conf}]
    notify: [{run: [DIR/tell]}]
    confirm: {run: [DIR/healthy], within: ` + within + `}
`)
	return s
}

// ending waits until history says how a generation ended.
func (s *scene) ending(generation uint64, ending string) {
	s.t.Helper()
	line := regexp.MustCompile(fmt.Sprintf(`(?m)^%d +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +%s +db=`, generation, ending))
	var out string
	if !poll(s.t.Context(), 50*time.Millisecond, func() bool {
		out = s.do("history", "billing")
		return line.MatchString(out)
	}) {
		s.t.Fatalf("after %s generation %d is not %s:\n%s", patience, generation, ending, out)
	}
}

// aside waits until what the application did not run on is set aside.
func (s *scene) aside(generation uint64) {
	s.t.Helper()
	app := s.until("billing", "set aside", func(a serve.App) bool {
		return a.State == serve.SetAside && a.Generation == generation && len(a.Owed) == 0
	})
	if !strings.Contains(app.Error, "not confirmed within") || !strings.Contains(app.Error, "outrider retry") {
		s.t.Errorf("its error is %q; want why, and the way to try again", app.Error)
	}
}

// logged returns when the log said so of a generation.
func (s *scene) logged(message string, generation uint64) time.Time {
	s.t.Helper()
	for text := range strings.Lines(s.read("log")) {
		var line struct {
			Time       time.Time
			Msg        string
			Generation uint64
		}
		if json.Unmarshal([]byte(text), &line) == nil && line.Msg == message && line.Generation == generation {
			return line.Time
		}
	}
	s.t.Fatalf("the log does not say %q of generation %d", message, generation)
	return time.Time{}
}

func (s *scene) conf(want string) {
	s.t.Helper()
	if got := s.read("conf"); got != want {
		s.t.Errorf("the file holds %q, want %q", got, want)
	}
}

func (s *scene) told(want ...string) {
	s.t.Helper()
	if !poll(s.t.Context(), 50*time.Millisecond, func() bool {
		return s.read("told") == strings.Join(want, "\n")+"\n"
	}) {
		s.t.Errorf("told %q, want %q", s.read("told"), want)
	}
}

func TestApplicationThatDoesNotComeUpIsRolledBack(t *testing.T) {
	t.Parallel()
	s := newConfirmed(t, "2s")
	s.ready("billing")
	s.ending(1, "current") // committed before READY, so never in doubt

	s.put("db", "bad 1")
	s.aside(3)
	s.conf("good 1")
	s.told("good 1", "bad 1", "good 1")
	s.ending(2, "rolled back")
	if took := s.logged("generation rolled back", 2).Sub(s.logged("generation committed", 2)); took < 2*time.Second {
		t.Errorf("rolled back after %s, within 2s of patience", took)
	}
	if out := s.do("history", "billing"); !strings.Contains(out, "not confirmed within 2s: run "+s.path("healthy")+": exit status 1") {
		t.Errorf("history does not say why:\n%s", out)
	}

	if got := s.do("retry", "billing"); got != "billing: generation 4\n" {
		t.Errorf("retry says %q", got)
	}
	s.aside(5)
	s.conf("good 1")
	s.ending(4, "rolled back")

	s.put("db", "good 2")
	s.ending(6, "confirmed")
	s.current("billing")
	s.conf("good 2")
	s.told("good 1", "bad 1", "good 1", "bad 1", "good 1", "good 2")
	if _, err := s.outrider("retry", "billing"); err == nil || !strings.Contains(err.Error(), "exit status 1: outrider: app billing: nothing is set aside") {
		t.Errorf("retry with nothing set aside ended with %v", err)
	}

	s.put("db", "bad 2")
	s.aside(8)
	s.write("forgiven", "")
	s.do("retry", "billing")
	s.ending(9, "confirmed")
	s.current("billing")
	s.conf("bad 2")
}

// The sidecar is killed while it waits for the application to come up. The
// next one waits anew.
func TestKilledBeforeConfirmation(t *testing.T) {
	t.Parallel()
	for _, comesUp := range []bool{false, true} {
		t.Run(fmt.Sprintf("comes up %v", comesUp), func(t *testing.T) {
			t.Parallel()
			s := newConfirmed(t, "15s")
			p := s.ready("billing")
			s.put("db", "bad 1")
			s.told("good 1", "bad 1")
			p.kill()
			s.ending(2, "awaiting confirmation")
			if comesUp {
				s.write("forgiven", "")
			}
			s.start()
			if comesUp {
				s.ending(2, "confirmed")
				s.conf("bad 1")
				return
			}
			s.aside(3)
			s.ending(2, "rolled back")
			s.conf("good 1")
		})
	}
}

// The sidecar is killed at random moments from the commit to the end of the
// roll-back.
func TestKilledWhileRollingBack(t *testing.T) {
	t.Parallel()
	s := newConfirmed(t, "1s")
	p := s.ready("billing")
	for n := range 6 {
		good, bad := s.read("conf"), fmt.Sprintf("bad %d", n)
		s.put("db", bad)
		_, _ = s.client().Refresh(t.Context(), nil) // when it answers late, it tells of the roll-back
		moment := time.NewTimer(rand.N(1500 * time.Millisecond))
		<-moment.C
		p.kill()
		if got := s.read("conf"); got != good && got != bad {
			t.Fatalf("the file holds %q", got)
		}
		p = s.start()
		s.until("billing", "set aside", func(a serve.App) bool { return a.State == serve.SetAside && len(a.Owed) == 0 })
		s.conf(good)
		if told := s.read("told"); !strings.HasSuffix(told, good+"\n") {
			t.Errorf("the last word was not about what the file holds: told %q", told)
		}
		if left, err := os.ReadDir(s.path(".outrider-billing/previous")); err == nil && len(left) > 0 {
			t.Errorf("%d previous files are left", len(left))
		}
	}
	s.put("db", "good 2")
	s.current("billing")
	s.conf("good 2")
}

// While an application is given time to come up, what is newer is not made to
// wait for the end of it.
func TestNewerVersionIsToldWhileAnOlderOneIsInDoubt(t *testing.T) {
	t.Parallel()
	s := newConfirmed(t, "3m") // longer than anything here is waited for
	s.ready("billing")
	s.put("db", "bad 1")
	s.do("refresh")
	s.told("good 1", "bad 1")
	s.put("db", "good 2")
	s.do("refresh")
	s.told("good 1", "bad 1", "good 2")
	s.ending(3, "confirmed")
	s.ending(2, "superseded")
	s.conf("good 2")
	if strings.Contains(s.read("log"), "generation rolled back") {
		t.Error("the log tells of a roll-back that there was not")
	}
}

// To end without a sidecar is to say whether the application runs.
func TestOnceTellsOfARollBack(t *testing.T) {
	t.Parallel()
	s := newConfirmed(t, "1s")
	s.write("forgiven", "")
	good := s.put("db", "good 1")
	s.do("once")
	if err := os.Remove(s.path("forgiven")); err != nil {
		t.Fatal(err)
	}
	s.put("db", "bad 1")
	for _, words := range []string{"not confirmed within 1s", "set aside: not confirmed within 1s"} {
		if _, err := s.outrider("once"); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("once ended with %v, want %q", err, words)
		}
		s.conf("good 1")
	}
	s.told("good 1", "bad 1", "good 1")

	// Where the label goes back as well, nothing is wrong any more.
	s.label("db", "AWSCURRENT", good)
	s.do("once")
	s.told("good 1", "bad 1", "good 1")
}

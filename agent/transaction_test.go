package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"outrider/internal/config"
	"outrider/serve"
)

// script writes an executable shell script and returns its path.
func (h *house) script(name, text string) string {
	h.t.Helper()
	path := filepath.Join(h.dir, name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		h.t.Fatal(err)
	}
	return path
}

func (h *house) status(a *Agent, app string) serve.App { return a.Status(serve.Self()).Apps[app] }

func TestVersionThatIsRefusedWaitsAndTheFilesStay(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("a", `{"password":"good"}`)
		app := h.app("one", "a")
		app.Files[0].Text = "{{ .s0.password }}\n"
		app.Verify = []config.Verify{{Run: []string{h.script("try", `grep -q good && exit 0; exit 1`)}, Timeout: 30 * time.Second, OnInconclusive: "deliver"}}
		a := h.agent(h.config(time.Minute, app))
		stop := h.run(a)
		defer stop()
		time.Sleep(time.Second)
		h.put("a", `{"password":"bad"}`)
		time.Sleep(5 * time.Minute)
		if got := h.read("one"); got != "good\n" {
			t.Error("a refused password was delivered")
		}
		got := h.status(a, "one")
		if got.State != serve.Failing || !strings.Contains(got.Error, "verify run "+filepath.Join(h.dir, "try")) {
			t.Errorf("state %s, error %q; want failing, and the check named", got.State, got.Error)
		}
		h.put("a", `{"password":"good too"}`)
		time.Sleep(2 * time.Minute)
		if got := h.read("one"); got != "good too\n" {
			t.Errorf("the next version that works was not delivered: %+v", h.status(a, "one"))
		}
	})
}

func TestCheckThatFailsLeavesEveryFile(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("a", "good")
		app := h.app("one", "a")
		app.Files = append(app.Files, config.File{Source: "second", Text: "second {{ .s0 }}", Destination: h.path("second")})
		app.Check = []string{h.script("check", `grep -q good "$1" && grep -q good "$2"`), `{{ staged "` + h.path("one") + `" }}`, `{{ staged "` + h.path("second") + `" }}`}
		a := h.agent(h.config(time.Minute, app))
		stop := h.run(a)
		defer stop()
		time.Sleep(time.Second)
		if h.read("one") != "good\n" || h.read("second") != "second good" {
			t.Fatalf("a good check did not pass: %+v", h.status(a, "one"))
		}
		h.put("a", "bad")
		time.Sleep(3 * time.Minute)
		if h.read("one") != "good\n" || h.read("second") != "second good" {
			t.Error("a check that failed did not keep the files")
		}
		if got := h.status(a, "one"); !strings.Contains(got.Error, "check: ") || got.Generation != 1 {
			t.Errorf("generation %d, error %q", got.Generation, got.Error)
		}
	})
}

func TestGenerationThatIsNotConfirmedIsRolledBackAndSetAside(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("a", "good")
		app := h.app("one", "a")
		told := h.path("told")
		app.Notify = []config.Notify{{Run: []string{h.script("tell", `cat `+h.path("one")+` >> `+told)}, Timeout: 30 * time.Second}}
		app.Confirm = &config.Confirm{Run: []string{h.script("healthy", `grep -q good `+h.path("one"))}, Within: 5 * time.Second}
		a := h.agent(h.config(time.Minute, app))
		stop := h.run(a)
		defer stop()
		time.Sleep(10 * time.Second)
		h.put("a", "bad")
		time.Sleep(3 * time.Minute)
		if got := h.read("one"); got != "good\n" {
			t.Errorf("the file is not rolled back: %+v", h.status(a, "one"))
		}
		if content, err := os.ReadFile(told); err != nil || string(content) != "good\nbad\ngood\n" {
			t.Errorf("told %q (%v), want each generation, and the roll-back", content, err)
		}
		got := h.status(a, "one")
		if got.State != serve.SetAside || got.Generation != 3 || !strings.Contains(got.Error, "not confirmed within 5s") {
			t.Errorf("state %s, generation %d, error %q", got.State, got.Generation, got.Error)
		}
		if got, want := got.Secrets["s0"].Version, h.lab.Labels("a")["AWSPREVIOUS"]; got != want {
			t.Errorf("status says that version %s is in the files, want %s", got, want)
		}
		if outcome, err := a.Retry(t.Context(), serve.Self(), "one"); err != nil || !outcome.Changed {
			t.Errorf("Retry = %+v, %v; want it tried again", outcome, err)
		}
		time.Sleep(time.Minute)
		if got := h.status(a, "one"); got.State != serve.SetAside || h.read("one") != "good\n" {
			t.Errorf("after a retry that fails again: state %s", got.State)
		}
		h.put("a", "good again")
		time.Sleep(3 * time.Minute)
		if got := h.status(a, "one"); got.State != serve.Current || h.read("one") != "good again\n" || got.Error != "" {
			t.Errorf("a newer version did not supersede what is set aside: %+v", got)
		}
	})
}

func TestPairIsDeliveredTogether(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("user", "u1")
		h.put("password", "p1")
		app := h.app("one", "user", "password")
		app.Together, app.LongestWait = [][]string{{"s0", "s1"}}, 30*time.Second
		a := h.agent(h.config(time.Second, app))
		stop := h.run(a)
		defer stop()
		time.Sleep(2 * time.Second)
		h.put("user", "u2")
		time.Sleep(10 * time.Second)
		if got := h.read("one"); got != "u1\np1\n" {
			t.Errorf("half a pair was delivered: %d bytes", len(got))
		}
		h.put("password", "p2")
		time.Sleep(3 * time.Second)
		if got := h.read("one"); got != "u2\np2\n" {
			t.Error("the whole pair was not delivered")
		}
		h.put("user", "u3")
		time.Sleep(35 * time.Second)
		if got := h.read("one"); got != "u3\np2\n" {
			t.Error("half a pair is held longer than longest_wait")
		}
	})
}

func TestWhatWasOwedIsToldAfterARestart(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("a", "1")
		app := h.app("one", "a")
		told, gate := h.path("told"), h.path("gate")
		app.Notify = []config.Notify{{Run: []string{h.script("tell", "test -e "+gate+" && echo $OUTRIDER_GENERATION >> "+told)}, Timeout: 30 * time.Second}}
		c := h.config(time.Hour, app)
		stop := h.run(h.agent(c))
		time.Sleep(time.Minute)
		stop()
		if err := os.WriteFile(gate, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		h.lab.RevokeSessions()
		a := h.agent(c)
		stop = h.run(a)
		defer stop()
		time.Sleep(time.Second)
		if content, err := os.ReadFile(told); err != nil || string(content) != "1\n" {
			t.Errorf("told %q (%v), want the generation that was owed before the restart", content, err)
		}
		if got := h.status(a, "one"); got.Generation != 1 {
			t.Errorf("generation %d after a restart without news, want 1", got.Generation)
		}
	})
}

func TestLastGenerationMakesReadyWhileAWSIsAway(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("a", "1")
		c := h.config(time.Minute, h.app("one", "a"))
		app := c.Apps["one"]
		app.MaxStale = time.Hour
		c.Apps["one"] = app
		stop := h.run(h.agent(c))
		time.Sleep(time.Minute)
		stop()
		o := h.options()
		o.Transport = &hanger{lab: h.lab, word: ""} // whatever has a body hangs
		for _, tc := range []struct {
			later time.Duration
			want  bool
		}{{time.Minute, true}, {2 * time.Hour, false}} {
			time.Sleep(tc.later)
			a, err := New(c, o)
			if err != nil {
				t.Fatal(err)
			}
			stop := h.run(a)
			time.Sleep(5 * time.Second)
			if got := a.Status(serve.Self()).Ready; got != tc.want {
				t.Errorf("%v after the last generation: ready %v, want %v", tc.later, got, tc.want)
			}
			stop()
		}
	})
}

func TestPairIsNotDeliveredByHalvesAfterARestart(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("user", "u1")
		h.put("password", "p1")
		app := h.app("one", "user", "password")
		app.Together, app.LongestWait = [][]string{{"s0", "s1"}}, 30*time.Second
		c := h.config(time.Second, app)
		stop := h.run(h.agent(c))
		time.Sleep(2 * time.Second)
		stop()
		h.put("user", "u2")
		stop = h.run(h.agent(c))
		defer stop()
		time.Sleep(10 * time.Second)
		if got := h.read("one"); got != "u1\np1\n" {
			t.Error("half a pair was delivered by a new process")
		}
		h.put("password", "p2")
		time.Sleep(3 * time.Second)
		if got := h.read("one"); got != "u2\np2\n" {
			t.Error("the whole pair was not delivered")
		}
	})
}

func TestVersionIsDeliveredSoonAfterTheLabelMovesWhenItIsWaitedFor(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("a", `{"password":"old"}`)
		app := h.app("one", "a")
		app.Files[0].Text = "{{ .s0.password }}\n"
		good := h.path("good")
		app.Verify = []config.Verify{{Run: []string{h.script("try", `grep -q "$(cat `+good+`)" && exit 0; exit 1`)}, Timeout: 30 * time.Second}}
		// The password is changed already, the label is not moved yet.
		if err := os.WriteFile(good, []byte("new"), 0o600); err != nil {
			t.Fatal(err)
		}
		id, err := h.lab.PutSecret("a", `{"password":"new"}`, "AWSPENDING")
		if err != nil {
			t.Fatal(err)
		}
		a := h.agent(h.config(5*time.Minute, app))
		stop := h.run(a)
		defer stop()
		time.Sleep(20 * time.Second)
		if got := h.read("one"); got != "" {
			t.Fatal("a refused password was delivered")
		}
		if err := h.lab.MoveLabel("a", "AWSCURRENT", id); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if got := h.read("one"); got != "new\n" {
			t.Errorf("not delivered 5s after the label moved: %+v", h.status(a, "one"))
		}
	})
}

func TestOnceThatRollsBackSaysSo(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("a", "good")
		app := h.app("one", "a")
		app.Confirm = &config.Confirm{Run: []string{h.script("healthy", `grep -q good `+h.path("one"))}, Within: 2 * time.Second}
		c := h.config(time.Hour, app)
		if err := h.agent(c).Once(t.Context(), nil, true); err != nil {
			t.Fatal(err)
		}
		h.put("a", "bad")
		if err := h.agent(c).Once(t.Context(), nil, true); err == nil || !strings.Contains(err.Error(), "set aside") || h.read("one") != "good\n" {
			t.Errorf("Once = %v, want the roll-back said", err)
		}
	})
}

func TestNotifyThatFailsKeepsItsBackOffWhateverIsLookedAt(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("a", "1")
		app := h.app("one", "a")
		tries := h.path("tries")
		app.Notify = []config.Notify{{Run: []string{h.script("tell", "echo x >> "+tries+"; exit 1")}, Timeout: 30 * time.Second}}
		stop := h.run(h.agent(h.config(time.Second, app)))
		defer stop()
		time.Sleep(10 * time.Minute)
		if content, err := os.ReadFile(tries); err != nil || len(content)/2 > 40 {
			t.Errorf("%d tries in ten minutes (%v), want a back-off", len(content)/2, err)
		}
	})
}

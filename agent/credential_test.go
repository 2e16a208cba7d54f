package agent

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"outrider/internal/config"
	"outrider/serve"
)

// unitApp is an app whose secrets nobody but units get, as "db".
func (h *house) unitApp(name string, secrets ...string) config.App {
	app := h.app(name, secrets...)
	app.Credentials = map[string]config.Credential{"db": {Source: "db", Text: app.Files[0].Text, Units: []string{name + ".service", name + "@.service"}}}
	app.Files = nil
	return app
}

// given returns what a unit gets, "" when that is nothing for a minute.
func (h *house) given(a *Agent, unit string) string {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
	defer cancel()
	value, err := a.Credential(ctx, unit, "db")
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		h.t.Errorf("unit %s: %v", unit, err)
	}
	return string(value.Reveal())
}

func TestUnitsGetWhatNoFileHolds(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("user", "canary-user")
		h.put("password", "canary-1")
		app := h.unitApp("one", "user", "password")
		told := h.path("told")
		app.Notify = []config.Notify{{Run: []string{h.script("tell", "echo $OUTRIDER_GENERATION >> "+told)}, Timeout: 30 * time.Second}}
		a := h.agent(h.config(time.Hour, app))
		stop := h.run(a)
		defer stop()
		if got, want := h.given(a, "one.service"), "canary-user\ncanary-1\n"; got != want {
			t.Fatalf("got %d bytes, want %d", len(got), len(want))
		}
		if h.given(a, "one@7.service") == "" {
			t.Error("an instance gets nothing")
		}
		for _, unit := range []string{"two.service", "one.socket", ""} {
			if _, err := a.Credential(t.Context(), unit, "db"); err == nil || !strings.Contains(err.Error(), "credentials.db.units") {
				t.Errorf("unit %q: %v, want a refusal with its remedy", unit, err)
			}
		}
		time.Sleep(time.Second)
		h.put("password", "canary-2")
		if outcomes, err := a.Refresh(t.Context(), serve.Self(), nil); err != nil || !outcomes[0].Changed {
			t.Errorf("Refresh = %+v, %v; want another generation", outcomes, err)
		}
		if got, want := h.given(a, "one.service"), "canary-user\ncanary-2\n"; got != want {
			t.Error("the unit does not get the new generation's values")
		}
		time.Sleep(time.Second)
		if text, err := os.ReadFile(told); err != nil || string(text) != "1\n2\n" {
			t.Errorf("told of %q (%v), want each generation", text, err)
		}
		holds(t, h.dir, "canary")
	})
}

// holds fails for each file below dir that has the word in it.
func holds(t *testing.T, dir, word string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if strings.Contains(string(text), word) {
			t.Errorf("%s holds a value", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAUnitIsHeldUntilThisRunHasValues(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("a", "v")
		c := h.config(time.Minute, h.unitApp("one", "a"))
		a := h.agent(c)
		stop := h.run(a)
		if h.given(a, "one.service") != "v\n" {
			t.Error("the first run gives no value")
		}
		stop()
		h.lab.Deny("GetSecretValue", "a")
		h.lab.Deny("BatchGetSecretValue", "a")
		a = h.agent(c)
		stop = h.run(a)
		defer stop()
		began := time.Now()
		if got := h.given(a, "one.service"); got != "" || time.Since(began) < time.Minute {
			t.Errorf("got %d bytes after %s from a run that could read nothing", len(got), time.Since(began))
		}
	})
}

func TestUnitsGetThePreviousValuesAfterARollBack(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("a", "good")
		app := h.unitApp("one", "a")
		app.Notify = []config.Notify{{Run: []string{"/bin/true"}, Timeout: 30 * time.Second}}
		broken := h.path("broken")
		app.Confirm = &config.Confirm{Run: []string{h.script("healthy", "! test -e "+broken)}, Within: 5 * time.Second}
		a := h.agent(h.config(time.Hour, app))
		stop := h.run(a)
		defer stop()
		time.Sleep(10 * time.Second)
		if err := os.WriteFile(broken, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		h.put("a", "bad")
		if _, err := a.Refresh(t.Context(), serve.Self(), nil); err != nil {
			t.Fatal(err)
		}
		if h.given(a, "one.service") != "bad\n" {
			t.Error("before the roll-back the unit does not get the new value")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := h.status(a, "one"); got.State != serve.SetAside || h.given(a, "one.service") != "good\n" {
			t.Errorf("state %s; want the value of the generation that it went back to", got.State)
		}
	})
}

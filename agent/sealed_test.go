package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"outrider/awslab"
	"outrider/internal/config"
	"outrider/sealed"
	"outrider/serve"
)

// sealedApp is app with a sealed copy that serves for a day.
func (h *house) sealedApp(name string, secrets ...string) config.App {
	app := h.app(name, secrets...)
	app.MaxStale = 24 * time.Hour
	app.Sealed = &config.Sealed{Path: h.path(name + "-sealed"), Key: filepath.Join(h.dir, "seal.key")}
	return app
}

// host is an agent on a host that has an id.
func (h *house) host(apps ...config.App) *Agent {
	h.t.Helper()
	o := h.options()
	o.MachineID = filepath.Join(h.dir, "machine-id")
	if _, err := os.Stat(o.MachineID); err != nil {
		h.write(o.MachineID, strings.Repeat("a1", 16)+"\n")
	}
	a, err := New(h.config(time.Minute, apps...), o)
	if err != nil {
		h.t.Fatal(err)
	}
	return a
}

func (h *house) write(path, text string) {
	h.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// live runs an agent for a time.
func (h *house) live(a *Agent, d time.Duration) {
	stop := h.run(a)
	time.Sleep(d)
	stop()
}

// reboot loses the app's file, and AWS.
func (h *house) reboot(apps ...string) {
	h.t.Helper()
	for _, name := range apps {
		if err := os.Remove(h.path(name)); err != nil {
			h.t.Fatal(err)
		}
	}
	h.away()
}

func (h *house) away() {
	h.t.Helper()
	if err := h.lab.AddFault(awslab.Fault{Kind: awslab.Drop}); err != nil {
		h.t.Fatal(err)
	}
}

func isReady(a *Agent) bool {
	select {
	case <-a.ready:
		return true
	default:
		return false
	}
}

func TestColdStartWithoutAWSDeliversTheSealedCopy(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("a", "canary-1")
		app := h.sealedApp("one", "a")
		told := h.path("told")
		app.Notify = []config.Notify{{Run: []string{h.script("tell", `echo $OUTRIDER_GENERATION >> `+told)}, Timeout: 30 * time.Second}}
		h.live(h.host(app), time.Hour)
		h.reboot("one")
		time.Sleep(3 * time.Hour)

		a := h.host(app)
		stop := h.run(a)
		time.Sleep(4 * time.Second)
		if h.read("one") != "" || isReady(a) {
			t.Error("the copy serves before AWS had its grace")
		}
		time.Sleep(2 * time.Second)
		got := h.status(a, "one")
		if h.read("one") != "canary-1\n" || !isReady(a) {
			t.Fatalf("ready %v, status %+v, log:\n%s", isReady(a), got, h.log)
		}
		if got.State != serve.Stale || !strings.Contains(got.Error, "from the sealed copy, 3h") || !strings.Contains(got.Error, "CreateSession") {
			t.Errorf("state %s, error %q", got.State, got.Error)
		}
		if age := got.AgeSeconds; age < 3*3600 || age > 3*3600+8*60 {
			t.Errorf("age %.0f s, want three hours and at most some minutes", age)
		}
		time.Sleep(time.Hour)
		if got := h.status(a, "one"); got.State != serve.Stale || !strings.Contains(got.Error, "from the sealed copy, 4h") {
			t.Errorf("an hour later: state %s, error %q", got.State, got.Error)
		}
		stop()
		if n := strings.Count(h.log.String(), `"delivered from the sealed copy"`); n != 1 {
			t.Errorf("said %d times that the copy was delivered, want once", n)
		}

		a = h.host(app) // the files stand, and are no newer for it
		stop = h.run(a)
		defer stop()
		time.Sleep(10 * time.Second)
		if age := h.status(a, "one").AgeSeconds; age < 4*3600 || !isReady(a) {
			t.Errorf("after a restart: age %.0f s, ready %v", age, isReady(a))
		}
		h.lab.ClearFaults()
		time.Sleep(3 * time.Minute)
		if got := h.status(a, "one"); got.State != serve.Current || got.Error != "" || got.AgeSeconds > 120 {
			t.Errorf("with AWS back: %+v", got)
		}
		if text, err := os.ReadFile(told); err != nil || string(text) != "1\n2\n" {
			t.Errorf("told of %q (%v), want of the first delivery and of the one after the reboot", text, err)
		}
		if strings.Contains(h.log.String(), "canary") {
			t.Error("a value is in the log")
		}
	})
}

func TestNewerValuesTakeOverWhenAWSIsBack(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("a", "old")
		app := h.sealedApp("one", "a")
		h.live(h.host(app), time.Minute)
		h.reboot("one")
		h.put("a", "new")
		a := h.host(app)
		stop := h.run(a)
		time.Sleep(10 * time.Second)
		if got := h.read("one"); got != "old\n" {
			t.Errorf("the file holds %d bytes, want what was sealed", len(got))
		}
		h.lab.ClearFaults()
		time.Sleep(2 * time.Minute)
		if got := h.status(a, "one"); h.read("one") != "new\n" || got.State != serve.Current || got.Error != "" {
			t.Errorf("with AWS back: %+v", got)
		}
		stop()
		h.reboot("one") // and what is new was sealed
		stop = h.run(h.host(app))
		defer stop()
		time.Sleep(10 * time.Second)
		if got := h.read("one"); got != "new\n" {
			t.Error("the newer value was not sealed")
		}
	})
}

func TestMomentWithoutAWSIsWaitedFor(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("a", "old")
		app := h.sealedApp("one", "a")
		h.live(h.host(app), time.Minute)
		h.put("a", "new")
		h.reboot("one")
		a := h.host(app)
		stop := h.run(a)
		defer stop()
		time.Sleep(2 * time.Second)
		h.lab.ClearFaults()
		time.Sleep(time.Minute)
		if got := h.status(a, "one"); h.read("one") != "new\n" || got.Generation != 2 || strings.Contains(h.log.String(), "sealed copy") {
			t.Errorf("got %+v, want the new value at once; log:\n%s", got, h.log)
		}
	})
}

func TestAnswerThatNeverComesIsNotWaitedFor(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("a", "v")
		app := h.sealedApp("one", "a")
		h.live(h.host(app), time.Minute)
		h.reboot("one")
		h.lab.ClearFaults()
		if err := h.lab.AddFault(awslab.Fault{Kind: awslab.Hang}); err != nil {
			t.Fatal(err)
		}
		a := h.host(app)
		stop := h.run(a)
		time.Sleep(17 * time.Second)
		if got := h.status(a, "one"); h.read("one") != "v\n" || got.State != serve.Stale || !isReady(a) {
			t.Errorf("ready %v, status %+v", isReady(a), got)
		}
		stop()
		h.lab.ClearFaults()
		a = h.host(app)
		stop = h.run(a)
		defer stop()
		time.Sleep(time.Second)
		if got := h.status(a, "one"); got.State != serve.Current || got.Generation != 2 {
			t.Errorf("with AWS back: %+v", got)
		}
	})
}

func TestSealedCopyIsRefusedWithItsReason(t *testing.T) {
	tests := map[string]struct {
		change func(h *house, app *config.App) // between the shutdown and the start
		away   time.Duration                   // how long the host is
		want   string
	}{
		"of another host": {
			change: func(h *house, _ *config.App) { h.write(filepath.Join(h.dir, "machine-id"), strings.Repeat("b2", 16)) },
			want:   "another host has sealed it",
		},
		"damaged": {
			change: func(h *house, app *config.App) {
				if err := os.Truncate(app.Sealed.Path, 300); err != nil {
					h.t.Fatal(err)
				}
			},
			want: "cut off, damaged or tampered with",
		},
		"of another app":       {change: func(_ *house, app *config.App) { app.Name = "two" }, want: "it is app one's"},
		"older than max_stale": {away: 25 * time.Hour, want: "max_stale is 24h"},
		"of another configuration": {
			change: func(h *house, app *config.App) { app.Secrets["s0"] = h.app("x", "b").Secrets["s0"] },
			want:   "the configuration has changed since",
		},
		"older than what was last in place": {change: (*house).rollBackCopy, want: "it is older than generation 2, which was delivered on"},
		"with a key that others can read": {
			change: func(h *house, app *config.App) {
				if err := os.Chmod(app.Sealed.Key, 0o644); err != nil {
					h.t.Fatal(err)
				}
			},
			want: "mode 0644 lets others at it",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, h *house) {
				h.put("a", "canary-1")
				app := h.sealedApp("one", "a")
				h.live(h.host(app), time.Minute)
				if test.change != nil {
					test.change(h, &app)
				}
				time.Sleep(test.away)
				h.reboot("one")
				a := h.host(app)
				stop := h.run(a)
				defer stop()
				time.Sleep(30 * time.Second)
				got := h.status(a, app.Name)
				if h.read("one") != "" || got.State != serve.Failing || !strings.Contains(got.Error, test.want) || isReady(a) {
					t.Errorf("state %s, error %q, want %q", got.State, got.Error, test.want)
				}
				if !strings.Contains(got.Error, "CreateSession") {
					t.Errorf("error %q does not say what keeps AWS away", got.Error)
				}
				h.lab.ClearFaults()
				time.Sleep(2 * time.Minute)
				if strings.Contains(got.Error+h.log.String(), "canary") {
					t.Error("a value is told")
				}
			})
		})
	}
}

// rollBackCopy puts the copy of an older version back.
func (h *house) rollBackCopy(app *config.App) {
	h.t.Helper()
	old, err := os.ReadFile(app.Sealed.Path)
	if err != nil {
		h.t.Fatal(err)
	}
	h.put("a", "canary-2")
	h.live(h.host(*app), time.Minute)
	h.write(app.Sealed.Path, string(old))
}

// What AWS refuses is no outage: a host that may not have the secrets any more
// does not start on an old copy of them.
func TestRefusalIsNoOutage(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("a", "v")
		app := h.sealedApp("one", "a")
		h.live(h.host(app), time.Minute)
		if err := os.Remove(h.path("one")); err != nil {
			t.Fatal(err)
		}
		h.lab.Deny("GetSecretValue", "a")
		h.lab.Deny("BatchGetSecretValue", "a")
		a := h.host(app)
		stop := h.run(a)
		defer stop()
		time.Sleep(5 * time.Minute)
		if got := h.status(a, "one"); h.read("one") != "" || got.State != serve.Failing || strings.Contains(got.Error, "sealed") {
			t.Errorf("state %s, error %q", got.State, got.Error)
		}
	})
}

func TestGenerationInDoubtIsNotSealed(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("a", "good")
		app := h.sealedApp("one", "a")
		app.Notify = []config.Notify{{Run: []string{h.script("tell", `:`)}, Timeout: 30 * time.Second}}
		app.Confirm = &config.Confirm{Run: []string{h.script("healthy", `grep -q good `+h.path("one"))}, Within: 20 * time.Second}
		a := h.host(app)
		stop := h.run(a)
		time.Sleep(2 * time.Minute)
		h.put("a", "bad")
		if _, err := a.Refresh(t.Context(), serve.Self(), []string{"one"}); err != nil || h.read("one") != "bad\n" {
			t.Fatalf("the next version is not in place: %v", err)
		}
		time.Sleep(5 * time.Second) // and neither confirmed nor rolled back
		stop()
		h.reboot("one")
		stop = h.run(h.host(app))
		defer stop()
		time.Sleep(10 * time.Second)
		if got := h.read("one"); got != "good\n" {
			t.Errorf("the file holds %d bytes, want what was confirmed; log:\n%s", len(got), h.log)
		}
	})
}

func TestCopyIsKeptFreshWithoutARotation(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("a", "v")
		app := h.sealedApp("one", "a")
		stop := h.run(h.host(app))
		defer stop()
		time.Sleep(12 * time.Hour)
		synctest.Wait()
		copied := sealed.Copy{App: "one", Path: app.Sealed.Path, Key: app.Sealed.Key, MachineID: filepath.Join(h.dir, "machine-id")}
		s, err := copied.Read(app.Secrets)
		if age := time.Since(s.Taken()); err != nil || age > resealed+3*time.Minute {
			t.Errorf("after twelve quiet hours the copy is %s old (%v)", age, err)
		}
	})
}

func TestCopyThatCannotBeWrittenKeepsNothingBack(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("a", "v")
		app := h.sealedApp("one", "a")
		app.Sealed.Path = filepath.Join(h.dir, "nosuch", "copy")
		a := h.host(app)
		stop := h.run(a)
		defer stop()
		time.Sleep(time.Minute)
		got := h.status(a, "one")
		if h.read("one") != "v\n" || got.State != serve.Current || !strings.Contains(got.Error, "sealed copy") || !isReady(a) {
			t.Errorf("state %s, error %q", got.State, got.Error)
		}
		if err := os.Mkdir(filepath.Join(h.dir, "nosuch"), 0o700); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if got := h.status(a, "one"); got.Error != "" {
			t.Errorf("when it can: error %q", got.Error)
		}
	})
}

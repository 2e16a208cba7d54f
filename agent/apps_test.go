package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"outrider/awslab"
	"outrider/internal/config"
	"outrider/secret"
	"outrider/serve"
)

// bubble runs f in a synctest bubble with a house of its own.
func bubble(t *testing.T, f func(t *testing.T, h *house)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newHouse(t)) })
}

// loaded is a configuration that needs no reading.
func loaded(c *config.Config) func() (*config.Config, error) {
	return func() (*config.Config, error) { return c, nil }
}

func TestColdStartTakesOneSessionAndTwoRoundsOfBatches(t *testing.T) {
	for _, n := range []int{1, 20, 45} {
		t.Run(fmt.Sprintf("%d secrets of one app", n), func(t *testing.T) {
			bubble(t, func(t *testing.T, h *house) {
				var ids []string
				for i := range n {
					ids = append(ids, fmt.Sprintf("s/%d", i))
					h.put(ids[i], "v")
				}
				stop := h.run(h.agent(h.config(time.Hour, h.app("one", ids...))))
				time.Sleep(time.Second)
				stop()
				calls := 0
				for _, count := range h.lab.Calls() {
					calls += count
				}
				if most := 1 + 2*((n+19)/20); calls > most || h.read("one") == "" {
					t.Errorf("%d calls (%v), want at most %d and a file", calls, h.lab.Calls(), most)
				}
			})
		})
		t.Run(fmt.Sprintf("%d apps with a secret each", n), func(t *testing.T) {
			bubble(t, func(t *testing.T, h *house) {
				var apps []config.App
				for i := range n {
					id := fmt.Sprintf("s/%d", i)
					h.put(id, "v")
					apps = append(apps, h.app(fmt.Sprintf("app%d", i), id))
				}
				stop := h.run(h.agent(h.config(time.Hour, apps...)))
				time.Sleep(time.Second)
				stop()
				calls := 0
				for _, count := range h.lab.Calls() {
					calls += count
				}
				if most := 1 + (n+19)/20; calls > most {
					t.Errorf("%d calls (%v), want at most %d", calls, h.lab.Calls(), most)
				}
				for _, app := range apps {
					if h.read(app.Name) == "" {
						t.Errorf("%s has no file", app.Name)
					}
				}
			})
		})
	}
}

func TestSecretOfSeveralAppsIsLookedAtOnceAPoll(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("shared", "v")
		stop := h.run(h.agent(h.config(time.Minute, h.app("one", "shared"), h.app("two", "shared"), h.app("three", "shared"))))
		defer stop()
		time.Sleep(time.Hour)
		if looks := h.lab.Calls()["secretsmanager.DescribeSecret"]; looks < 50 || looks > 76 {
			t.Errorf("%d looks in an hour of polls every minute, want about one a minute", looks)
		}
	})
}

func TestBatchThatIsNotAllowedFallsBackToSingleReads(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.lab.Deny("BatchGetSecretValue", "")
		h.put("a", "1")
		h.put("b", "2")
		stop := h.run(h.agent(h.config(time.Hour, h.app("one", "a", "b"))))
		defer stop()
		time.Sleep(time.Second)
		if got := h.read("one"); got != "1\n2\n" {
			t.Errorf("file is of %d bytes, want both values", len(got))
		}
		if batches := h.lab.Calls()["secretsmanager.BatchGetSecretValue"]; batches != 1 {
			t.Errorf("%d batch calls, want one and then no more", batches)
		}
	})
}

func TestOneAppsFailureLeavesTheOthersAlone(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("good", "1")
		h.put("denied", "2")
		h.lab.Deny("GetSecretValue", "denied")
		broken := h.app("broken", "good")
		broken.Files = append(broken.Files, config.File{Source: "t", Text: "{{ .s0.nosuch }}", Destination: h.path("second")})
		a := h.agent(h.config(time.Minute, h.app("fine", "good"), h.app("refused", "denied", "good"), broken))
		stop := h.run(a)
		defer stop()
		time.Sleep(10 * time.Second)
		h.put("good", "3")
		time.Sleep(2 * time.Minute)
		if got := h.read("fine"); got != "3\n" {
			t.Error("the app without failures did not get its rotation")
		}
		if h.read("refused") != "" || h.read("broken") != "" || h.read("second") != "" {
			t.Error("a failing app got files all the same")
		}
		status := a.Status(serve.Self())
		for app, want := range map[string]string{
			"refused": "secret denied: AccessDeniedException: ",
			"broken":  "file " + h.path("second") + ": t:1:",
		} {
			if got := status.Apps[app]; got.State != serve.Failing || !strings.Contains(got.Error, want) {
				t.Errorf("%s is %s with error %q, want failing with %q", app, got.State, got.Error, want)
			}
		}
		h.lab.AllowAll()
		time.Sleep(2 * time.Minute)
		if got := h.read("refused"); got != "2\n3\n" {
			t.Error("the denied app did not recover when it was allowed again")
		}
	})
}

func TestRefusedSessionIsReplacedOnceAndAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		var apps []config.App
		for i := range 30 {
			id := fmt.Sprintf("s/%d", i)
			h.put(id, "v")
			apps = append(apps, h.app(fmt.Sprintf("app%d", i), id))
		}
		a := h.agent(h.config(time.Hour, apps...))
		stop := h.run(a)
		defer stop()
		time.Sleep(5 * time.Minute)
		h.lab.ResetCalls()
		h.lab.RevokeSessions()
		outcomes, err := a.Refresh(t.Context(), serve.Self(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range outcomes {
			if o.Error != "" {
				t.Errorf("%s: %s", o.App, o.Error)
			}
		}
		if got := h.lab.Calls()["rolesanywhere.CreateSession"]; got != 1 {
			t.Errorf("%d sessions were opened for a refused one, want 1", got)
		}
	})
}

func TestRotationIsDeliveredWithinThePollAndQuietOtherwise(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("a", "1")
		a := h.agent(h.config(time.Minute, h.app("one", "a")))
		stop := h.run(a)
		defer stop()
		time.Sleep(time.Second)
		before, err := os.Stat(h.path("one"))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		h.put("a", "1") // another version, the same value
		time.Sleep(2 * time.Minute)
		after, err := os.Stat(h.path("one"))
		if err != nil {
			t.Fatal(err)
		}
		if !os.SameFile(before, after) || !before.ModTime().Equal(after.ModTime()) {
			t.Error("unchanged content touched the file")
		}
		if got := a.Status(serve.Self()).Apps["one"].Generation; got != 1 {
			t.Errorf("generation %d for unchanged content, want 1", got)
		}
		h.put("a", "2")
		time.Sleep(72 * time.Second)
		if got := h.read("one"); got != "2\n" {
			t.Error("the rotation is not in the file after the longest poll")
		}
		if err := os.WriteFile(h.path("one"), []byte("drifted"), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(72 * time.Second)
		if got := h.read("one"); got != "2\n" {
			t.Error("drifted content was not rewritten at the next look")
		}
	})
}

func TestIdentityThatIsNotThereYetIsWaitedFor(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("a", "1")
		key, err := os.ReadFile(h.setup.PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(h.setup.PrivateKey); err != nil {
			t.Fatal(err)
		}
		a := h.agent(h.config(time.Minute, h.app("one", "a")))
		stop := h.run(a)
		defer stop()
		time.Sleep(10 * time.Minute)
		status := a.Status(serve.Self())
		if status.Ready || !strings.Contains(status.Identities["host"].Error, "no such file") {
			t.Errorf("ready %v, identity error %q; want not ready, and the file named", status.Ready, status.Identities["host"].Error)
		}
		if err := os.WriteFile(h.setup.PrivateKey, key, 0o600); err != nil {
			t.Fatal(err)
		}
		h.touch()
		time.Sleep(2 * time.Second)
		if got := h.read("one"); got != "1\n" {
			t.Errorf("the file is not there 2s after the key is; status %+v", a.Status(serve.Self()).Apps["one"])
		}
	})
}

func TestIdentityThatIsWrongIsRefusedAndTheOldOneGoesOn(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("a", "1")
		a := h.agent(h.config(time.Minute, h.app("one", "a")))
		stop := h.run(a)
		defer stop()
		time.Sleep(time.Second)
		serial := a.Status(serve.Self()).Identities["host"].Serial
		h.renewCertificate(awslab.LeafOptions{NotAfter: time.Now().Add(-time.Hour), NotBefore: time.Now().Add(-2 * time.Hour)})
		if err := os.WriteFile(h.setup.Certificate, []byte("half a cert"), 0o600); err != nil {
			t.Fatal(err)
		}
		h.touch()
		got := a.Status(serve.Self()).Identities["host"]
		if got.Serial != serial || got.Error == "" {
			t.Errorf("serial %s with error %q, want the old %s and an error", got.Serial, got.Error, serial)
		}
		h.renewCertificate(awslab.LeafOptions{Key: awslab.RSA2048})
		got = a.Status(serve.Self()).Identities["host"]
		if got.Serial == serial || got.Error != "" || got.Key != "RSA-2048" {
			t.Errorf("after a right renewal: key %s, error %q; want the RSA one", got.Key, got.Error)
		}
		h.lab.RevokeSessions()
		h.put("a", "2")
		time.Sleep(2 * time.Minute)
		if got := h.read("one"); got != "2\n" {
			t.Error("no rotation was delivered with the new identity")
		}
	})
}

func TestClockThatIsOffIsCorrectedAndSaid(t *testing.T) {
	for _, skew := range []time.Duration{40 * time.Minute, -40 * time.Minute} {
		bubble(t, func(t *testing.T, h *house) {
			h.lab.SetSkew(skew)
			h.put("a", "1")
			stop := h.run(h.agent(h.config(time.Minute, h.app("one", "a"))))
			defer stop()
			for hour := range 3 {
				value := h.put("a", fmt.Sprint(hour))
				time.Sleep(time.Hour)
				if got := h.read("one"); got != value+"\n" {
					t.Errorf("skew %v, hour %d: the file is not current", skew, hour)
				}
			}
			if got := strings.Count(h.log.String(), `"msg":"clock off"`); got != 1 {
				t.Errorf("skew %v was said %d times, want once", skew, got)
			}
		})
	}
}

func TestReloadKeepsTheSessionAndWhatAppsHaveReached(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("a", "1")
		h.put("b", "2")
		a := h.agent(h.config(time.Minute, h.app("one", "a")))
		stop := h.run(a)
		defer stop()
		time.Sleep(time.Second)
		h.lab.ResetCalls()
		if err := a.Reload(t.Context(), loaded(h.config(time.Minute, h.app("one", "a"), h.app("two", "b")))); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if got := h.read("two"); got != "2\n" {
			t.Error("the new app has no file")
		}
		if got := h.lab.Calls()["rolesanywhere.CreateSession"]; got != 0 {
			t.Errorf("the reload opened %d sessions, want none", got)
		}
		if got := a.Status(serve.Self()).Apps["one"].Generation; got != 1 {
			t.Errorf("the old app is at generation %d, want 1", got)
		}
		bad := h.app("one", "a")
		bad.Files[0].Text = "{{ .s0"
		if err := a.Reload(t.Context(), loaded(h.config(time.Minute, bad))); err == nil {
			t.Error("a template with a syntax error was taken")
		}
		h.put("a", "3")
		time.Sleep(2 * time.Minute)
		if got := h.read("one"); got != "3\n" {
			t.Error("after a refused reload the old configuration does not go on")
		}
		if err := a.Reload(t.Context(), loaded(h.config(time.Minute, h.app("two", "b")))); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got := h.read("one"); got != "3\n" {
			t.Error("an app that left the configuration lost its file")
		}
		if err := a.Reload(t.Context(), loaded(h.config(time.Minute, h.app("one", "a")))); err != nil {
			t.Fatal(err)
		}
		h.put("a", "4")
		time.Sleep(2 * time.Minute)
		if got := a.Status(serve.Self()).Apps["one"].Generation; got != 3 || h.read("one") != "4\n" {
			t.Errorf("an app that came back is at generation %d, want its own third", got)
		}
	})
}

func TestNotifyThatFailsIsOwedUntilItIsDelivered(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("a", "1")
		app := h.app("one", "a")
		gate := h.path("gate")
		app.Notify = []config.Notify{
			{Run: []string{"/bin/sh", "-c", "test -e " + gate}},
			{Run: []string{"/bin/sh", "-c", "echo told $OUTRIDER_APP $OUTRIDER_GENERATION >> " + gate}},
		}
		a := h.agent(h.config(time.Hour, app))
		stop := h.run(a)
		defer stop()
		time.Sleep(10 * time.Minute)
		if got := a.Status(serve.Self()).Apps["one"]; len(got.Owed) != 2 || got.Error == "" || got.State != serve.Current {
			t.Errorf("owed %v, error %q, state %s; want both targets, why, and current files", got.Owed, got.Error, got.State)
		}
		if err := os.WriteFile(gate, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		got, err := os.ReadFile(gate)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff("told one 1\n", string(got)); diff != "" {
			t.Errorf("notifications (-want +got):\n%s", diff)
		}
		if got := a.Status(serve.Self()).Apps["one"]; len(got.Owed) != 0 || got.Error != "" {
			t.Errorf("owed %v, error %q after delivery; want none", got.Owed, got.Error)
		}
	})
}

func TestOnceIsOneWholePass(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("a", "1")
		app := h.app("one", "a")
		told := h.path("told")
		app.Notify = []config.Notify{{Run: []string{"/bin/sh", "-c", "echo told >> " + told}}}
		c := h.config(time.Hour, app, h.app("two", "nosuch"))
		err := h.agent(c).Once(t.Context(), nil, true)
		if err == nil || !strings.Contains(err.Error(), "app two: secret nosuch: ResourceNotFoundException") || strings.Contains(err.Error(), "app one") {
			t.Errorf("Once = %v, want the missing secret's app and no other", err)
		}
		if got, err := os.ReadFile(told); string(got) != "told\n" || h.read("one") != "1\n" {
			t.Errorf("told %q (%v), want the good app delivered and told", got, err)
		}
		h.put("a", "2")
		if err := h.agent(c).Once(t.Context(), []string{"one"}, false); err != nil {
			t.Error(err)
		}
		if got, _ := os.ReadFile(told); string(got) != "told\n" || h.read("one") != "2\n" {
			t.Errorf("told %q, want the file replaced and nobody told", got)
		}
		var unknown *UnknownError
		if err := h.agent(c).Once(t.Context(), []string{"nosuch"}, true); !errors.As(err, &unknown) {
			t.Errorf("Once of an unknown app = %v", err)
		}
	})
}

func TestOnceRefusesWhileASidecarRunsOnTheSameState(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("a", "1")
		c := h.config(time.Hour, h.app("one", "a"))
		stop := h.run(h.agent(c))
		defer stop()
		time.Sleep(time.Second)
		var busy *BusyError
		if err := h.agent(c).Once(t.Context(), nil, true); !errors.As(err, &busy) || busy.PID != os.Getpid() {
			t.Errorf("Once = %v, want the other process named", err)
		}
		if err := h.agent(c).Run(t.Context()); !errors.As(err, &busy) {
			t.Errorf("a second Run = %v, want the other process named", err)
		}
	})
}

func TestCanaryValuesShowNowhere(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		const canary = "CANARY-5c1f0e"
		h.put("json", `{"username":"u","password":"`+canary+`","port":"`+canary+`"}`)
		h.put("text", canary)
		app := h.app("one", "json", "text")
		app.Files = append(app.Files, config.File{Source: "bad.tmpl", Text: `{{ .s0.password | toDecimal | atoi }}{{ index .s0 "nosuch" }}`, Destination: h.path("bad")})
		app.Notify = []config.Notify{{Run: []string{"/bin/sh", "-c", "cat " + h.path("fine") + "; exit 3"}}}
		fine := h.app("fine", "json", "text")
		fine.Files[0].Text = "{{ .s0.password }}"
		fine.Notify = app.Notify
		a := h.agent(h.config(time.Minute, app, fine))
		stop := h.run(a)
		defer stop()
		time.Sleep(time.Minute)
		if err := h.lab.AddFault(awslab.Fault{Kind: awslab.Drop, Count: 3}); err != nil {
			t.Fatal(err)
		}
		h.lab.RevokeSessions()
		h.put("text", canary+"2")
		time.Sleep(time.Hour)
		status, err := json.Marshal(a.Status(serve.Self()))
		if err != nil {
			t.Fatal(err)
		}
		credentials, err := a.Credentials(t.Context(), serve.Self(), "role")
		if err != nil {
			t.Fatal(err)
		}
		if h.read("fine") != canary {
			t.Fatal("the canary did not reach the file: the test shows nothing")
		}
		shown := h.log.String() + string(status) + fmt.Sprintf("%v %+v %#v %s", credentials, credentials, credentials, a.summary(nil))
		for _, value := range []secret.Value{secret.Text(canary), credentials.SecretAccessKey, credentials.SessionToken} {
			if strings.Contains(shown, string(value.Reveal())) {
				t.Error("a secret value shows in a log, an error or the status")
			}
		}
	})
}

package agent

import (
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"outrider/awslab"
	"outrider/internal/config"
	"outrider/refresher"
	"outrider/secret"
	"outrider/serve"
	"outrider/store"
)

func TestParametersAndPathsAreDelivered(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		for name, value := range map[string]string{"/app/smtp": "mail", "/app/flags/a/b": "on", "/app/flags/c": `{"x": 1}`} {
			if _, err := h.lab.PutParameter(name, value, awslab.TypeSecureString); err != nil {
				t.Fatal(err)
			}
		}
		h.put("db", "1")
		app := h.app("one", "db")
		app.Secrets["smtp"] = secret.Ref{Kind: secret.Parameter, ID: "/app/smtp"}
		app.Secrets["flags"] = secret.Ref{Kind: secret.Parameters, ID: "/app/flags/", Recursive: true}
		app.Files[0].Text = `{{ .s0 }} {{ .smtp }} {{ index .flags "a/b" }} {{ .flags.c.x }} [{{ keys .flags | join " " }}]` + "\n"
		a := h.agent(h.config(time.Minute, app))
		stop := h.run(a)
		defer stop()
		time.Sleep(time.Second)
		if got, want := h.read("one"), "1 mail on 1 [a/b c]\n"; got != want {
			t.Fatalf("file of %d bytes, want %q: %+v", len(got), want, a.Status(serve.Self()).Apps["one"])
		}
		if _, err := h.lab.PutParameter("/app/flags/d", "new", awslab.TypeString); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if got := h.read("one"); !strings.HasSuffix(got, "[a/b c d]\n") {
			t.Error("a new parameter below the path is not delivered")
		}
		got := a.Status(serve.Self()).Apps["one"].Secrets
		for name, rung := range map[string]string{"s0": "describe", "smtp": "get", "flags": "get"} {
			if s := got[name]; s.Rung != rung || s.Next == nil || s.Version == "" || s.Region != "us-east-1" {
				t.Errorf("status of %s is %+v, want rung %s, a version, its region and the next look", name, s, rung)
			}
		}
	})
}

func TestPollThatFindsNothingReadsNothing(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		ids := []string{"a", "b", "c", "d"}
		for _, id := range ids {
			h.put(id, "1")
		}
		a := h.agent(h.config(time.Minute, h.app("one", ids...), h.app("two", "a")))
		stop := h.run(a)
		defer stop()
		time.Sleep(10 * time.Second)
		h.lab.ResetCalls()
		for range 60 {
			time.Sleep(time.Minute)
			for name, app := range a.Status(serve.Self()).Apps {
				if app.AgeSeconds > 73 || app.State != serve.Current {
					t.Fatalf("%s is %s and %v seconds old at an interval of a minute", name, app.State, app.AgeSeconds)
				}
			}
		}
		calls := h.lab.Calls()
		if looks := calls["secretsmanager.DescribeSecret"]; looks < 228 || looks > 252 || calls["secretsmanager.GetSecretValue"]+calls["secretsmanager.BatchGetSecretValue"] > 0 {
			t.Errorf("%v in an hour, want 240 looks and no read", calls)
		}
	})
}

func TestRotationCostsOneReadAndASecondLookAtTheApp(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		ids := []string{"a", "b", "c", "d"}
		for _, id := range ids {
			h.put(id, "1")
		}
		stop := h.run(h.agent(h.config(time.Minute, h.app("one", ids...), h.app("two", "b"))))
		defer stop()
		time.Sleep(10 * time.Second)
		h.lab.ResetCalls()
		h.put("a", "2")
		time.Sleep(73 * time.Second)
		if got := h.read("one"); got != "2\n1\n1\n1\n" {
			t.Error("the rotation is not delivered")
		}
		calls := h.lab.Calls()
		// The second look is at secrets that were seen at this very instant,
		// or in one batch.
		if calls["secretsmanager.GetSecretValue"] != 1 || calls["secretsmanager.BatchGetSecretValue"] > 1 {
			t.Errorf("%v, want one read, and at most one batch", calls)
		}
	})
}

func TestFilesThatDriftAreMendedEveryInterval(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("a", "1")
		stop := h.run(h.agent(h.config(time.Minute, h.app("one", "a"))))
		defer stop()
		time.Sleep(10 * time.Second)
		if err := os.WriteFile(h.path("one"), []byte("drifted"), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(73 * time.Second)
		if h.read("one") != "1\n" {
			t.Error("the file still has what was written over it")
		}
	})
}

func TestHintIsDeliveredAtOnceAndOnlyWhereItConcerns(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("a", "1")
		h.put("b", "1")
		a := h.agent(h.config(time.Hour, h.app("one", "a", "b"), h.app("two", "b")))
		stop := h.run(a)
		defer stop()
		time.Sleep(time.Minute)
		r := a.current().roles["role"]
		two := a.current().apps["two"].standing.now().begun
		id, err := h.lab.PutSecret("a", "2")
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if !r.hinted(store.Hint{ID: "a", Stage: secret.Current, Version: id}) || r.hinted(store.Hint{ID: "other"}) {
			t.Error("what is managed here is not told from what is not")
		}
		synctest.Wait()
		if h.read("one") != "2\n1\n" || time.Since(began) != 0 {
			t.Error("the hint is not delivered at once")
		}
		if now := a.current().apps["two"].standing.now().begun; now != two {
			t.Errorf("an app that does not use it looked %d times", now-two)
		}
	})
}

func TestWhileEventsComeInLooksAreFewAndNothingGoesStale(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		var ids []string
		for i := range 100 {
			ids = append(ids, "s/"+string(rune('a'+i/26))+string(rune('a'+i%26)))
			h.put(ids[i], "1")
		}
		app := h.app("one", ids...)
		app.MaxStale = time.Hour
		a := h.agent(h.config(time.Minute, app, h.app("two", ids[:50]...)))
		stop := h.run(a)
		defer stop()
		time.Sleep(time.Minute)
		a.current().roles["role"].pushed(true)
		time.Sleep(time.Hour)
		h.lab.ResetCalls()
		for range 24 * 60 {
			time.Sleep(time.Minute)
			if got := a.Status(serve.Self()).Apps["one"]; got.State != serve.Current {
				t.Fatalf("%s, %v seconds old", got.State, got.AgeSeconds)
			}
		}
		calls := h.lab.Calls()
		if reads := calls["secretsmanager.BatchGetSecretValue"]; reads > 24*13 || reads < 24*9 || calls["secretsmanager.DescribeSecret"] > 0 {
			t.Errorf("%v in a day, want twelve batches an hour", calls)
		}
		if got := a.Status(serve.Self()).Apps["one"].Secrets["s0"]; got.Rung != "push" {
			t.Errorf("rung %q, want push", got.Rung)
		}
		a.current().roles["role"].pushed(false)
		h.put(ids[7], "2")
		time.Sleep(75 * time.Second)
		if !strings.Contains(h.read("one"), "2\n") {
			t.Error("a rotation is not noticed in the interval after the queue went away")
		}
	})
}

func TestAppOfADeniedSecretAsksSeldomAndRecoversSoon(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("good", "1")
		h.put("bad", "1")
		a := h.agent(h.config(5*time.Minute, h.app("one", "good", "bad"), h.app("two", "good")))
		stop := h.run(a)
		defer stop()
		time.Sleep(time.Minute)
		h.lab.Deny("GetSecretValue", "bad")
		h.lab.Deny("DescribeSecret", "bad")
		time.Sleep(10 * time.Minute)
		h.lab.ResetCalls()
		time.Sleep(time.Hour)
		calls := h.lab.Calls()
		if reads := calls["secretsmanager.GetSecretValue"]; reads < 60 || reads > 200 {
			t.Errorf("%d reads in an hour of a denied secret, want two or so a minute", reads)
		}
		one, two := a.Status(serve.Self()).Apps["one"], a.Status(serve.Self()).Apps["two"]
		if one.State != serve.Failing || !strings.Contains(one.Error, "secret bad: AccessDenied") || two.State != serve.Current {
			t.Errorf("one is %s (%s), two is %s", one.State, one.Error, two.State)
		}
		h.put("good", "2")
		time.Sleep(6*time.Minute + time.Second)
		if h.read("two") != "2\n" {
			t.Error("the other app did not get its rotation")
		}
		h.lab.AllowAll()
		time.Sleep(61 * time.Second)
		if got := a.Status(serve.Self()).Apps["one"]; got.State != serve.Current || h.read("one") != "2\n1\n" {
			t.Errorf("a minute after it was allowed the app is %s: %s", got.State, got.Error)
		}
	})
}

func TestFailingLooksAreTriedAgainWithinAMinute(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("a", "1")
		a := h.agent(h.config(time.Hour, h.app("one", "a")))
		stop := h.run(a)
		defer stop()
		time.Sleep(time.Minute)
		if err := h.lab.AddFault(awslab.Fault{Kind: awslab.Drop, Service: "secretsmanager"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Hour)
		if got := a.Status(serve.Self()).Apps["one"].State; got != serve.Failing {
			t.Errorf("the app is %s after hours without an answer, want failing", got)
		}
		h.put("a", "2")
		h.lab.ClearFaults()
		time.Sleep(61 * time.Second)
		if got := a.Status(serve.Self()).Apps["one"].State; got != serve.Current || h.read("one") != "2\n" {
			t.Errorf("the app is %s a minute after AWS answers again", got)
		}
	})
}

func TestSweepLeavesRoomBeforeAnythingIsStale(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		app := h.app("one", "a")
		app.MaxStale = 30 * time.Minute
		w := h.agent(h.config(time.Minute, app)).current()
		w.roles["role"].events = true
		if got := w.sweep(); got != refresher.Sweep(time.Minute, 1, 15*time.Minute) {
			t.Errorf("sweep in %v", got)
		}
		w.config = &config.Config{Watch: config.Watch{Interval: 24 * time.Hour}}
		if got := w.sweep(); got != 24*time.Hour {
			t.Errorf("sweep in %v, want the interval where it is longer", got)
		}
	})
}

package agent

import (
	"encoding/json"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"outrider/audit"
	"outrider/internal/config"
	"outrider/serve"
)

// scrape returns the lines of the agent's metrics that start with the words.
func scrape(t *testing.T, a *Agent, words ...string) map[string]string {
	t.Helper()
	w := httptest.NewRecorder()
	a.o.witness.meter.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	lines := map[string]string{}
	for line := range strings.Lines(w.Body.String()) {
		for _, word := range words {
			if strings.HasPrefix(line, word) {
				i := strings.LastIndex(line, " ")
				lines[line[:i]] = strings.TrimSpace(line[i:])
			}
		}
	}
	return lines
}

func TestMetricsTellHowThingsStandAndWhatWasDone(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("canary/a", "canary-value")
		app := h.app("one", "canary/a")
		app.Notify = []config.Notify{{Run: []string{"/bin/true"}, Timeout: time.Minute}}
		c := h.config(time.Hour, app, h.app("two", "canary/none"))
		c.Listen.Metrics = config.Address{Network: "tcp", Address: "127.0.0.1:0"}
		options := h.options()
		options.Version = "v1"
		a, err := New(c, options)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := scrape(t, a, `outrider_app_state{app="one",state="starting"}`), (map[string]string{`outrider_app_state{app="one",state="starting"}`: "1"}); !cmp.Equal(got, want) {
			t.Errorf("before Run: got %v, want %v", got, want)
		}
		c.Listen.Metrics = config.Address{} // no sockets in a bubble
		stop := h.run(a)
		defer stop()
		time.Sleep(90 * time.Second)
		got := scrape(t, a, "outrider_app_", "outrider_notifications", "outrider_build", "outrider_ready", "outrider_commit_duration_seconds_count", "outrider_role", "outrider_identity_healthy", "outrider_watch")
		want := map[string]string{
			`outrider_build_info{version="v1"}`: "1", `outrider_ready`: "0",
			`outrider_identity_healthy{identity="host"}`: "1", `outrider_role_healthy{role="role"}`: "1",
			`outrider_commit_duration_seconds_count`:                                  "1",
			`outrider_notifications_total{app="one",result="delivered",target="run"}`: "1",
			`outrider_watch_interval_seconds`:                                         "3600",
			`outrider_app_healthy{app="one"}`:                                         "1", `outrider_app_healthy{app="two"}`: "0",
			`outrider_app_generation{app="one"}`: "1", `outrider_app_generation{app="two"}`: "0",
			`outrider_app_owed{app="one"}`: "0", `outrider_app_owed{app="two"}`: "0",
			`outrider_app_age_seconds{app="one"}`: "90",
		}
		for _, state := range []string{"current", "stale", "failing", "starting", "set_aside"} {
			for app, in := range map[string]string{"one": "current", "two": "failing"} {
				value := "0"
				if state == in {
					value = "1"
				}
				want[`outrider_app_state{app="`+app+`",state="`+state+`"}`] = value
			}
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("got -, want +:\n%s", diff)
		}
		requests := scrape(t, a, "outrider_aws_requests_total", "outrider_aws_request_duration_seconds_count")
		for _, line := range []string{
			`outrider_aws_requests_total{code="201",operation="CreateSession",service="rolesanywhere"}`,
			`outrider_aws_requests_total{code="200",operation="BatchGetSecretValue",service="secretsmanager"}`,
			`outrider_aws_request_duration_seconds_count{operation="CreateSession",service="rolesanywhere"}`,
		} {
			if requests[line] == "" {
				t.Errorf("no line %s in %v", line, requests)
			}
		}
		for line := range scrape(t, a, "") {
			if strings.Contains(line, "canary") || strings.Contains(line, h.dir) || strings.Contains(line, "arn:") {
				t.Errorf("a metric tells what it must not: %s", line)
			}
		}
		if got, err := a.Waiting(""); err != nil || !cmp.Equal(got, []string{"two"}) {
			t.Errorf("Waiting = %v, %v", got, err)
		}
		if got, err := a.Waiting("one"); err != nil || len(got) > 0 {
			t.Errorf("Waiting of an app that is current = %v, %v", got, err)
		}
		if _, err := a.Waiting("three"); err == nil {
			t.Error("Waiting of an app that is not there is no error")
		}
	})
}

func TestWithoutMetricsNothingIsCounted(t *testing.T) {
	h := newHouse(t)
	if a := h.agent(h.config(time.Hour)); a.o.witness != (witness{}) {
		t.Errorf("got %+v, want no witness", a.o.witness)
	}
}

func TestLabelsOfTargetsHoldNoPath(t *testing.T) {
	for target, want := range map[string]string{
		"reload_unit a.service": "reload_unit a.service", "restart_unit a@1.service": "restart_unit a@1.service",
		"signal HUP /run/a b.pid": "signal HUP", "run /usr/bin/x --password y": "run", "": "run",
	} {
		if got := label(target); got != want {
			t.Errorf("%q: got %q, want %q", target, got, want)
		}
	}
}

// audited returns the entries of the audit log, without times.
func (h *house) audited() []audit.Entry {
	h.t.Helper()
	text, err := os.ReadFile(filepath.Join(h.dir, "audit.log"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		h.t.Fatal(err)
	}
	var entries []audit.Entry
	for line := range strings.Lines(string(text)) {
		var e audit.Entry
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.Time.IsZero() {
			h.t.Fatalf("line %q: %v", line, err)
		}
		e.Time = time.Time{}
		entries = append(entries, e)
	}
	return entries
}

func TestTheAuditLogSaysWhichVersionWentWhere(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("db", "canary-db")
		h.put("smtp", "canary-smtp")
		app := h.app("one", "db", "smtp")
		app.Files = append(app.Files,
			config.File{Source: "b", Text: "{{ .s1 }}", Destination: h.path("b")},
			config.File{Raw: "s0", Destination: h.path("raw")})
		app.Credentials = map[string]config.Credential{"smtp": {Source: "smtp", Text: "{{ .s1 }}", Units: []string{"one.service"}}}
		c := h.config(time.Hour, app)
		c.Audit.Path = filepath.Join(h.dir, "audit.log")
		a := h.agent(c)
		stop := h.run(a)
		defer stop()
		time.Sleep(time.Second)
		db, smtp := h.lab.Labels("db")["AWSCURRENT"], h.lab.Labels("smtp")["AWSCURRENT"]
		versions := func(names ...string) map[string]audit.Secret {
			all := map[string]audit.Secret{"s0": {ID: "db", Version: db}, "s1": {ID: "smtp", Version: smtp}}
			some := map[string]audit.Secret{}
			for _, name := range names {
				some[name] = all[name]
			}
			return some
		}
		delivered := func(generation uint64, file string, names ...string) audit.Entry {
			return audit.Entry{Event: audit.Delivered, App: "one", Generation: generation, File: h.path(file), Secrets: versions(names...)}
		}
		want := []audit.Entry{delivered(1, "one", "s0", "s1"), delivered(1, "b", "s1"), delivered(1, "raw", "s0")}
		h.put("smtp", "canary-smtp-2")
		if _, err := a.Refresh(t.Context(), serve.Self(), nil); err != nil {
			t.Fatal(err)
		}
		smtp = h.lab.Labels("smtp")["AWSCURRENT"]
		want = append(want, delivered(2, "one", "s0", "s1"), delivered(2, "b", "s1"))
		if _, err := a.Credential(t.Context(), "one.service", "smtp"); err != nil {
			t.Fatal(err)
		}
		want = append(want, audit.Entry{Event: audit.Credential, App: "one", Generation: 2, Unit: "one.service", Credential: "smtp", Secrets: versions("s1")})
		got, err := a.Credentials(t.Context(), serve.Self(), "role")
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, audit.Entry{Event: audit.Session, Role: "role", AccessKeyID: got.AccessKeyID})
		if diff := cmp.Diff(h.audited(), want); diff != "" {
			t.Errorf("got -, want +:\n%s", diff)
		}
		if text, err := os.ReadFile(c.Audit.Path); err != nil || strings.Contains(string(text), "canary") {
			t.Errorf("the audit log holds a value, or cannot be read: %v", err)
		}
	})
}

package serve

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"outrider/internal/porttest"
)

// apps are those that are waited for; it knows billing and web.
type apps []string

// strangeError is about an app that there is not.
type strangeError struct{ error }

func (strangeError) Unknown() bool { return true }

func (a apps) Waiting(app string) ([]string, error) {
	switch {
	case app == "":
		return a, nil
	case app != "billing" && app != "web":
		return nil, strangeError{io.EOF}
	case slices.Contains(a, app):
		return []string{app}, nil
	}
	return nil, nil
}

func TestHealthIsAnswered(t *testing.T) {
	scrape := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "metrics") })
	for _, tc := range []struct {
		name, method, path string
		waiting            apps
		forwarded          bool
		want               string
	}{
		{"a process that answers lives", "GET", "/healthz", apps{"billing"}, false, "200 ok"},
		{"without an app that is waited for it is ready", "GET", "/readyz", nil, false, "200 ready"},
		{"with one it is not", "GET", "/readyz", apps{"billing"}, false, "503 not ready: billing"},
		{"an app is ready by itself", "GET", "/readyz?app=web", apps{"billing"}, false, "200 ready"},
		{"an app is not ready by itself", "GET", "/readyz?app=billing", apps{"billing", "web"}, false, "503 not ready: billing\""},
		{"an app that is not there is not found", "GET", "/readyz?app=nobody", nil, false, "404"},
		{"a balancer asks with HEAD", "HEAD", "/readyz", nil, false, "200"},
		{"metrics are served", "GET", "/metrics", nil, false, "200 metrics"},
		{"nothing is changed here", "POST", "/metrics", nil, false, "405"},
		{"nothing else is served", "GET", "/debug/pprof", nil, false, "404"},
		{"what was forwarded is refused", "GET", "/metrics", nil, true, "400"},
	} {
		r, w := httptest.NewRequestWithContext(t.Context(), tc.method, tc.path, nil), httptest.NewRecorder()
		if tc.forwarded {
			r.Header.Set("X-Forwarded-For", "192.0.2.1")
		}
		Metrics{Agent: tc.waiting, Scrape: scrape}.handler().ServeHTTP(w, r)
		code, text, _ := strings.Cut(tc.want, " ")
		if got := w.Body.String(); w.Result().Status[:3] != code || !strings.Contains(got, text) {
			t.Errorf("%s: got %s %q, want %q", tc.name, w.Result().Status, got, tc.want)
		}
	}
}

func TestMetricsAreServedWhereTheyAreToBe(t *testing.T) {
	address := porttest.Free(t)
	start(t, "tcp", address, Metrics{Address: address, Agent: apps(nil), Log: slog.New(slog.DiscardHandler)}.Run)
	err := Metrics{Address: address}.Run(t.Context())
	if want := "change listen.metrics"; err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("a second listener got %v, want %q", err, want)
	}
	err = Metrics{Address: "localhost:9469"}.Run(t.Context())
	if want := "not a number and a port"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("a name got %v, want %q", err, want)
	}
}

package meter

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.yaml.in/yaml/v3"

	"outrider/serve"
)

// full is a status with something in every field that metrics are made of.
func full() serve.Status {
	at := time.UnixMilli(1_800_000_000_500)
	return serve.Status{
		Version: "v1", Ready: true,
		Identities: map[string]serve.Identity{"host": {NotAfter: &at, Subject: "CN=host"}, "lost": {Error: "no such file: /etc/pki/lost"}},
		Roles:      map[string]serve.Role{"billing": {Expires: &at, AccessKeyID: "ASIA", Region: "eu-west-3"}},
		Apps: map[string]serve.App{
			"billing": {State: serve.Current, Generation: 4, AgeSeconds: 1.5, Secrets: map[string]serve.Secret{"db": {ID: "prod/db"}}},
			"web":     {State: serve.Stale, Error: "arn:aws:secretsmanager:x", Owed: []string{"signal HUP /run/web.pid", "run /bin/x"}},
			"owing":   {State: serve.Current, Error: "application not notified"},
		},
		Watch: serve.Watch{IntervalSeconds: 300, Queue: serve.Queue{URL: "https://sqs", State: serve.Receiving, LastMessage: &at}},
	}
}

// used is a Meter in which everything has been counted once.
func used(t *testing.T) *Meter {
	t.Helper()
	m := New(full)
	m.Notified("billing", "run", "delivered")
	m.Committed(10 * time.Millisecond)
	m.Served(nil)
	m.Served(io.EOF)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://aws", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := m.Transport(canned{status: 200}).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	return m
}

// canned answers every request alike.
type canned struct {
	status int
	header http.Header
	body   string
	err    error
}

func (c canned) RoundTrip(r *http.Request) (*http.Response, error) {
	if c.err != nil {
		return nil, c.err
	}
	header := c.header
	if header == nil {
		header = http.Header{}
	}
	return &http.Response{StatusCode: c.status, Header: header, Body: io.NopCloser(strings.NewReader(c.body)), Request: r}, nil
}

func TestMetricsAreNamedAsPrometheusWants(t *testing.T) {
	problems, err := testutil.GatherAndLint(used(t).registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestStatusBecomesMetrics(t *testing.T) {
	want := `# HELP outrider_app_age_seconds Time since the files were last known to be current.
# TYPE outrider_app_age_seconds gauge
outrider_app_age_seconds{app="billing"} 1.5
# HELP outrider_app_healthy Whether the app is current and nothing is wrong with it.
# TYPE outrider_app_healthy gauge
outrider_app_healthy{app="billing"} 1
outrider_app_healthy{app="owing"} 0
outrider_app_healthy{app="web"} 0
# HELP outrider_app_owed Targets that are still to be told.
# TYPE outrider_app_owed gauge
outrider_app_owed{app="billing"} 0
outrider_app_owed{app="owing"} 0
outrider_app_owed{app="web"} 2
# HELP outrider_identity_expires_timestamp_seconds When the certificate ends.
# TYPE outrider_identity_expires_timestamp_seconds gauge
outrider_identity_expires_timestamp_seconds{identity="host"} 1.8000000005e+09
# HELP outrider_identity_healthy Whether the last look at the identity went well.
# TYPE outrider_identity_healthy gauge
outrider_identity_healthy{identity="host"} 1
outrider_identity_healthy{identity="lost"} 0
# HELP outrider_session_expires_timestamp_seconds When the session in hand ends.
# TYPE outrider_session_expires_timestamp_seconds gauge
outrider_session_expires_timestamp_seconds{role="billing"} 1.8000000005e+09
# HELP outrider_queue_receiving Whether events come in.
# TYPE outrider_queue_receiving gauge
outrider_queue_receiving 1
`
	var names []string
	for _, m := range regexp.MustCompile(`# TYPE (\S+)`).FindAllStringSubmatch(want, -1) {
		names = append(names, m[1])
	}
	if err := testutil.GatherAndCompare(used(t).registry, strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
}

func TestNoLabelTellsWhatASecretIs(t *testing.T) {
	w := httptest.NewRecorder()
	used(t).Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, "outrider_") && strings.ContainsAny(strings.SplitN(line, "}", 2)[0], "/:") {
			t.Errorf("a label with an ARN, an id or a path: %s", line)
		}
	}
}

func TestRequestsAreCountedByWhatTheSDKCallsThem(t *testing.T) {
	for _, tc := range []struct {
		name string
		next canned
		code string
	}{
		{"an answer by its status", canned{status: 200, body: "{}"}, "200"},
		{"an error by the type in its body", canned{status: 400, body: `{"__type":"AccessDeniedException","Message":"arn:x"}`}, "AccessDeniedException"},
		{"an error by the name after the namespace", canned{status: 400, body: `{"__type": "com.amazonaws.x#ThrottlingException"}`}, "ThrottlingException"},
		{"an error by its header", canned{status: 403, header: http.Header{"X-Amzn-Errortype": {"ExpiredTokenException:http://x/"}}}, "ExpiredTokenException"},
		{"an error of a proxy by its status", canned{status: 407, body: "<html>Proxy Authentication Required</html>"}, "407"},
		{"no answer as none", canned{err: errors.New("refused")}, "none"},
	} {
		m := New(full)
		client := secretsmanager.New(secretsmanager.Options{
			Region: "eu-west-3", HTTPClient: &http.Client{Transport: m.Transport(tc.next)}, RetryMaxAttempts: 1,
			Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
				return aws.Credentials{AccessKeyID: "a", SecretAccessKey: "b"}, nil
			}),
		})
		_, err := client.DescribeSecret(t.Context(), &secretsmanager.DescribeSecretInput{SecretId: aws.String("prod/db")})
		if tc.next.status >= 400 && tc.next.body != "" && strings.Contains(tc.next.body, "__type") && !strings.Contains(err.Error(), tc.code) {
			t.Errorf("%s: the SDK got %v, not the body that was looked at", tc.name, err)
		}
		got := testutil.ToFloat64(m.requests.WithLabelValues("secretsmanager", "DescribeSecret", tc.code))
		if got != 1 || testutil.CollectAndCount(m.requests) != 1 || testutil.CollectAndCount(m.durations) != 1 {
			t.Errorf("%s: %v requests with the code %s, want 1", tc.name, got, tc.code)
		}
	}
}

func TestXMLErrorsAreCountedByTheirCode(t *testing.T) {
	answer := &http.Response{StatusCode: http.StatusForbidden, Body: io.NopCloser(strings.NewReader("<ErrorResponse><Error><Code>ExpiredToken</Code></Error></ErrorResponse>"))}
	if got := outcome(answer, nil); got != "ExpiredToken" {
		t.Errorf("got %q, want ExpiredToken", got)
	}
	if rest, err := io.ReadAll(answer.Body); err != nil || !strings.HasPrefix(string(rest), "<ErrorResponse>") {
		t.Errorf("the body is %q, %v after it was looked at", rest, err)
	}
}

func TestNoMeterCountsNothing(t *testing.T) {
	var m *Meter
	m.Notified("a", "b", "c")
	m.Committed(time.Second)
	m.Served(nil)
	if _, same := m.Transport(canned{}).(canned); !same {
		t.Error("the transport is not the one that was given")
	}
}

// metric matches our metrics in an expression.
var metric = regexp.MustCompile(`\boutrider_[a-z_]+`)

// known returns the names that expressions may use.
func known(t *testing.T) []string {
	t.Helper()
	families, err := used(t).registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range families {
		names = append(names, f.GetName(), f.GetName()+"_bucket", f.GetName()+"_count")
	}
	return names
}

// expressions checks that each uses metrics that there are.
func expressions(t *testing.T, where string, all ...string) {
	t.Helper()
	names := known(t)
	for _, e := range all {
		used := metric.FindAllString(e, -1)
		if len(used) == 0 && !strings.Contains(e, "up{") || strings.Count(e, "(") != strings.Count(e, ")") || strings.Count(e, "{") != strings.Count(e, "}") {
			t.Errorf("%s: %q uses no metric of ours, or is not balanced", where, e)
		}
		for _, name := range used {
			if !slices.Contains(names, name) {
				t.Errorf("%s: %q uses %s, which is not served", where, e, name)
			}
		}
	}
}

func TestTheAlertRulesFitTheMetrics(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "configs", "prometheus", "alerts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var rules struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr string
				For         time.Duration
				Labels      map[string]string
				Annotations map[string]string
			}
		}
	}
	decoder := yaml.NewDecoder(strings.NewReader(string(text)))
	decoder.KnownFields(true)
	if err := decoder.Decode(&rules); err != nil {
		t.Fatal(err)
	}
	for _, r := range rules.Groups[0].Rules {
		expressions(t, r.Alert, r.Expr)
		if !strings.HasPrefix(r.Alert, "Outrider") || r.For <= 0 || r.Labels["severity"] == "" || r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
			t.Errorf("%s lacks what an alert has to say", r.Alert)
		}
	}
}

func TestTheDashboardFitsTheMetrics(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "configs", "grafana", "outrider.json"))
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Title         string
		SchemaVersion int
		Panels        []struct {
			ID      int
			Title   string
			Type    string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	cells := map[[2]int]string{}
	for i, p := range board.Panels {
		if p.ID != i+1 || p.Title == "" || p.Type == "" || len(p.Targets) == 0 || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %q is incomplete", p.Title)
		}
		for _, target := range p.Targets {
			expressions(t, p.Title, target.Expr)
		}
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if other := cells[at]; other != "" {
					t.Fatalf("panels %q and %q overlap", other, p.Title)
				}
				cells[at] = p.Title
			}
		}
	}
	if board.Title != "outrider" || board.SchemaVersion == 0 || len(board.Panels) < 10 {
		t.Errorf("title %q, schema %d, %d panels", board.Title, board.SchemaVersion, len(board.Panels))
	}
}

func TestScrapesWaitForTheirTurnButNotForLong(t *testing.T) {
	for name, tc := range map[string]struct {
		takes time.Duration // a scrape
		want  map[int]int   // answers, by their status
	}{
		"while others end":     {time.Second, map[int]int{200: 10}},
		"while nobody's does":  {time.Minute, map[int]int{200: 4, 503: 6}},
		"and some in vain yet": {4 * time.Second, map[int]int{200: 8, 503: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := New(func() serve.Status { time.Sleep(tc.takes); return full() }).Handler()
				got := make(chan int, 10)
				for range cap(got) {
					go func() {
						w := httptest.NewRecorder()
						h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
						got <- w.Code
					}()
				}
				answers := map[int]int{}
				for range cap(got) {
					answers[<-got]++
				}
				if !maps.Equal(answers, tc.want) {
					t.Errorf("answers by status %v, want %v", answers, tc.want)
				}
			})
		})
	}
}

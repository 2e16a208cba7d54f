package awslab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newLab(t *testing.T, opts Options) *Lab {
	t.Helper()
	lab, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return lab
}

// do sends a request through the lab's transport and reads the answer.
func do(t *testing.T, lab *Lab, r *http.Request) (*http.Response, string) {
	t.Helper()
	res, err := lab.RoundTripper().RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

func request(t *testing.T, method, url, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	return r
}

func TestEveryAnswerCarriesTheLabsDateAndARequestID(t *testing.T) {
	start := time.Date(2026, 11, 22, 17, 0, 0, 0, time.UTC)
	lab := newLab(t, Options{Now: func() time.Time { return start }})
	lab.SetSkew(-10 * time.Minute)
	for _, path := range []string{"/sessions", "/", "/_lab/calls", "/elsewhere"} {
		res, _ := do(t, lab, request(t, http.MethodPost, "https://aws.example"+path, ""))
		if got, want := res.Header.Get("Date"), "Sun, 22 Nov 2026 16:50:00 GMT"; got != want {
			t.Errorf("%s: Date = %q, want %q", path, got, want)
		}
		if got := res.Header.Get("x-amzn-RequestId"); len(got) != 36 {
			t.Errorf("%s: request id %q is not a UUID", path, got)
		}
	}
}

func TestAnUnknownOperationIsNamed(t *testing.T) {
	lab := newLab(t, Options{})
	for target, want := range map[string]string{
		"AmazonSNS.Publish":                "AmazonSNS.Publish",
		"secretsmanager.GetResourcePolicy": "secretsmanager.GetResourcePolicy",
	} {
		r := request(t, http.MethodPost, "https://aws.example/", "{}")
		r.Header.Set("X-Amz-Target", target)
		res, body := do(t, lab, r)
		if res.StatusCode != http.StatusNotFound || !strings.Contains(body, "UnknownOperationException") || !strings.Contains(body, want) {
			t.Errorf("%s: got %d %s", target, res.StatusCode, body)
		}
	}
}

func TestFaults(t *testing.T) {
	tests := []struct {
		name  string
		fault Fault
		want  []string // of three CreateSession calls, status and code
	}{
		{"a throttle with a count strikes as often as that", Fault{Kind: Throttle, Count: 2}, []string{"400 ThrottlingException", "400 ThrottlingException", "403 MissingAuthenticationTokenException"}},
		{"a failure says what it is told to", Fault{Kind: Fail, Status: 503, Code: "ServiceUnavailable", Count: 1}, []string{"503 ServiceUnavailable", "403 MissingAuthenticationTokenException", "403 MissingAuthenticationTokenException"}},
		{"a failure of its own is a 500", Fault{Kind: Fail}, []string{"500 InternalServiceError", "500 InternalServiceError", "500 InternalServiceError"}},
		{"a fault of another operation does not strike", Fault{Kind: Fail, Operation: "GetSecretValue"}, []string{"403 MissingAuthenticationTokenException", "403 MissingAuthenticationTokenException", "403 MissingAuthenticationTokenException"}},
		{"a fault of another service does not strike", Fault{Kind: Drop, Service: "sts"}, []string{"403 MissingAuthenticationTokenException", "403 MissingAuthenticationTokenException", "403 MissingAuthenticationTokenException"}},
		{"a fault of the service strikes", Fault{Kind: Throttle, Service: "rolesanywhere", Operation: "CreateSession"}, []string{"400 ThrottlingException", "400 ThrottlingException", "400 ThrottlingException"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			lab := newLab(t, Options{})
			if err := lab.AddFault(test.fault); err != nil {
				t.Fatal(err)
			}
			var got []string
			for range 3 {
				res, _ := do(t, lab, request(t, http.MethodPost, "https://aws.example/sessions", "{}"))
				got = append(got, fmt.Sprint(res.StatusCode, " ", res.Header.Get("X-Amzn-ErrorType")))
			}
			if diff := cmp.Diff(got, test.want); diff != "" {
				t.Error(diff)
			}
			if got := lab.Calls(); got["rolesanywhere.CreateSession"] != 3 {
				t.Errorf("calls = %v, want 3 of CreateSession", got)
			}
		})
	}
}

func TestAFaultThatIsNoneIsRefused(t *testing.T) {
	lab := newLab(t, Options{})
	for _, f := range []Fault{{}, {Kind: "explode"}, {Kind: Fail, Status: 200}, {Kind: Delay, Delay: -1}, {Kind: Drop, Count: -1}} {
		if err := lab.AddFault(f); err == nil {
			t.Errorf("AddFault(%+v) = nil, want an error", f)
		}
	}
}

func TestTheTransportWorksInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lab := newLab(t, Options{})
		if err := lab.AddFault(Fault{Kind: Delay, Delay: 40 * time.Minute, Count: 1}); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		do(t, lab, request(t, http.MethodPost, "https://aws.example/sessions", ""))
		if got, want := time.Since(start), 40*time.Minute; got != want {
			t.Errorf("a delayed call took %v, want %v", got, want)
		}

		for _, f := range []Fault{{Kind: Hang, Count: 1}, {Kind: Delay, Delay: time.Hour, Count: 1}} {
			if err := lab.AddFault(f); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			start = time.Now()
			_, err := lab.RoundTripper().RoundTrip(request(t, http.MethodPost, "https://aws.example/sessions", "").WithContext(ctx))
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 10*time.Second {
				t.Errorf("%s: got %v after %v, want the deadline's error after 10s", f.Kind, err, time.Since(start))
			}
		}
	})
}

func TestADroppedCallIsAConnectionReset(t *testing.T) {
	lab := newLab(t, Options{})
	if err := lab.AddFault(Fault{Kind: Drop}); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(lab)
	defer server.Close()
	overTCP := &http.Transport{}
	defer overTCP.CloseIdleConnections()
	for name, transport := range map[string]http.RoundTripper{"in process": lab.RoundTripper(), "over TCP": overTCP} {
		res, err := transport.RoundTrip(request(t, http.MethodPost, server.URL+"/sessions", ""))
		if err == nil {
			_ = res.Body.Close()
		}
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: got %v, want a connection reset", name, err)
		}
	}
	lab.ClearFaults()
	if res, _ := do(t, lab, request(t, http.MethodPost, server.URL+"/sessions", "")); res.StatusCode != http.StatusForbidden {
		t.Errorf("after the fault was cleared: status %d, want 403", res.StatusCode)
	}
}

func TestACallThatHangsEndsWithItsClient(t *testing.T) {
	lab := newLab(t, Options{})
	if err := lab.AddFault(Fault{Kind: Hang}); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(lab)
	defer server.Close() // would wait for the call
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	res, err := transport.RoundTrip(request(t, http.MethodPost, server.URL+"/sessions", "{}").WithContext(ctx))
	if err == nil {
		_ = res.Body.Close()
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the deadline's error", err)
	}
}

func TestControlsOverHTTP(t *testing.T) {
	lab := newLab(t, Options{})
	steps := []struct {
		name, method, path, body string
		wantStatus               int
		wantBody                 string
	}{
		{"a fault is set", "POST", "/_lab/faults", `{"kind":"throttle","count":1,"operation":"CreateSession"}`, 200, `{}`},
		{"the fault strikes", "POST", "/sessions", `{}`, 400, `{"message":"Rate exceeded"}`},
		{"calls are told, controls are not among them", "GET", "/_lab/calls", ``, 200, `{"rolesanywhere.CreateSession":1}`},
		{"calls start anew", "DELETE", "/_lab/calls", ``, 200, `{}`},
		{"and are gone", "GET", "/_lab/calls", ``, 200, `{}`},
		{"a delay is a duration", "POST", "/_lab/faults", `{"kind":"delay","delay":"1ms"}`, 200, `{}`},
		{"a delay that is none is refused", "POST", "/_lab/faults", `{"kind":"delay","delay":"soon"}`, 400, `{"message":"SerializationException: request body: time: invalid duration \"soon\""}`},
		{"an unknown member is refused", "POST", "/_lab/faults", `{"kind":"drop","often":true}`, 400, `{"message":"SerializationException: request body: unknown field \"often\""}`},
		{"faults are cleared", "DELETE", "/_lab/faults", ``, 200, `{}`},
		{"the clock is skewed", "POST", "/_lab/clock", `{"skew":"-10m"}`, 200, `{}`},
		{"sessions end", "DELETE", "/_lab/sessions", ``, 200, `{}`},
		{"a certificate is revoked", "POST", "/_lab/revocations", `{"serial":"15"}`, 200, `{}`},
		{"a serial is decimal", "POST", "/_lab/revocations", `{"serial":"0f"}`, 400, `{"message":"ValidationException: serial: must be decimal"}`},
		{"an operation is denied", "POST", "/_lab/denials", `{"operation":"GetSecretValue","secret":"db"}`, 200, `{}`},
		{"an operation that is none is refused", "POST", "/_lab/denials", `{"operation":"Get"}`, 400, `{"message":"ValidationException: operation: \"Get\" is none of Secrets Manager's, Parameter Store's or SQS's"}`},
		{"an operation of SQS is denied", "POST", "/_lab/denials", `{"operation":"sqs.ReceiveMessage"}`, 200, `{}`},
		{"a quota is set", "POST", "/_lab/quotas", `{"operation":"ssm.GetParameters","per_second":0.5}`, 200, `{}`},
		{"a quota of nothing is refused", "POST", "/_lab/quotas", `{"operation":"ssm.Get","per_second":1}`, 400, `{"message":"lab: quota of \"ssm.Get\": give a SERVICE.OPERATION that the lab plays, and no negative number"}`},
		{"the documented quotas are switched on", "POST", "/_lab/quotas", `{}`, 200, `{}`},
		{"throttled calls are counted", "GET", "/_lab/throttled", ``, 200, `{}`},
		{"reads may be stale", "POST", "/_lab/staleness", `{"for":"1s"}`, 200, `{}`},
		{"denials are taken back", "DELETE", "/_lab/denials", ``, 200, `{}`},
		{"another path is none", "GET", "/_lab/", ``, 404, `{"message":"no such control"}`},
	}
	for _, step := range steps {
		res, body := do(t, lab, request(t, step.method, "http://127.0.0.1"+step.path, step.body))
		if res.StatusCode != step.wantStatus || body != step.wantBody {
			t.Errorf("%s: got %d %s, want %d %s", step.name, res.StatusCode, body, step.wantStatus, step.wantBody)
		}
	}
	if got, want := time.Until(lab.now()).Round(time.Minute), -10*time.Minute; got != want {
		t.Errorf("skew = %v, want %v", got, want)
	}
}

func TestControlsAreForLoopbackAndNotForBrowsers(t *testing.T) {
	lab := newLab(t, Options{})
	tests := []struct {
		name, remote, contentType string
		want                      int
	}{
		{"loopback of IPv4", "127.0.0.1:5000", "application/json", 200},
		{"loopback of IPv6", "[::1]:5000", "application/json; charset=utf-8", 200},
		{"another machine", "192.0.2.7:5000", "application/json", 403},
		{"no address", "", "application/json", 403},
		{"a form on a web page", "127.0.0.1:5000", "text/plain", 415},
	}
	for _, test := range tests {
		r := httptest.NewRequest(http.MethodPost, "/_lab/faults", strings.NewReader(`{"kind":"drop"}`))
		r.RemoteAddr = test.remote
		r.Header.Set("Content-Type", test.contentType)
		w := httptest.NewRecorder()
		lab.ServeHTTP(w, r)
		if w.Code != test.want {
			t.Errorf("%s: status %d, want %d", test.name, w.Code, test.want)
		}
	}
}

func TestWriteLeavesKeysToTheirOwnerAlone(t *testing.T) {
	lab := newLab(t, Options{})
	dir := filepath.Join(t.TempDir(), "lab")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "private_key.pem"), []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	setup, err := lab.Write(dir)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, path := range []string{setup.Certificate, setup.PrivateKey, setup.CACertificate, setup.CAPrivateKey} {
		stat, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		got[filepath.Base(path)] = stat.Mode().String()
	}
	want := map[string]string{
		"certificate.pem": "-rw-r--r--", "private_key.pem": "-rw-------",
		"ca_certificate.pem": "-rw-r--r--", "ca_private_key.pem": "-rw-------",
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Error(diff)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 4 {
		t.Errorf("the folder holds %d entries (%v), want 4", len(entries), err)
	}
	files := Setup{Certificate: setup.Certificate, PrivateKey: setup.PrivateKey, CACertificate: setup.CACertificate, CAPrivateKey: setup.CAPrivateKey}
	rest := lab.Setup()
	files.Region, files.Account, files.TrustAnchor, files.Profile, files.Role = rest.Region, rest.Account, rest.TrustAnchor, rest.Profile, rest.Role
	files.AccessKeyID, files.SecretAccessKey = rest.AccessKeyID, rest.SecretAccessKey
	if setup != files {
		t.Error("Write returned other names than Setup")
	}
}

func TestAnImpossibleSessionDurationIsRefused(t *testing.T) {
	for _, d := range []time.Duration{-time.Hour, time.Millisecond, 13 * time.Hour} {
		if _, err := New(Options{SessionDuration: d}); err == nil {
			t.Errorf("New with a session duration of %v = nil, want an error", d)
		}
	}
}

func TestEveryControlIsInTheManual(t *testing.T) {
	code, err := os.ReadFile("control.go")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	var built, told []string
	for _, m := range regexp.MustCompile(`case "([A-Z]+) (\w+)":`).FindAllStringSubmatch(string(code), -1) {
		built = append(built, m[1]+" /_lab/"+m[2])
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Z]+ /_lab/\\w+)` \\|").FindAllStringSubmatch(string(page), -1) {
		told = append(told, m[1])
	}
	if diff := cmp.Diff(built, told); diff != "" || len(built) == 0 {
		t.Errorf("the lab's controls (-code +docs/operations.md):\n%s", diff)
	}
}

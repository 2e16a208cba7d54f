package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// answering is a transport that answers as an endpoint of AWS would.
type answering struct {
	date   time.Time
	issuer pkix.Name
	err    error
	seen   *http.Request
}

func (a *answering) RoundTrip(r *http.Request) (*http.Response, error) {
	a.seen = r
	if a.err != nil {
		return nil, a.err
	}
	res := &http.Response{StatusCode: http.StatusNotFound, Header: http.Header{}, Body: http.NoBody}
	if !a.date.IsZero() {
		res.Header.Set("Date", a.date.UTC().Format(http.TimeFormat))
	}
	if r.URL.Scheme == "https" {
		res.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{Issuer: a.issuer}}}
	}
	return res, nil
}

func TestEndpoint(t *testing.T) {
	const aws = "https://secretsmanager.eu-west-3.amazonaws.com"
	amazon := pkix.Name{Organization: []string{"Amazon"}, CommonName: "Amazon RSA 2048 M01"}
	proxied := func(*http.Request) (*url.URL, error) { return url.Parse("http://user:password@proxy:3128") }
	unresolved := errors.New("resolve")
	for name, test := range map[string]struct {
		url     string
		answer  answering
		proxy   func(*http.Request) (*url.URL, error)
		resolve error
		verdict Verdict
		wants   []string
	}{
		"AWS itself": {aws, answering{issuer: amazon}, nil, nil, OK, []string{"directly, certificate by Amazon"}},
		"through a proxy, which knows the name": {aws, answering{issuer: amazon}, proxied, unresolved, OK,
			[]string{"through the proxy proxy:3128, certificate by Amazon"}},
		"opened by somebody in between": {aws, answering{issuer: pkix.Name{Organization: []string{"Example Corp"}}}, proxied, nil, Warn,
			[]string{"certificate by Example Corp, which is not Amazon", "unopened"}},
		"another host than Amazon's": {"https://vault.internal", answering{issuer: pkix.Name{CommonName: "own CA"}}, nil, nil, OK,
			[]string{"certificate by own CA"}},
		"a loopback address": {"http://127.0.0.1:4566", answering{}, nil, unresolved, OK, []string{"directly"}},
		"a name that nobody knows": {aws, answering{}, nil, &net.DNSError{Err: "no such host", Name: "secretsmanager"}, Fail,
			[]string{"no such host", "check region and the name servers"}},
		"no route": {aws, answering{err: &net.OpError{Op: "dial", Err: errors.New("no route to host")}}, nil, nil, Fail,
			[]string{"no route to host", "check the route"}},
		"a proxy that refuses": {aws, answering{err: &net.OpError{Op: "proxyconnect", Err: errors.New("refused")}}, proxied, nil, Fail,
			[]string{"refused", "check HTTPS_PROXY"}},
		"a clock that is far off": {aws, answering{err: x509.CertificateInvalidError{Cert: &x509.Certificate{}, Reason: x509.Expired}}, nil, nil, Fail,
			[]string{"check this host's clock"}},
	} {
		t.Run(name, func(t *testing.T) {
			n := Network{
				Transport: &test.answer, Proxy: func(*http.Request) (*url.URL, error) { return nil, nil },
				Resolve: func(context.Context, string) error { return test.resolve },
			}
			if test.proxy != nil {
				n.Proxy = test.proxy
			}
			got := n.Look(t.Context(), test.url)
			if got.Verdict != test.verdict {
				t.Errorf("verdict %q, want %q: %s", got.Verdict, test.verdict, got.Finding)
			}
			for _, want := range test.wants {
				if !strings.Contains(got.String(), want) {
					t.Errorf("finding %q, want %q in it", got.Finding, want)
				}
			}
			if strings.Contains(got.String(), "password") {
				t.Errorf("finding %q shows the proxy's password", got.Finding)
			}
			if seen := test.answer.seen; seen != nil && (seen.Header.Get("Authorization") != "" || seen.Method != http.MethodGet) {
				t.Errorf("the endpoint was sent %s with %v, want a GET without credentials", seen.Method, seen.Header)
			}
		})
	}
}

func TestAnEndpointWhoseIssuerIsNotTrustedNamesIt(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	got := Network{}.Look(t.Context(), server.URL)
	for _, want := range []string{"issued by", "Acme Co", "aws.ca_bundle"} {
		if got.Verdict != Fail || !strings.Contains(got.String(), want) {
			t.Errorf("%s: %q, want fail and %q in it", got.Verdict, got.Finding, want)
		}
	}
}

func TestClock(t *testing.T) {
	at := func(skew time.Duration) Reach { return Reach{Dated: true, Skew: skew} }
	for name, test := range map[string]struct {
		reached []Reach
		verdict Verdict
		text    string
	}{
		"right":               {[]Reach{at(time.Second)}, OK, "as AWS's"},
		"behind":              {[]Reach{{}, at(10 * time.Minute)}, Warn, "10m0s behind AWS's"},
		"ahead":               {[]Reach{at(-2 * time.Hour)}, Warn, "2h0m0s ahead of AWS's"},
		"one endpoint is off": {[]Reach{at(time.Hour), at(0)}, OK, "as AWS's"},
		"nobody has said":     {[]Reach{{}}, Warn, "no endpoint has told the time"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Clock(test.reached); got.Verdict != test.verdict || !strings.Contains(got.Text, test.text) {
				t.Errorf("%s: %q, want %s: %q", got.Verdict, got, test.verdict, test.text)
			}
		})
	}
}

func TestTheDateOfACachedAnswerDoesNotCount(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/cached" {
			w.Header().Set("Age", "3600")
		}
		w.Header().Set("Date", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat))
	}))
	defer server.Close()
	if got := (Network{}).Look(t.Context(), server.URL+"/cached"); got.Dated {
		t.Errorf("a cached answer dates this host's clock %v off", got.Skew)
	}
	if got := (Network{}).Look(t.Context(), server.URL); !got.Dated || (got.Skew+time.Hour).Abs() > time.Minute {
		t.Errorf("skew %v (dated %t), want an hour behind", got.Skew, got.Dated)
	}
}

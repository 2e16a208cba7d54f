package session_test

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"outrider/session"
)

// canary stands in for a secret in answers that are wrong in some way.
const canary = "wJalrXUtnFEMIcanary"

func answer(status int, header http.Header, body string) roundTrip {
	return func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(body))}, nil
	}
}

func credentials(expires time.Time, without string) string {
	body := fmt.Sprintf(`{"credentialSet":[{"credentials":{"accessKeyId":"ASIA","secretAccessKey":%q,"sessionToken":%q,"expiration":%q}}]}`,
		canary, canary, expires.Format(time.RFC3339))
	return strings.Replace(body, `"`+without+`"`, `"other"`, 1)
}

func TestAnswersThatAreNoSession(t *testing.T) {
	html := http.Header{"Content-Type": {"text/html; charset=utf-8"}}
	js := http.Header{"Content-Type": {"application/json"}}
	later := time.Now().Add(time.Hour)
	const page = "<html>Please log in " + canary + "</html>"
	tests := map[string]struct {
		answer    roundTrip
		want      string // of the text
		permanent bool
	}{
		"a captive portal's page":            {answer: answer(200, html, page), want: "the answer is text/html, not IAM Roles Anywhere's JSON (HTTP 200); look for a captive portal"},
		"a captive portal's redirect":        {answer: answer(302, http.Header{"Location": {"http://portal.test/" + canary}}, ""), want: "(HTTP 302); look for a captive portal"},
		"a firewall's page":                  {answer: answer(403, html, page), want: "text/html, not IAM Roles Anywhere's JSON (HTTP 403); look for"},
		"a proxy that wants a password":      {answer: answer(407, html, page), want: "HTTPS_PROXY"},
		"a load balancer's page":             {answer: answer(503, html, page), want: "text/html, not IAM Roles Anywhere's JSON (HTTP 503)"},
		"a bare 429":                         {answer: answer(429, js, `{"message":"Too Many Requests"}`), want: "Too Many Requests (HTTP 429); AWS takes 10"},
		"an empty 201":                       {answer: answer(201, js, ""), want: "the answer holds no credentials (HTTP 201)"},
		"an empty object":                    {answer: answer(201, js, "{}"), want: "the answer holds no credentials"},
		"an empty set":                       {answer: answer(201, js, `{"credentialSet":[]}`), want: "the answer holds no credentials"},
		"a set without credentials":          {answer: answer(201, js, `{"credentialSet":[{}]}`), want: "the answer holds no credentials"},
		"no access key id":                   {answer: answer(201, js, credentials(later, "accessKeyId")), want: "the answer lacks accessKeyId"},
		"no secret key":                      {answer: answer(201, js, credentials(later, "secretAccessKey")), want: "the answer lacks secretAccessKey"},
		"no token":                           {answer: answer(201, js, credentials(later, "sessionToken")), want: "the answer lacks sessionToken"},
		"no expiration":                      {answer: answer(201, js, credentials(later, "expiration")), want: "the answer lacks expiration"},
		"an expiration that is none":         {answer: answer(201, js, strings.Replace(credentials(later, ""), later.Format(time.RFC3339), canary, 1)), want: "expiration is not a time"},
		"an expiration in the past":          {answer: answer(201, js, credentials(time.Now().Add(-time.Second), "")), want: "has expired already"},
		"JSON of another shape":              {answer: answer(201, js, `["`+canary+`"]`), want: "not IAM Roles Anywhere's JSON"},
		"JSON with a member of another kind": {answer: answer(201, js, `{"credentialSet":"`+canary+`"}`), want: "not IAM Roles Anywhere's JSON"},
		"an answer that never ends":          {answer: endless(), want: "not IAM Roles Anywhere's JSON"},
		"an answer that breaks off":          {answer: broken(), want: "connection reset"},
		"a code in the body":                 {answer: answer(403, js, `{"__type":"aws#AccessDeniedException","Message":"Access Denied"}`), want: "AccessDeniedException: Access Denied (HTTP 403)", permanent: true},
		"a code without a text":              {answer: answer(404, http.Header{"X-Amzn-Errortype": {"ResourceNotFoundException:http://x"}}, ""), want: "ResourceNotFoundException: ", permanent: true},
		"a text with control characters": {
			answer:    answer(403, js, `{"__type":"AccessDeniedException","Message":"line\nbreak\u001b[31m`+strings.Repeat("x", 5000)+`"}`),
			want:      "AccessDeniedException: line break [31mxxx",
			permanent: true,
		},
	}
	role := session.Role{Region: "us-east-1", TrustAnchor: "arn:ta", Profile: "arn:p", Role: "arn:r"}
	id := stranger(t)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			e := refused(t, &session.Client{Transport: test.answer}, role, id)
			if !strings.Contains(e.Error(), test.want) {
				t.Errorf("got %q, want it to contain %q", e, test.want)
			}
			if strings.Contains(fmt.Sprintf("%s %+v %#v", e, e, e), canary) {
				t.Errorf("the error shows what the answer held")
			}
			if e.Temporary() == test.permanent {
				t.Errorf("temporary: got %t, want %t", e.Temporary(), !test.permanent)
			}
		})
	}
}

// endless is an answer that fills any memory that is given it.
func endless() roundTrip {
	return func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusCreated, Header: http.Header{}, Body: io.NopCloser(io.MultiReader(strings.NewReader(`{"a":"`), spaces{}))}, nil
	}
}

type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func broken() roundTrip {
	return func(*http.Request) (*http.Response, error) {
		rest, w := io.Pipe()
		w.CloseWithError(errors.New("connection reset"))
		return &http.Response{StatusCode: http.StatusCreated, Header: http.Header{}, Body: io.NopCloser(io.MultiReader(strings.NewReader(`{"a":`), rest))}, nil
	}
}

func TestABodyThatHangsIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &session.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			body, w := io.Pipe()
			go func() {
				<-r.Context().Done()
				w.CloseWithError(r.Context().Err())
			}()
			return &http.Response{StatusCode: http.StatusCreated, Header: http.Header{}, Body: body}, nil
		})}
		begun := time.Now()
		e := refused(t, c, session.Role{Region: "us-east-1", TrustAnchor: "arn:t", Profile: "arn:p", Role: "arn:r"}, stranger(t))
		if got := time.Since(begun); got != 10*time.Second || !strings.Contains(e.Message, "no answer within 10s") {
			t.Errorf("got %v after %s", e, got)
		}
	})
}

func TestNetworkErrorsComeWithTheRemedy(t *testing.T) {
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	unknown := httptest.NewTLSServer(http.NotFoundHandler())
	unknown.Config.ErrorLog = log.New(io.Discard, "", 0)
	defer unknown.Close()
	proxy, err := url.Parse("http://user:" + canary + "@" + strings.TrimPrefix(closed.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	fail := func(err error) http.RoundTripper {
		return roundTrip(func(*http.Request) (*http.Response, error) { return nil, err })
	}
	wrapped := &url.Error{Op: "Post", URL: "https://aws.test/sessions?profileArn=arn:p", Err: errors.New("EOF")}
	tests := map[string]struct {
		endpoint  string
		transport http.RoundTripper
		want      string
		remedy    string
	}{
		"nobody listens":             {endpoint: closed.URL, transport: &http.Transport{}, want: "connection refused", remedy: "check the route, the firewall and HTTPS_PROXY"},
		"an unknown authority":       {endpoint: unknown.URL, transport: &http.Transport{}, want: "unknown authority", remedy: "add its CA to the system's roots"},
		"a proxy that is not there":  {transport: &http.Transport{Proxy: http.ProxyURL(proxy)}, want: "proxyconnect", remedy: "check HTTPS_PROXY and NO_PROXY"},
		"a name that does not exist": {transport: fail(&net.DNSError{Err: "no such host", Name: "aws.test", IsNotFound: true}), want: "no such host", remedy: "check region and the name servers"},
		"a certificate of later":     {transport: fail(x509.CertificateInvalidError{Cert: &x509.Certificate{}, Reason: x509.Expired}), want: "expired", remedy: "check this host's clock"},
		"a proxy's malformed URL":    {transport: fail(fmt.Errorf("invalid proxy address %q", "http://user:a@"+canary+"@proxy:x")), want: `"http://proxy:x"`},
		"a URL in the cause":         {transport: fail(wrapped), want: "EOF"},
	}
	id := stranger(t)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			role := session.Role{Region: "us-east-1", TrustAnchor: "arn:t", Profile: "arn:p", Role: "arn:r", Endpoint: test.endpoint}
			e := refused(t, &session.Client{Transport: test.transport}, role, id)
			if e.Status != 0 || !e.Temporary() || e.Unwrap() == nil || !strings.Contains(e.Message, test.want) {
				t.Errorf("got %v, status %d, temporary %t; want %q", e, e.Status, e.Temporary(), test.want)
			}
			if !strings.Contains(e.Remedy, test.remedy) || (e.Remedy == "") != (test.remedy == "") {
				t.Errorf("remedy: got %q, want it to contain %q", e.Remedy, test.remedy)
			}
			if strings.Contains(e.Error(), canary) {
				t.Error("the error shows a proxy's password")
			}
		})
	}
}

func TestARequestThatCannotBeMadeIsAnError(t *testing.T) {
	c := &session.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		t.Errorf("sent to %q", r.URL.Host)
		return nil, errors.New("sent")
	})}
	id := stranger(t)
	good := session.Role{Region: "us-east-1", TrustAnchor: "arn:t", Profile: "arn:p", Role: "arn:r"}
	for name, spoil := range map[string]func(*session.Role){
		"a malformed endpoint": func(r *session.Role) { r.Endpoint = "https://a b/" },
		"a malformed region":   func(r *session.Role) { r.Region = "a b" },
	} {
		t.Run(name, func(t *testing.T) {
			role := good
			spoil(&role)
			if _, err := c.Create(t.Context(), role, id); !errors.As(err, new(*session.Error)) {
				t.Errorf("got %v, want a *session.Error", err)
			}
		})
	}
}

func TestDeniedIsWhatSomebodyHasDecided(t *testing.T) {
	tests := map[string]struct {
		e    session.Error
		want bool
	}{
		"a revoked certificate":             {session.Error{Status: 403, Code: "AccessDeniedException", Message: "Certificate revoked"}, true},
		"a certificate that is not trusted": {session.Error{Status: 403, Code: "AccessDeniedException", Message: "Untrusted signing certificate"}, true},
		"a role that is not for it":         {session.Error{Status: 403, Code: "AccessDeniedException", Message: "Unable to assume role for arn:r"}, true},
		"a role further on":                 {session.Error{Status: 403, Code: "AccessDenied", Message: "User: x is not authorized"}, true},
		"a session that is too long":        {session.Error{Status: 403, Code: "AccessDeniedException", Message: "Unable to assume role for arn:r: exceeds its MaxSessionDuration"}, false},
		"a signature broken on the way":     {session.Error{Status: 403, Code: "AccessDeniedException", Message: "Invalid signature"}, false},
		"a firewall's page":                 {session.Error{Status: 403, Message: "the answer is text/html"}, false},
		"throttling":                        {session.Error{Status: 400, Code: "ThrottlingException"}, false},
		"no answer":                         {session.Error{Err: io.EOF}, false},
	}
	for name, test := range tests {
		if got := test.e.Denied(); got != test.want || got && test.e.Temporary() {
			t.Errorf("%s: denied %v, want %v; temporary %v", name, got, test.want, test.e.Temporary())
		}
	}
}

package session_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"outrider/internal/pkitest"
	"outrider/session"
	"outrider/signer"
)

// answers gives the same answer to everything.
type answers struct {
	status int
	kind   string
	body   []byte
}

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: a.status, Request: r, Body: io.NopCloser(bytes.NewReader(a.body)),
		Header: http.Header{"Content-Type": {a.kind}, "X-Amzn-Errortype": {a.kind}},
	}, nil
}

// FuzzAnswer gives Create what may come in AWS's place: from a proxy, a
// captive portal, or cut short. It is a whole session or an error of one line.
func FuzzAnswer(f *testing.F) {
	leaf := pkitest.NewRoot(f, "root").Leaf(f, pkitest.Options{})
	id, err := signer.Parse(leaf.Certificate, nil, leaf.PrivateKey)
	if err != nil {
		f.Fatal(err)
	}
	role := session.Role{
		Region: "eu-west-3", Role: "arn:aws:iam::111122223333:role/billing",
		TrustAnchor: "arn:aws:rolesanywhere:eu-west-3:111122223333:trust-anchor/a", Profile: "arn:aws:rolesanywhere:eu-west-3:111122223333:profile/p",
	}
	const whole = `{"credentialSet":[{"credentials":{"accessKeyId":"ASIAX","secretAccessKey":"s","sessionToken":"t","expiration":"2126-01-02T03:04:05Z"}}]}`
	f.Add(201, "application/json", []byte(whole))
	f.Add(201, "application/json", []byte(whole[:60]))
	f.Add(201, "application/json", []byte(`{"credentialSet":[]}`))
	f.Add(201, "application/json", []byte(`{"credentialSet":[{"credentials":{"expiration":"yesterday"}}]}`))
	f.Add(201, "", []byte{})
	f.Add(200, "text/html; charset=x", []byte("<html>log in\n</html>"))
	f.Add(403, "AccessDeniedException:http://internal/", []byte(`{"message":"Untrusted\u001b[31m certificate"}`))
	f.Add(429, "application/json", []byte(`{"__type":"ThrottlingException","message":null}`))
	f.Add(500, "application/x-amz-json-1.1", []byte(`[1e999]`))
	f.Fuzz(func(t *testing.T, status int, kind string, body []byte) {
		if status < 200 || status > 999 {
			return // the transport has dealt with these
		}
		s, err := (&session.Client{Transport: answers{status, kind, body}}).Create(t.Context(), role, id)
		checkOutcome(t, s, err)
	})
}

// checkOutcome wants a whole session, or an error of one line.
func checkOutcome(t *testing.T, s session.Session, err error) {
	t.Helper()
	if err == nil {
		if s.AccessKeyID == "" || s.SecretAccessKey.Len() == 0 || s.SessionToken.Len() == 0 || s.Expires.IsZero() {
			t.Error("got a session that is not whole")
		}
		return
	}
	_, known := errors.AsType[*session.Error](err)
	if text := err.Error(); !known || strings.ContainsAny(text, "\n\r\x1b") || len(text) > 3000 {
		t.Errorf("got %T %q, want a *session.Error of one short line", err, text)
	}
}

// FuzzAssume gives Assume what may come in the place of STS, which answers in
// XML.
func FuzzAssume(f *testing.F) {
	const whole = `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials><AccessKeyId>ASIAX</AccessKeyId>` +
		`<SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>2126-01-02T03:04:05Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`
	f.Add(200, "text/xml", []byte(whole))
	f.Add(200, "text/xml", []byte(whole[:200]))
	f.Add(200, "text/xml", []byte(strings.Replace(whole, "2126", "soon", 1)))
	f.Add(200, "text/html", []byte("<html>log in<br></html>"))
	f.Add(200, "", []byte{})
	f.Add(403, "text/xml", []byte("<ErrorResponse><Error><Code>AccessDenied</Code><Message>not\nauthorized &#x202e;</Message></Error><RequestId>r</RequestId></ErrorResponse>"))
	f.Add(503, "text/xml", []byte(`<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>`))
	f.Fuzz(func(t *testing.T, status int, kind string, body []byte) {
		if status < 200 || status > 999 {
			return // the transport has dealt with these
		}
		role := session.Chained{Region: "eu-west-3", Role: "arn:aws:iam::444455556666:role/other", Name: "web-01"}
		s, err := (&session.Client{Transport: answers{status, kind, body}}).Assume(t.Context(), role, session.Session{Expires: time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)})
		checkOutcome(t, s, err)
	})
}

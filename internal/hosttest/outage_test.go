package hosttest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"outrider/awslab"
)

// served configures one role that every endpoint serves, and returns their
// addresses.
func (h *host) served() (container, imds string) {
	h.t.Helper()
	container, imds = h.free(), h.free()
	h.configure(`
identities: {host: {certificate: host.pem, private_key: host.key}}
roles: {billing: {${LAB}, token: {file: billing.token}}}
listen: {admin: "unix:outrider.sock", credentials: "` + container + `", imds: {address: "` + imds + `", role: billing}}
`)
	return container, imds
}

// away makes AWS go wrong until ClearFaults.
func (h *host) away(kind awslab.FaultKind) {
	h.t.Helper()
	if err := h.lab.AddFault(awslab.Fault{Kind: kind}); err != nil {
		h.t.Fatal(err)
	}
}

// endpoints returns one client of each endpoint, when there is a token.
func (h *host) endpoints(container, imds string) map[string]ask {
	h.t.Helper()
	return map[string]ask{
		"container": h.client(container, "", containerRequest(h.checkToken("billing.token"))),
		"imds":      h.client(imds, imdsOpening, imdsRequest),
	}
}

// refused checks an answer without a session: 503, in the form of which SDKs
// show the message, with the cause.
func refused(t *testing.T, name string, err error, cause string) {
	t.Helper()
	refusal, ok := errors.AsType[*refusedError](err)
	var body struct{ Code, Message string }
	if !ok || json.Unmarshal([]byte(refusal.body), &body) != nil || refusal.status != http.StatusServiceUnavailable ||
		body.Code != "NoSession" || !strings.Contains(body.Message, cause) {
		t.Errorf("%s answers %v, want 503 with NoSession and %q", name, err, cause)
	}
}

// TestNobodyGetsAnExpiredSession has AWS go away until the session has ended,
// and then a thousand clients wait for it to come back.
func TestNobodyGetsAnExpiredSession(t *testing.T) {
	h := newHost(t, awslab.Options{SessionDuration: 4 * time.Second})
	container, imds := h.served()
	s := h.start()
	h.await("billing")
	for name, ask := range h.endpoints(container, imds) {
		eventually(t, "a session at the endpoint "+name, func() error { _, err := ask(); return err })
	}
	h.away(awslab.Drop)
	const cause = "connection reset by peer"
	for name, ask := range h.endpoints(container, imds) {
		var refusal error
		eventually(t, "the end of the session at the endpoint "+name, func() error {
			asked := time.Now()
			var body []byte
			if body, refusal = ask(); refusal == nil {
				if _, err := h.parse(body, asked); err != nil {
					t.Fatal(err)
				}
				return errors.New("it still gives one")
			}
			if !strings.Contains(refusal.Error(), cause) { // the attempt under way has not ended yet
				return refusal
			}
			return nil
		})
		refused(t, name, refusal, cause)
	}
	h.failsWith(cause, "credentials", "billing")

	began := time.Now()
	h.lab.ClearFaults()
	h.lab.ResetCalls()
	c := &crowd{h: h, seen: map[string]string{}}
	c.connect(container, "", containerRequest(h.checkToken("billing.token")))
	eventually(t, "a session for a thousand clients", func() error {
		err := c.wave()
		if refusal, ok := errors.AsType[*refusedError](err); err != nil && (!ok || refusal.status != http.StatusServiceUnavailable) {
			t.Fatal(err)
		}
		return err
	})
	// It is renewed after 1.6 s at the soonest, however long the clients took.
	if got, most := h.lab.Calls()["rolesanywhere.CreateSession"], 1+int(time.Since(began)/(1600*time.Millisecond)); got > most {
		t.Errorf("a thousand clients that met the end of a session made %d sessions, want %d at most", got, most)
	}
	s.stop()
	h.away(awslab.Drop)
	h.failsWith(cause, "credentials", "billing")
}

// failsWith runs a command that must end with 1, print nothing, and give the
// cause in one line.
func (h *host) failsWith(cause string, args ...string) {
	h.t.Helper()
	out, failure, code := h.run(args...)
	if code != 1 || out != "" || strings.Count(failure, "\n") != 1 || !strings.Contains(failure, cause) {
		h.t.Errorf("outrider %q ended with %d, %d bytes and %q; want 1, none, and one line with %q", args, code, len(out), failure, cause)
	}
}

// The clients wait for a second or two, and AWS may take longer.
func TestEndpointsAnswerAtOnceWhileTheFirstSessionIsBeingOpened(t *testing.T) {
	h := newHost(t, awslab.Options{})
	container, imds := h.served()
	h.away(awslab.Hang)
	h.start()
	for name, ask := range h.endpoints(container, imds) {
		eventually(t, "the endpoint "+name, func() error {
			began := time.Now()
			_, err := ask()
			took := time.Since(began)
			if _, ok := errors.AsType[*refusedError](err); !ok {
				return err // it does not listen yet
			}
			refused(t, name, err, "no session yet")
			if took > 2*time.Second { // on a busy machine, now and then
				return fmt.Errorf("it answers after %v", took)
			}
			return nil
		})
	}
}

package hosttest

import (
	"slices"
	"testing"
	"time"

	"outrider/awslab"
)

// TestCredentialsAskTheSidecarAndNotAWS also says how long an answer takes,
// from the start of the process to its end.
func TestCredentialsAskTheSidecarAndNotAWS(t *testing.T) {
	h := newHost(t, awslab.Options{})
	h.configure(`
identities: {host: {certificate: host.pem, private_key: host.key}}
roles: {billing: {${LAB}}}
listen: {admin: "unix:outrider.sock"}
`)
	s := h.start()
	h.await("billing")
	h.lab.ResetCalls()
	took := make([]time.Duration, 50)
	ids := map[string]bool{}
	for i := range took {
		began := time.Now()
		out := h.must("credentials", "billing")
		took[i] = time.Since(began)
		k, err := h.parse([]byte(out), began)
		if err != nil {
			t.Fatal(err)
		}
		ids[k.AccessKeyID] = true
	}
	if calls := h.lab.Calls(); len(calls) != 0 || len(ids) != 1 {
		t.Errorf("AWS was asked for %v, and %d sessions were handed out; want one, and AWS left alone", calls, len(ids))
	}
	slices.Sort(took)
	t.Logf("outrider credentials: median %v, least %v, most %v", took[len(took)/2], took[0], took[len(took)-1])
	s.stop()

	k := h.credentials("billing")
	if ids[k.AccessKeyID] || h.lab.Calls()["rolesanywhere.CreateSession"] != 1 {
		t.Errorf("without a sidecar AWS was asked for %v; want a session of its own", h.lab.Calls())
	}
	if _, err := h.caller(k); err != nil {
		t.Error(err)
	}
}

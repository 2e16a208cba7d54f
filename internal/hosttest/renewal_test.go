package hosttest

import (
	"crypto/elliptic"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"outrider/awslab"
	"outrider/internal/pkitest"
)

// renewal is an identity that is replaced while the sidecar runs, in one step
// or, when first is set, in two between which the set on disk is wrong.
type renewal struct {
	config     string
	old, new   *x509.Certificate
	key        string // its kind, afterwards
	first      func() // leaves a set that is wrong
	last       func()
	accessKeys string // of the session when the first step was done
}

// renewals puts identities onto the host and says how each will be renewed.
func (h *host) renewals() map[string]*renewal {
	t := h.t
	rsa, ec := pkitest.RSA(t, 2048), pkitest.ECDSA(t, elliptic.P256())
	before, after := h.ca.Leaf(t, pkitest.Options{Key: rsa}), h.ca.Leaf(t, pkitest.Options{Key: ec})
	all := map[string]*renewal{}
	for _, name := range []string{"certificate-first", "key-first"} {
		r := &renewal{
			config: fmt.Sprintf("certificate: %[1]s.pem, private_key: %[1]s.key", name), old: before.Parsed, new: after.Parsed, key: "ECDSA P-256",
			first: func() { h.write(name+".pem", after.Certificate) },
			last:  func() { h.write(name+".key", after.PrivateKey) },
		}
		if name == "key-first" {
			r.first, r.last = r.last, r.first
		}
		h.write(name+".pem", before.Certificate)
		h.write(name+".key", before.PrivateKey)
		all[name] = r
	}

	exported := &renewal{config: "pkcs12: host.p12, password_file: pass", key: "ECDSA P-384", old: h.exported("host.p12", rsa)}
	exported.last = func() { exported.new = h.exported("host.p12", pkitest.ECDSA(t, elliptic.P384())) }
	all["pkcs12"] = exported

	tpm := pkitest.NewTPM(t)
	public := tpm.Persist(t, "0x81000001", "-G", "ecc256")
	stays := &renewal{
		config: fmt.Sprintf("certificate: tpm.pem, private_key: %q", "tpm2:0x81000001?device=unix:"+tpm.Socket),
		key:    "ECDSA P-256", old: h.certified("tpm.pem", public),
	}
	stays.last = func() { stays.new = h.certified("tpm.pem", public) }
	all["tpm2"] = stays

	api := pkitest.NewWorkloadAPI(t)
	api.Push(pkitest.NewSVID(t, "spiffe://example.org/billing", before))
	all["spiffe"] = &renewal{
		config: "spiffe: unix://" + api.Socket, key: "ECDSA P-256", old: before.Parsed, new: after.Parsed,
		last: func() { api.Push(pkitest.NewSVID(t, "spiffe://example.org/billing", after)) },
	}
	return all
}

func TestIdentitiesAreRenewedWithoutARestart(t *testing.T) {
	h := newHost(t, awslab.Options{SessionDuration: 10 * time.Second})
	all := h.renewals()
	kinds := map[string]kept{}
	var names []string
	for name, r := range all {
		kinds[name] = kept{config: r.config}
		names = append(names, name)
	}
	h.configureAll(kinds, "")
	s := h.start()
	h.await(names...)
	for name, r := range all {
		if err := h.openedBy(name, r.old); err != nil {
			t.Error(err)
		}
		if r.first != nil {
			r.first()
		}
	}
	// Sessions are renewed with the old set for as long as the one on disk is
	// wrong: that takes some seconds.
	for name, r := range all {
		if r.first != nil {
			h.goesOn(name, r)
		}
	}
	for name, r := range all {
		r.last()
		eventually(t, "identity "+name+" taken up", func() error { return h.took(name, r) })
	}
	for name, r := range all {
		eventually(t, "a session of the new "+name, func() error { return h.openedBy(name, r.new) })
	}
	if log := s.stop(); strings.Contains(log, "session not opened") {
		t.Errorf("a session was not opened meanwhile:\n%s", log)
	}
}

// goesOn waits until status says what is wrong with the set on disk, and then
// for a session that is opened with the old one.
func (h *host) goesOn(name string, r *renewal) {
	h.t.Helper()
	eventually(h.t, "an error of identity "+name, func() error {
		s, err := h.status()
		i := s.Identities[name]
		switch {
		case err != nil:
			return err
		case !strings.Contains(i.Error, "does not belong to the certificate"):
			return fmt.Errorf("status says %q", i.Error)
		case i.SerialHex != hexSerial(r.old):
			h.t.Errorf("identity %s: %s was taken up, which does not fit its key", name, i.SerialHex)
		}
		r.accessKeys = s.Roles[name].AccessKeyID
		return nil
	})
	eventually(h.t, "a session of the old "+name, func() error {
		s, err := h.status()
		if err == nil && s.Roles[name].AccessKeyID == r.accessKeys {
			err = errors.New("it is the one before")
		}
		return err
	})
	if err := h.openedBy(name, r.old); err != nil {
		h.t.Error(err)
	}
}

// took says why the new identity does not count as taken up.
func (h *host) took(name string, r *renewal) error {
	s, err := h.status()
	if err != nil {
		return err
	}
	if i := s.Identities[name]; i.SerialHex != hexSerial(r.new) || i.Key != r.key || i.Error != "" {
		return fmt.Errorf("status says %+v", i)
	}
	return nil
}

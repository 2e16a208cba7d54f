package hosttest

import (
	"crypto"
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"outrider/awslab"
	"outrider/internal/pkitest"
)

// kept is one identity of a host: where its key lives, and what the
// configuration says of it.
type kept struct {
	place, key string
	config     string
	leaf       *x509.Certificate
}

// named gives a certificate alternative names, which check and status show.
func named(c *x509.Certificate) {
	c.DNSNames = []string{"web-01.example.org"}
	c.URIs = []*url.URL{{Scheme: "spiffe", Host: "example.org", Path: "/billing"}}
}

// nameless takes away the subject, which CreateSession needs.
func nameless(c *x509.Certificate) { c.Subject = pkix.Name{} }

// encrypted puts a key under the password.
func (h *host) encrypted(name string, key crypto.Signer) *x509.Certificate {
	h.t.Helper()
	leaf := h.ca.Leaf(h.t, pkitest.Options{Key: key, Edit: named})
	h.write(name+".pem", leaf.Certificate)
	h.write(name+".plain", leaf.PrivateKey)
	pkitest.Run(h.t, "openssl", "pkcs8", "-topk8", "-in", h.path(name+".plain"), "-out", h.path(name+".key"), "-passout", "pass:"+password)
	return leaf.Parsed
}

// exported puts certificate, chain and key into a PKCS#12 file.
func (h *host) exported(name string, key crypto.Signer) *x509.Certificate {
	h.t.Helper()
	middle := h.ca.Intermediate(h.t, "intermediate")
	leaf := middle.Leaf(h.t, pkitest.Options{Key: key, Edit: named})
	h.write(name+".both", slices.Concat(leaf.Certificate, leaf.PrivateKey, pkitest.CertificatePEM(middle.Certificate)))
	pkitest.Run(h.t, "openssl", "pkcs12", "-export", "-in", h.path(name+".both"), "-out", h.path(name+".new"), "-passout", "pass:"+password)
	if err := os.Rename(h.path(name+".new"), h.path(name)); err != nil {
		h.t.Fatal(err)
	}
	return leaf.Parsed
}

// certified writes a certificate for a public key.
func (h *host) certified(name string, public crypto.PublicKey) *x509.Certificate {
	h.t.Helper()
	leaf := h.ca.Leaf(h.t, pkitest.Options{Public: public, Edit: named})
	h.write(name, leaf.Certificate)
	return leaf.Parsed
}

// keepAll puts an identity of each kind that the static binary knows onto the
// host.
func (h *host) keepAll() map[string]kept {
	t := h.t
	t.Helper()
	all := map[string]kept{
		"encrypted": {"file", "RSA-2048", "certificate: encrypted.pem, private_key: encrypted.key, password_file: pass", h.encrypted("encrypted", pkitest.RSA(t, 2048))},
		"pkcs12":    {"file", "ECDSA P-384", "pkcs12: host.p12, password_file: pass", h.exported("host.p12", pkitest.ECDSA(t, elliptic.P384()))},
	}
	tpm := pkitest.NewTPM(t)
	tss2, public := tpm.KeyFile(t, password, "-algorithm", "EC", "-pkeyopt", "group:P-256")
	all["tpm2"] = kept{"tpm2", "ECDSA P-256", fmt.Sprintf("certificate: tpm.pem, private_key: %q, password_file: pass", "tpm2:"+tss2+"?device=unix:"+tpm.Socket), h.certified("tpm.pem", public)}
	public = tpm.Persist(t, "0x81000001", "-G", "rsa2048")
	all["handle"] = kept{"tpm2", "RSA-2048", fmt.Sprintf("certificate: handle.pem, private_key: %q", "tpm2:0x81000001?device=unix:"+tpm.Socket), h.certified("handle.pem", public)}

	api := pkitest.NewWorkloadAPI(t)
	svid := h.ca.Leaf(t, pkitest.Options{Edit: named})
	api.Push(pkitest.NewSVID(t, "spiffe://example.org/billing", svid))
	all["spiffe"] = kept{"spiffe", "ECDSA P-256", "spiffe: unix://" + api.Socket, svid.Parsed}

	leaf := h.ca.Leaf(t, pkitest.Options{Edit: named})
	if err := os.Mkdir(h.path("credentials"), 0o700); err != nil {
		t.Fatal(err)
	}
	h.write("credentials/leaf", leaf.Certificate)
	h.write("credentials/key", leaf.PrivateKey)
	h.env = append(h.env, "CREDENTIALS_DIRECTORY="+h.path("credentials"))
	all["systemd"] = kept{"file", "ECDSA P-256", "certificate: credential:leaf, private_key: credential:key", leaf.Parsed}
	return all
}

// configureAll writes a configuration with a role for each identity.
func (h *host) configureAll(all map[string]kept, more string) {
	var identities, roles strings.Builder
	for name, k := range all {
		fmt.Fprintf(&identities, "  %s: {%s}\n", name, k.config)
		fmt.Fprintf(&roles, "  %s: {identity: %s, ${LAB}}\n", name, name)
	}
	h.configure("identities:\n" + identities.String() + "roles:\n" + roles.String() + "listen: {admin: \"unix:outrider.sock\"}\n" + more)
}

func TestIdentitiesOfEveryKindOpenSessions(t *testing.T) {
	h := newHost(t, awslab.Options{})
	all := h.keepAll()
	h.configureAll(all, "")
	checked := h.must("check")
	for name, k := range all {
		checkLine(t, checked, name, k)
	}
	h.start()
	h.await("encrypted", "pkcs12", "tpm2", "handle", "spiffe", "systemd")
	table := h.must("status")
	for name, k := range all {
		if err := h.openedBy(name, k.leaf); err != nil {
			t.Error(err)
		}
		h.checkStatus(name, k)
		checkTable(t, table, name, k)
	}
}

// checkLine looks for all that check has to say of an identity.
func checkLine(t *testing.T, checked, name string, k kept) {
	t.Helper()
	for line := range strings.Lines(checked) {
		if !strings.HasPrefix(line, "ok    identity "+name+": ") {
			continue
		}
		wanted(t, line, "CN=web-01", "issuer "+k.leaf.Issuer.String(), "serial "+k.leaf.SerialNumber.String(), "hex "+hexSerial(k.leaf),
			k.key+" in "+k.place, "0 days left", "SAN web-01.example.org spiffe://example.org/billing")
		return
	}
	t.Errorf("check does not say that identity %s is right:\n%s", name, checked)
}

// checkTable looks for all that status has to say of an identity.
func checkTable(t *testing.T, table, name string, k kept) {
	t.Helper()
	_, after, found := strings.Cut(table, "\n"+name+" ")
	if !found {
		t.Errorf("status does not have %s:\n%s", name, table)
	}
	// As far as the next row that starts at the margin.
	part := after[:strings.Index(after, "\n")+1]
	for line := range strings.Lines(after[len(part):]) {
		if !strings.HasPrefix(line, " ") {
			break
		}
		part += line
	}
	wanted(t, part, "CN=web-01", k.leaf.Issuer.String(), k.leaf.SerialNumber.String(), hexSerial(k.leaf),
		k.key, k.place, "in 2", "web-01.example.org", "spiffe://example.org/billing")
}

func wanted(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in %q", part, text)
		}
	}
}

// checkStatus compares what status --json says of an identity.
func (h *host) checkStatus(name string, k kept) {
	h.t.Helper()
	s, err := h.status()
	if err != nil {
		h.t.Fatal(err)
	}
	got := s.Identities[name]
	if got.Subject != "CN=web-01" || got.Issuer != k.leaf.Issuer.String() || got.Serial != k.leaf.SerialNumber.String() || got.SerialHex != hexSerial(k.leaf) ||
		got.Key != k.key || got.Place != k.place || got.Error != "" || got.NotAfter == nil || !got.NotAfter.Equal(k.leaf.NotAfter) ||
		!slices.Equal(got.SAN, []string{"web-01.example.org", "spiffe://example.org/billing"}) {
		h.t.Errorf("identity %s: status says %+v", name, got)
	}
}

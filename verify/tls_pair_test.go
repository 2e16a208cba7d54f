package verify

import (
	"bytes"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"testing"
	"time"

	"outrider/internal/pkitest"
	"outrider/render"
	"outrider/secret"
)

func TestTLSPair(t *testing.T) {
	template := func(text string) *render.Template {
		parsed, err := render.Parse("tls_pair", text, []string{"tls"})
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	root := pkitest.NewRoot(t, "root")
	ca := root.Intermediate(t, "ca")
	leaf, other := ca.Leaf(t, pkitest.Options{}), ca.Leaf(t, pkitest.Options{})
	rsa := ca.Leaf(t, pkitest.Options{Key: pkitest.RSA(t, 2048)})
	long := pkitest.Options{Edit: func(c *x509.Certificate) { c.NotAfter = c.NotAfter.AddDate(1, 0, 0) }}
	longLived, ofRoot := ca.Leaf(t, long), root.Leaf(t, long)
	above, top := pkitest.CertificatePEM(ca.Certificate), pkitest.CertificatePEM(root.Certificate)
	join := func(parts ...[]byte) string { return string(bytes.Join(parts, nil)) }
	sec1, err := x509.MarshalECPrivateKey(pkitest.ECDSA(t, elliptic.P256()))
	if err != nil {
		t.Fatal(err)
	}
	encrypted := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("canary")})
	damaged := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("canary")})
	now := time.Now()
	tests := []struct {
		name        string
		certificate string
		key         string
		now         time.Time
		verdict     Verdict
		want        string
	}{
		{"a pair", join(leaf.Certificate), join(leaf.PrivateKey), now, OK, ""},
		{"a pair of RSA", join(rsa.Certificate), join(rsa.PrivateKey), now, OK, ""},
		{"a pair with its chain", join(leaf.Certificate, above, top), join(leaf.PrivateKey), now, OK, ""},
		{"certificate and key in one text", join(leaf.PrivateKey, leaf.Certificate), join(leaf.Certificate, leaf.PrivateKey), now, OK, ""},
		{"another's key", join(leaf.Certificate), join(other.PrivateKey), now, Wrong, "does not belong to the first certificate"},
		{"a key of another kind", join(rsa.Certificate), join(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1})), now, Wrong, "does not belong"},
		{"a chain in the wrong order", join(leaf.Certificate, top, above), join(leaf.PrivateKey), now, Wrong, "certificate 2 has not issued certificate 1: put the leaf first"},
		{"a chain with the leaf last", join(above, leaf.Certificate), join(leaf.PrivateKey), now, Wrong, "does not belong to the first certificate: put the leaf first"},
		{"a chain of somebody else", join(leaf.Certificate, pkitest.CertificatePEM(pkitest.NewRoot(t, "ca").Certificate)), join(leaf.PrivateKey), now, Wrong, "certificate 2 has not issued certificate 1"},
		{"an expired leaf", join(leaf.Certificate, above), join(leaf.PrivateKey), now.Add(48 * time.Hour), Wrong, "certificate 1 has expired on 2"},
		{"a leaf of the future", join(leaf.Certificate), join(leaf.PrivateKey), now.Add(-48 * time.Hour), Wrong, "certificate 1 is not valid before 2"},
		{"an expired intermediate", join(longLived.Certificate, above), join(longLived.PrivateKey), now.Add(48 * time.Hour), Wrong, "certificate 2 has expired on 2"},
		{"an expired root, which nobody looks at", join(ofRoot.Certificate, top), join(ofRoot.PrivateKey), now.Add(48 * time.Hour), OK, ""},
		{"a certificate cut short", join(leaf.Certificate)[:300], join(leaf.PrivateKey), now, Wrong, "the certificate is not PEM, or cut short"},
		{"a chain cut short", join(leaf.Certificate) + string(above)[:300], join(leaf.PrivateKey), now, Wrong, "the certificate is not PEM, or cut short"},
		{"a certificate that cannot be read", join(damaged), join(leaf.PrivateKey), now, Wrong, "certificate 1 cannot be read"},
		{"a key where the certificate should be", join(leaf.PrivateKey), join(leaf.PrivateKey), now, Wrong, "holds none"},
		{"a certificate where the key should be", join(leaf.Certificate), join(leaf.Certificate), now, Wrong, "the private key's PEM holds none"},
		{"a key that cannot be read", join(leaf.Certificate), join(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("canary")})), now, Wrong, "the private key cannot be read"},
		{"an encrypted key", join(leaf.Certificate), join(encrypted), now, Inconclusive, "the private key is encrypted"},
		{"no PEM at all", "canary", "canary", now, Wrong, "the certificate is not PEM"},
	}
	check := TLSPair{Certificate: template("{{ .tls.certificate }}"), PrivateKey: template("{{ .tls.key }}")}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tr := trial(t, nil)
			tr.Now = tt.now
			tr.Snapshot = secret.NewSnapshot(now, map[string]secret.Version{"tls": versionOf(t, fields{"certificate": tt.certificate, "key": tt.key})})
			expect(t, check.Verify(t.Context(), tr), tt.verdict, tt.want, fields{"": "canary"})
		})
	}
	tr := trial(t, nil)
	tr.Snapshot = secret.NewSnapshot(now, map[string]secret.Version{"tls": versionOf(t, fields{"certificate": "canary"})})
	expect(t, check.Verify(t.Context(), tr), Inconclusive, "field key does not exist", fields{"": "canary"})
}

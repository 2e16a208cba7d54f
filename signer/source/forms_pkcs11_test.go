//go:build pkcs11 && cgo

package source_test

import (
	"crypto"
	"crypto/elliptic"
	"testing"

	"outrider/internal/pkitest"
	"outrider/signer/source"
)

func TestTokensOpenASession(t *testing.T) {
	token := func(key crypto.Signer) func(t *testing.T, ca pkitest.Authority) source.Source {
		return func(t *testing.T, ca pkitest.Authority) source.Source {
			t.Helper()
			tok := pkitest.NewToken(t, "host")
			tok.Import(t, key, "host", "01")
			s := source.Source{
				Certificate: put(t, "host.pem", ca.Leaf(t, pkitest.Options{Key: key}).Certificate),
				PrivateKey:  "pkcs11:token=host;object=host;type=private?module-path=" + tok.Module,
			}
			password(t, &s, tok.PIN+"\n")
			return s
		}
	}
	checkForms(t, map[string]form{
		"RSA": {"pkcs11", "RSA-2048", token(pkitest.RSA(t, 2048))},
		"EC":  {"pkcs11", "ECDSA P-256", token(pkitest.ECDSA(t, elliptic.P256()))},
	})
}

func TestNewCertificateAndNewKeyOfAToken(t *testing.T) {
	lab, ca := newLab(t)
	tok := pkitest.NewToken(t, "host")
	rsa, ec := pkitest.RSA(t, 2048), pkitest.ECDSA(t, elliptic.P256())
	tok.Import(t, rsa, "host", "01")
	issue := func(key crypto.Signer) []byte { return ca.Leaf(t, pkitest.Options{Key: key}).Certificate }
	s := source.Source{
		Certificate: put(t, "host.pem", issue(rsa)),
		PrivateKey:  "pkcs11:token=host;object=host?module-path=" + tok.Module + "&pin-source=file:" + put(t, "pin", []byte(tok.PIN)),
	}
	devices := &source.Devices{}
	old := load(t, s, devices)
	write(t, s.Certificate, issue(rsa), 0o600)
	if renewed := load(t, s, devices); renewed.Equal(old) {
		t.Error("got the old certificate")
	}
	write(t, s.Certificate, issue(ec), 0o600) // before its key
	refused(t, s, devices, "none belongs to the certificate")
	opensSession(t, lab, old)
	tok.Import(t, ec, "host", "02")
	renewed := load(t, s, devices)
	if renewed.KeyKind() != "ECDSA P-256" {
		t.Errorf("got %s", renewed)
	}
	opensSession(t, lab, renewed)
	opensSession(t, lab, old)
}

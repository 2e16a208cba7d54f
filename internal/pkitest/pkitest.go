// Package pkitest makes throwaway certificate authorities, keys and certificates for tests, and what keeps them: tokens, TPMs and Workload APIs.
package pkitest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"testing"
	"time"
)

// Authority is a certificate authority: a root or an intermediate.
type Authority struct {
	Certificate *x509.Certificate
	Key         crypto.Signer
}

// Leaf is an end-entity certificate and its key, as PEM (PKCS#8) and parsed.
type Leaf struct {
	Certificate []byte
	PrivateKey  []byte
	Parsed      *x509.Certificate
	Key         crypto.Signer
}

// Options say how a leaf differs from a good one: ECDSA P-256, CN=web-01,
// digitalSignature, from an hour ago to tomorrow.
type Options struct {
	Key    crypto.Signer           // nil: a new ECDSA P-256
	Public crypto.PublicKey        // nil: Key's own; else a certificate that the key does not match
	Edit   func(*x509.Certificate) // nil: as it is; changes the template
}

// NewRoot returns a self-signed authority.
func NewRoot(tb testing.TB, name string) Authority {
	tb.Helper()
	key := ECDSA(tb, elliptic.P256())
	template := authority(tb, name)
	return Authority{Certificate: issue(tb, template, template, key.Public(), key), Key: key}
}

// Intermediate returns an authority that a has signed.
func (a Authority) Intermediate(tb testing.TB, name string) Authority {
	tb.Helper()
	key := ECDSA(tb, elliptic.P256())
	return Authority{Certificate: issue(tb, authority(tb, name), a.Certificate, key.Public(), a.Key), Key: key}
}

// Leaf returns an end-entity certificate that a has signed.
func (a Authority) Leaf(tb testing.TB, o Options) Leaf {
	tb.Helper()
	if o.Key == nil {
		o.Key = ECDSA(tb, elliptic.P256())
	}
	if o.Public == nil {
		o.Public = o.Key.Public()
	}
	template := template(tb, "web-01")
	template.KeyUsage = x509.KeyUsageDigitalSignature
	if o.Edit != nil {
		o.Edit(template)
	}
	parsed := issue(tb, template, a.Certificate, o.Public, a.Key)
	return Leaf{Certificate: CertificatePEM(parsed), PrivateKey: KeyPEM(tb, o.Key), Parsed: parsed, Key: o.Key}
}

// RSA returns a new key. 4096 bits take some seconds.
func RSA(tb testing.TB, bits int) *rsa.PrivateKey {
	tb.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

// ECDSA returns a new key.
func ECDSA(tb testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

// CertificatePEM returns the certificates as PEM, in that order.
func CertificatePEM(certificates ...*x509.Certificate) []byte {
	var b bytes.Buffer
	for _, c := range certificates {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return b.Bytes()
}

// KeyPEM returns the key as PEM in PKCS#8.
func KeyPEM(tb testing.TB, key crypto.Signer) []byte {
	tb.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func authority(tb testing.TB, name string) *x509.Certificate {
	tb.Helper()
	t := template(tb, name)
	t.IsCA = true
	t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	return t
}

func template(tb testing.TB, name string) *x509.Certificate {
	tb.Helper()
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		tb.Fatal(err)
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(24 * time.Hour),
		BasicConstraintsValid: true,
	}
}

func issue(tb testing.TB, template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	tb.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		tb.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return parsed
}

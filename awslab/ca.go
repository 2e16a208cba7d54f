package awslab

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// KeyType names a kind of leaf key.
type KeyType string

// The kinds of leaf key that Issue makes.
const (
	P256    KeyType = "p256"
	P384    KeyType = "p384"
	RSA2048 KeyType = "rsa2048"
	RSA3072 KeyType = "rsa3072"
	RSA4096 KeyType = "rsa4096"
)

// LeafOptions says what certificate to issue. The zero LeafOptions is one
// that CreateSession accepts: P-256, from the trust anchor itself, for a year.
// The other fields also make certificates that it must refuse.
type LeafOptions struct {
	Key                KeyType                 // empty: P256
	Intermediates      int                     // certificates between the trust anchor and the leaf
	CommonName         string                  // empty: outrider-lab-host
	Subject            *pkix.Name              // wins over CommonName; a pointer to the zero Name is an empty subject
	DNSNames           []string                // in the subject alternative name
	URIs               []*url.URL              // in the subject alternative name
	Serial             *big.Int                // nil: random
	NotBefore          time.Time               // zero: an hour ago by the lab's clock
	NotAfter           time.Time               // zero: in a year by the lab's clock
	KeyUsage           x509.KeyUsage           // zero: digitalSignature
	IsCA               bool                    // a certificate authority's certificate
	SignatureAlgorithm x509.SignatureAlgorithm // zero: SHA-256; the authorities have P-256 keys
}

// authority is a certificate that may sign others, with its key.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// newAuthority makes an authority below parent, or a root when that is nil.
func newAuthority(parent *authority, name string, now time.Time) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          newSerial(),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.Add(-10 * 365 * 24 * time.Hour),
		NotAfter:              now.Add(10 * 365 * 24 * time.Hour),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	if parent == nil {
		parent = &authority{cert: template, key: key}
	}
	cert, err := parent.sign(template, key.Public())
	if err != nil {
		return nil, err
	}
	return &authority{cert: cert, key: key}, nil
}

func (a *authority) sign(template *x509.Certificate, public crypto.PublicKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, public, a.key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// newSerial returns a random positive serial of 16 bytes.
func newSerial() *big.Int {
	b := randomBytes(16)
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b)
}

// Issue makes a key and a certificate for it. The key is PKCS#8; the chain
// holds the intermediates, the leaf's issuer first, and is empty without any.
// All three are PEM.
func (l *Lab) Issue(opts LeafOptions) (certificate, privateKey, chain []byte, err error) {
	now := l.now()
	issuer := l.ca
	for i := range opts.Intermediates {
		if issuer, err = newAuthority(issuer, fmt.Sprintf("outrider lab intermediate %d", i+1), now); err != nil {
			return nil, nil, nil, fmt.Errorf("lab: intermediate: %w", err)
		}
		chain = append(encodePEM("CERTIFICATE", issuer.cert.Raw), chain...)
	}
	key, err := newKey(opts.Key)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("lab: leaf key: %w", err)
	}
	cert, err := issuer.sign(opts.template(now), key.Public())
	if err != nil {
		return nil, nil, nil, fmt.Errorf("lab: leaf certificate: %w", err)
	}
	if privateKey, err = encodeKey(key); err != nil {
		return nil, nil, nil, fmt.Errorf("lab: leaf key: %w", err)
	}
	return encodePEM("CERTIFICATE", cert.Raw), privateKey, chain, nil
}

func (opts LeafOptions) template(now time.Time) *x509.Certificate {
	t := &x509.Certificate{
		SerialNumber:          cmp.Or(opts.Serial, newSerial()),
		Subject:               pkix.Name{CommonName: cmp.Or(opts.CommonName, "outrider-lab-host")},
		DNSNames:              opts.DNSNames,
		URIs:                  opts.URIs,
		NotBefore:             opts.NotBefore,
		NotAfter:              opts.NotAfter,
		KeyUsage:              cmp.Or(opts.KeyUsage, x509.KeyUsageDigitalSignature),
		BasicConstraintsValid: true,
		IsCA:                  opts.IsCA,
		SignatureAlgorithm:    opts.SignatureAlgorithm,
	}
	if opts.Subject != nil {
		t.Subject = *opts.Subject
	}
	if t.NotBefore.IsZero() {
		t.NotBefore = now.Add(-time.Hour)
	}
	if t.NotAfter.IsZero() {
		t.NotAfter = now.Add(365 * 24 * time.Hour)
	}
	return t
}

func newKey(kind KeyType) (crypto.Signer, error) {
	switch kind {
	case "", P256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case P384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case RSA2048:
		return rsa.GenerateKey(rand.Reader, 2048)
	case RSA3072:
		return rsa.GenerateKey(rand.Reader, 3072)
	case RSA4096:
		return rsa.GenerateKey(rand.Reader, 4096)
	}
	return nil, fmt.Errorf("unknown kind %q: give p256, p384, rsa2048, rsa3072 or rsa4096", kind)
}

func encodePEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func encodeKey(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return encodePEM("PRIVATE KEY", der), nil
}

// CACertificatePEM returns the trust anchor's certificate.
func (l *Lab) CACertificatePEM() []byte { return encodePEM("CERTIFICATE", l.ca.cert.Raw) }

// CAKeyPEM returns the trust anchor's key as PKCS#8, with which anyone can
// issue more leaves.
func (l *Lab) CAKeyPEM() ([]byte, error) { return encodeKey(l.ca.key) }

// Setup is what a client needs to use the lab. Its JSON is the line that
// `outrider lab --json` prints.
type Setup struct {
	Endpoint        string `json:"endpoint"` // for whoever listens to fill in
	Region          string `json:"region"`
	Account         string `json:"account"`
	TrustAnchor     string `json:"trust_anchor"`
	Profile         string `json:"profile"`
	Role            string `json:"role"`
	Certificate     string `json:"certificate"`    // a file, as are the next three
	PrivateKey      string `json:"private_key"`    // mode 0600
	CACertificate   string `json:"ca_certificate"` // the trust anchor's
	CAPrivateKey    string `json:"ca_private_key"` // mode 0600
	AccessKeyID     string `json:"access_key_id"`  // keys that may do everything
	SecretAccessKey string `json:"secret_access_key"`
	Queue           string `json:"queue"` // its URL; for whoever listens to fill in
}

// Setup returns the lab's names and keys, without endpoint, files and queue.
func (l *Lab) Setup() Setup { return l.setup }

// Write makes the folder if need be and puts into it a leaf, which the zero
// LeafOptions describes, and the authority it comes from. Each file is
// replaced by a rename.
func (l *Lab) Write(dir string) (Setup, error) {
	certificate, privateKey, _, err := l.Issue(LeafOptions{})
	if err != nil {
		return Setup{}, err
	}
	caKey, err := l.CAKeyPEM()
	if err != nil {
		return Setup{}, fmt.Errorf("lab: authority's key: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Setup{}, fmt.Errorf("lab: %w", err)
	}
	s := l.setup
	s.Certificate = filepath.Join(dir, "certificate.pem")
	s.PrivateKey = filepath.Join(dir, "private_key.pem")
	s.CACertificate = filepath.Join(dir, "ca_certificate.pem")
	s.CAPrivateKey = filepath.Join(dir, "ca_private_key.pem")
	err = errors.Join(
		writeFile(s.CACertificate, l.CACertificatePEM(), 0o644),
		writeFile(s.CAPrivateKey, caKey, 0o600),
		writeFile(s.PrivateKey, privateKey, 0o600),
		writeFile(s.Certificate, certificate, 0o644),
	)
	if err != nil {
		return Setup{}, fmt.Errorf("lab: %w", err)
	}
	return s, nil
}

// writeFile never shows a file in a wider mode than its own.
func writeFile(path string, content []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".lab-*") // 0600
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Chmod(mode), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

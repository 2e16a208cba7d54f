package source_test

import (
	"crypto"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"path/filepath"
	"slices"
	"testing"

	"outrider/awslab"
	"outrider/internal/pkitest"
	"outrider/session"
	"outrider/signer"
	"outrider/signer/source"
)

const secretWord = "correct horse"

// form is one way to keep an identity, laid out in a folder of the test's own.
type form struct {
	place, kind string
	lay         func(t *testing.T, ca pkitest.Authority) source.Source
}

// opensSession opens a session at a lab that is strict about signatures.
func opensSession(t *testing.T, lab *awslab.Lab, id *signer.Identity) {
	t.Helper()
	s := lab.Setup()
	role := session.Role{Region: s.Region, TrustAnchor: s.TrustAnchor, Profile: s.Profile, Role: s.Role}
	client := session.Client{Transport: lab.RoundTripper()}
	if _, err := client.Create(t.Context(), role, id); err != nil {
		t.Errorf("CreateSession with %s: %v", id, err)
	}
}

// newLab returns a lab, and its trust anchor to issue from.
func newLab(t *testing.T) (*awslab.Lab, pkitest.Authority) {
	t.Helper()
	lab, err := awslab.New(awslab.Options{})
	if err != nil {
		t.Fatal(err)
	}
	key, err := lab.CAKeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(lab.CACertificatePEM())
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	private, err := signer.Part{Data: key}.PrivateKey(noPassword)
	if err != nil {
		t.Fatal(err)
	}
	return lab, pkitest.Authority{Certificate: certificate, Key: private}
}

// checkForms loads each form and opens a session with it.
func checkForms(t *testing.T, forms map[string]form) {
	t.Helper()
	lab, ca := newLab(t)
	for name, f := range forms {
		t.Run(name, func(t *testing.T) {
			s := f.lay(t, ca)
			id, err := s.Load(t.Context(), &source.Devices{})
			if err != nil {
				t.Fatal(err)
			}
			if id.KeyPlace() != f.place || id.KeyKind() != f.kind || len(id.Warnings()) != 0 {
				t.Errorf("got %s, %s, %q, want %s, %s and no warnings", id.KeyPlace(), id.KeyKind(), id.Warnings(), f.place, f.kind)
			}
			opensSession(t, lab, id)
		})
	}
}

func TestEveryFormOpensASession(t *testing.T) {
	checkForms(t, map[string]form{
		"encrypted PKCS#8, RSA": {"file", "RSA-2048", func(t *testing.T, ca pkitest.Authority) source.Source {
			return encrypted(t, ca, pkitest.RSA(t, 2048))
		}},
		"encrypted PKCS#8, EC": {"file", "ECDSA P-384", func(t *testing.T, ca pkitest.Authority) source.Source {
			return encrypted(t, ca, pkitest.ECDSA(t, elliptic.P384()))
		}},
		"PKCS#12, RSA": {"file", "RSA-3072", func(t *testing.T, ca pkitest.Authority) source.Source {
			return exported(t, ca.Intermediate(t, "ca"), pkitest.RSA(t, 3072))
		}},
		"PKCS#12, EC": {"file", "ECDSA P-256", func(t *testing.T, ca pkitest.Authority) source.Source {
			return exported(t, ca.Intermediate(t, "ca"), pkitest.ECDSA(t, elliptic.P256()))
		}},
		"a TPM's key file, RSA": {"tpm2", "RSA-2048", func(t *testing.T, ca pkitest.Authority) source.Source {
			return keyFile(t, ca, "-algorithm", "RSA", "-pkeyopt", "bits:2048")
		}},
		"a TPM's key file, EC": {"tpm2", "ECDSA P-256", func(t *testing.T, ca pkitest.Authority) source.Source {
			return keyFile(t, ca, "-algorithm", "EC", "-pkeyopt", "group:P-256")
		}},
		"a persistent handle, RSA": {"tpm2", "RSA-2048", func(t *testing.T, ca pkitest.Authority) source.Source {
			return persistent(t, ca, "rsa2048")
		}},
		"a persistent handle, EC": {"tpm2", "ECDSA P-384", func(t *testing.T, ca pkitest.Authority) source.Source {
			return persistent(t, ca, "ecc384")
		}},
		"an SVID": {"spiffe", "ECDSA P-256", func(t *testing.T, ca pkitest.Authority) source.Source {
			api := pkitest.NewWorkloadAPI(t)
			middle := ca.Intermediate(t, "ca")
			api.Push(pkitest.NewSVID(t, "spiffe://example.org/billing", middle.Leaf(t, pkitest.Options{}), middle.Certificate))
			return source.Source{SPIFFE: "unix://" + api.Socket}
		}},
	})
}

func encrypted(t *testing.T, ca pkitest.Authority, key crypto.Signer) source.Source {
	t.Helper()
	s := source.Source{Certificate: put(t, "host.pem", ca.Leaf(t, pkitest.Options{Key: key}).Certificate), PrivateKey: put(t, "host.key", nil)}
	password(t, &s, secretWord+"\n")
	pkitest.Run(t, "openssl", "pkcs8", "-topk8", "-in", put(t, "plain.key", pkitest.KeyPEM(t, key)), "-out", s.PrivateKey, "-passout", "file:"+s.PasswordFile)
	return s
}

func exported(t *testing.T, ca pkitest.Authority, key crypto.Signer) source.Source {
	t.Helper()
	leaf := ca.Leaf(t, pkitest.Options{Key: key})
	s := source.Source{PKCS12: put(t, "host.p12", nil)}
	password(t, &s, secretWord+"\r\n")
	both := put(t, "both.pem", slices.Concat(leaf.Certificate, leaf.PrivateKey, pkitest.CertificatePEM(ca.Certificate)))
	pkitest.Run(t, "openssl", "pkcs12", "-export", "-in", both, "-out", s.PKCS12, "-passout", "pass:"+secretWord)
	return s
}

func keyFile(t *testing.T, ca pkitest.Authority, options ...string) source.Source {
	t.Helper()
	host := pkitest.NewTPM(t)
	path, public := host.KeyFile(t, secretWord, options...)
	s := source.Source{
		Certificate: put(t, "host.pem", ca.Leaf(t, pkitest.Options{Public: public}).Certificate),
		PrivateKey:  "tpm2:" + path + "?device=unix:" + host.Socket,
	}
	password(t, &s, secretWord)
	return s
}

func persistent(t *testing.T, ca pkitest.Authority, kind string) source.Source {
	t.Helper()
	host := pkitest.NewTPM(t)
	public := host.Persist(t, "0x81000001", "-G", kind)
	return source.Source{
		Certificate: put(t, "host.pem", ca.Leaf(t, pkitest.Options{Public: public}).Certificate),
		PrivateKey:  "tpm2:0x81000001?device=unix:" + host.Socket,
	}
}

// put writes a file that its owner alone can read, in a folder of its own.
func put(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	write(t, path, content, 0o600)
	return path
}

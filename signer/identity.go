// Package signer turns a certificate, its private key and its chain into an identity, and signs CreateSession with it.
package signer

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"slices"

	"outrider/secret"
)

// Identity is a certificate, its private key and its chain as one checked
// set: who the host is. It is immutable and safe for concurrent use; its key
// cannot be reached or printed. It holds nothing that must be released.
type Identity struct {
	leaf     *x509.Certificate
	chain    []*x509.Certificate
	key      crypto.Signer
	kind     string
	place    string
	warnings []string
}

// Set is the parts of an identity, read but not yet checked to be one.
type Set struct {
	Certificates []*x509.Certificate // the leaf first, then perhaps its chain; never empty
	Chain        []*x509.Certificate // further ones, in any order; nil: none
	// Key returns the private key. It is called last, once the leaf is known
	// to be usable: a key that stays in a device is found by its certificate.
	Key      func(leaf *x509.Certificate) (crypto.Signer, error)
	KeyPlace string   // as Identity.KeyPlace returns it
	Warnings []string // as Identity.Warnings returns them

	// What errors call the parts, such as "certificate /etc/host.pem". Errors
	// of Key are its own.
	CertificateName, ChainName, KeyName string
}

// New makes an identity of a set. It checks what IAM Roles Anywhere asks of
// the parts, that they belong together, and nothing that needs the clock: see
// CheckTime. Every error names the part and the remedy.
//
// Rules: https://docs.aws.amazon.com/rolesanywhere/latest/userguide/trust-model.html
func New(s Set) (*Identity, error) {
	leaf := s.Certificates[0]
	kind, err := checkLeaf(leaf)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.CertificateName, err)
	}
	chain, err := orderChain(leaf, slices.Concat(s.Certificates[1:], s.Chain))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.chainHolder(), err)
	}
	key, err := s.Key(leaf)
	if err != nil {
		return nil, err
	}
	if err := checkPair(leaf, key); err != nil {
		return nil, fmt.Errorf("%s: %w", s.KeyName, err)
	}
	return &Identity{leaf: leaf, chain: chain, key: key, kind: kind, place: s.KeyPlace, warnings: s.Warnings}, nil
}

// chainHolder names the parts that a chain certificate may stand in.
func (s Set) chainHolder() string {
	switch {
	case s.Chain == nil:
		return s.CertificateName
	case len(s.Certificates) > 1:
		return s.CertificateName + " with " + s.ChainName
	}
	return s.ChainName
}

// Parse reads PEM texts into an identity, as New does: the certificate (the
// leaf first, then perhaps its chain), further chain certificates (nil: none)
// and the private key in PKCS#1, SEC1 or PKCS#8.
func Parse(certificate, chain, key []byte) (*Identity, error) {
	s := Set{CertificateName: "certificate", ChainName: "chain", KeyName: "private key", KeyPlace: "file"}
	var err error
	if s.Certificates, err = (Part{s.CertificateName, certificate}).Certificates(); err != nil {
		return nil, err
	}
	if chain != nil {
		if s.Chain, err = (Part{s.ChainName, chain}).Certificates(); err != nil {
			return nil, err
		}
	}
	s.Key = func(*x509.Certificate) (crypto.Signer, error) {
		return Part{s.KeyName, key}.PrivateKey(secret.Value{})
	}
	return New(s)
}

// Leaf returns the certificate itself, which the caller must not change.
func (id *Identity) Leaf() *x509.Certificate { return id.leaf }

// Chain returns the certificates above the leaf as they are sent: its issuer
// first, at most five, no self-signed root. It is a copy.
func (id *Identity) Chain() []*x509.Certificate { return slices.Clone(id.chain) }

// KeyKind returns the kind of key, such as "RSA-2048" or "ECDSA P-256".
func (id *Identity) KeyKind() string { return id.kind }

// KeyPlace returns where the private key lives: "file", "tpm2", "pkcs11", or
// "spiffe" for one that a Workload API handed out.
func (id *Identity) KeyPlace() string { return id.place }

// Warnings returns what a person should mend although the identity works;
// none when all is well.
func (id *Identity) Warnings() []string { return slices.Clone(id.warnings) }

// Fingerprint returns the SHA-256 of the leaf and its chain. Two identities
// with the same fingerprint sign alike, since the leaf holds the public key.
func (id *Identity) Fingerprint() [sha256.Size]byte {
	h := sha256.New()
	for _, c := range append([]*x509.Certificate{id.leaf}, id.chain...) {
		h.Write(c.Raw)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// Equal reports whether both are the same set, and their keys are reached in
// the same way: a key in a device may be there under another PIN by now. A nil
// identity equals nil only.
func (id *Identity) Equal(other *Identity) bool {
	if id == nil || other == nil {
		return id == other
	}
	if key, ok := id.key.(interface{ Equal(crypto.Signer) bool }); ok && !key.Equal(other.key) {
		return false
	}
	return id.Fingerprint() == other.Fingerprint()
}

// String returns the subject, the serial number in decimal and the kind of
// key.
func (id *Identity) String() string {
	return fmt.Sprintf("%q (serial %s, %s)", id.leaf.Subject, id.leaf.SerialNumber, id.kind)
}

// Package signer turns a certificate, its private key and its chain into an identity, and signs CreateSession with it.
package signer

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"slices"
)

// Identity is a certificate, its private key and its chain as one checked
// set: who the host is. It is immutable and safe for concurrent use; its key
// cannot be reached or printed.
type Identity struct {
	leaf     *x509.Certificate
	chain    []*x509.Certificate
	key      crypto.Signer
	kind     string
	warnings []string
}

// Parse reads PEM texts into an identity: the certificate (the leaf first,
// then perhaps its chain), further chain certificates (nil: none) and the
// private key in PKCS#1, SEC1 or PKCS#8. It checks what IAM Roles Anywhere
// asks of them, that they belong together, and nothing that needs the clock:
// see CheckTime. Every error names the part and the remedy.
//
// Rules: https://docs.aws.amazon.com/rolesanywhere/latest/userguide/trust-model.html
func Parse(certificate, chain, key []byte) (*Identity, error) {
	return parse(source{"certificate", certificate}, source{"chain", chain}, source{"private key", key})
}

func parse(certificate, chain, key source) (*Identity, error) {
	certificates, err := certificate.certificates()
	if err != nil {
		return nil, err
	}
	leaf := certificates[0]
	kind, err := checkLeaf(leaf)
	if err != nil {
		return nil, certificate.wrap(err)
	}
	private, err := key.privateKey()
	if err != nil {
		return nil, err
	}
	if err := checkPair(leaf, private); err != nil {
		return nil, key.wrap(err)
	}
	pool, holder := certificates[1:], certificate
	if chain.data != nil {
		more, err := chain.certificates()
		if err != nil {
			return nil, err
		}
		pool = slices.Concat(pool, more)
		holder.name = chain.name
		if len(certificates) > 1 {
			holder.name = certificate.name + " with " + chain.name
		}
	}
	ordered, err := orderChain(leaf, pool)
	if err != nil {
		return nil, holder.wrap(err)
	}
	return &Identity{leaf: leaf, chain: ordered, key: private, kind: kind}, nil
}

// Leaf returns the certificate itself, which the caller must not change.
func (id *Identity) Leaf() *x509.Certificate { return id.leaf }

// Chain returns the certificates above the leaf as they are sent: its issuer
// first, at most five, no self-signed root. It is a copy.
func (id *Identity) Chain() []*x509.Certificate { return slices.Clone(id.chain) }

// KeyKind returns the kind of key, such as "RSA-2048" or "ECDSA P-256".
func (id *Identity) KeyKind() string { return id.kind }

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

// Equal reports whether both are the same set. A nil identity equals nil
// only.
func (id *Identity) Equal(other *Identity) bool {
	if id == nil || other == nil {
		return id == other
	}
	return id.Fingerprint() == other.Fingerprint()
}

// String returns the subject, the serial number in decimal and the kind of
// key.
func (id *Identity) String() string {
	return fmt.Sprintf("%q (serial %s, %s)", id.leaf.Subject, id.leaf.SerialNumber, id.kind)
}

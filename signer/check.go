package signer

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
)

// maxChain is how many certificates X-Amz-X509-Chain may hold.
const maxChain = 5

// checkLeaf reports what IAM Roles Anywhere would refuse in an end-entity
// certificate, and returns the kind of its key.
func checkLeaf(leaf *x509.Certificate) (string, error) {
	kind, err := keyKind(leaf.PublicKey)
	switch {
	case err != nil:
		return "", err
	case leaf.IsCA:
		return "", fmt.Errorf("%q is a CA certificate; put the host's own certificate first", leaf.Subject)
	case leaf.Version != 3:
		return "", fmt.Errorf("is X.509 version %d; issue it as version 3", leaf.Version)
	case leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return "", errors.New("its key usage lacks digitalSignature; issue it anew with that usage")
	case len(leaf.Subject.Names) == 0:
		return "", errors.New("its subject is empty; issue it anew with a subject, such as a common name")
	case weaklySigned(leaf):
		return "", fmt.Errorf("is signed with %s; issue it anew, signed with SHA-256 or stronger", leaf.SignatureAlgorithm)
	}
	return kind, nil
}

func weaklySigned(c *x509.Certificate) bool {
	switch c.SignatureAlgorithm {
	case x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1:
		return true
	}
	return false
}

// keyKind names the kind of a public key; an error when it cannot be used.
func keyKind(public crypto.PublicKey) (string, error) {
	kind, usable := "of an unknown kind", false
	switch p := public.(type) {
	case *rsa.PublicKey:
		kind = fmt.Sprintf("RSA-%d", p.N.BitLen())
		usable = p.N.BitLen() >= 2048 && p.N.BitLen() <= 4096
	case *ecdsa.PublicKey:
		kind = "ECDSA " + p.Params().Name
		usable = p.Curve == elliptic.P256() || p.Curve == elliptic.P384()
	case ed25519.PublicKey:
		kind = "Ed25519"
	}
	if !usable {
		return "", fmt.Errorf("its key is %s; use RSA of 2048 to 4096 bits, or ECDSA on P-256 or P-384", kind)
	}
	return kind, nil
}

// belongs reports whether a public key is the certificate's.
func belongs(c *x509.Certificate, key crypto.PublicKey) bool {
	public, ok := c.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(key)
}

func checkPair(leaf *x509.Certificate, key crypto.Signer) error {
	if !belongs(leaf, key.Public()) {
		return fmt.Errorf("does not belong to the certificate of %q (serial %s); put the pair that was issued together in place",
			leaf.Subject, leaf.SerialNumber)
	}
	return nil
}

// orderChain returns the certificates of pool that lead from the leaf
// upwards, nearest first, whatever their order in the files. The leaf itself,
// repetitions and self-signed roots are dropped: AWS has the root as its trust
// anchor. Anything else that leads nowhere is an error, because a wrong
// intermediate is otherwise only told as "Untrusted signing certificate".
func orderChain(leaf *x509.Certificate, pool []*x509.Certificate) ([]*x509.Certificate, error) {
	path := []*x509.Certificate{leaf}
	rest := slices.DeleteFunc(slices.Clone(pool), func(c *x509.Certificate) bool {
		return c.Equal(leaf) || selfSigned(c)
	})
	for i := 0; i < len(path); i++ {
		rest = slices.DeleteFunc(rest, func(c *x509.Certificate) bool {
			if slices.ContainsFunc(path, c.Equal) {
				return true
			}
			if !bytes.Equal(path[i].RawIssuer, c.RawSubject) || path[i].CheckSignatureFrom(c) != nil {
				return false
			}
			path = append(path, c)
			return true
		})
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("certificate %q has issued none of the others (%q wants the issuer %q); put the issuing CA's certificates there",
			rest[0].Subject, path[len(path)-1].Subject, path[len(path)-1].Issuer)
	}
	if n := len(path) - 1; n > maxChain {
		return nil, fmt.Errorf("holds %d intermediates, AWS takes %d; make a CA nearer to the leaf the trust anchor", n, maxChain)
	}
	return path[1:], nil
}

func selfSigned(c *x509.Certificate) bool {
	return bytes.Equal(c.RawSubject, c.RawIssuer) &&
		c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil
}

package awslab

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// maxChain is the depth that X-Amz-X509-Chain may have.
const maxChain = 5

// The two algorithms of AWS4-X509 that the lab can verify.
const (
	x509RSA   = "AWS4-X509-RSA-SHA256"
	x509ECDSA = "AWS4-X509-ECDSA-SHA256"
)

// proveIdentity verifies the AWS4-X509 signature of a CreateSession and the
// way from its certificate to the trust anchor. It returns the certificate.
func (l *Lab) proveIdentity(r *http.Request, body []byte) (*x509.Certificate, error) {
	if r.Header.Get("Authorization") == "" {
		return nil, &apiError{status: http.StatusForbidden, code: "MissingAuthenticationTokenException", message: "Missing Authentication Token"}
	}
	a, err := parseAuthorization(r.Header)
	if err != nil {
		return nil, errDenied("Invalid signature", err)
	}
	leaf, chain, err := presented(r.Header)
	if err != nil {
		return nil, errDenied("Untrusted signing certificate", err)
	}
	now := l.now()
	if err := a.checkTime(now); err != nil {
		return nil, errDenied(err.Error(), nil)
	}
	if err := l.checkX509Signature(a, leaf, r, body); err != nil {
		return nil, errDenied("Invalid signature", err)
	}
	intermediates := x509.NewCertPool()
	for _, cert := range chain {
		intermediates.AddCert(cert)
	}
	_, err = leaf.Verify(x509.VerifyOptions{
		Roots: l.anchors(), Intermediates: intermediates, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err == nil {
		err = checkLeaf(leaf)
	}
	if err != nil {
		return nil, errDenied("Untrusted signing certificate", err)
	}
	if l.isRevoked(leaf) {
		return nil, errDenied("Certificate revoked", nil)
	}
	return leaf, nil
}

// errDenied is AWS's text, with what the lab saw beside it.
func errDenied(message string, seen error) error {
	e := &apiError{status: http.StatusForbidden, code: "AccessDeniedException", message: message}
	if seen != nil {
		e.reason = seen.Error()
	}
	return e
}

// presented reads the certificate and the chain out of their headers.
func presented(h http.Header) (leaf *x509.Certificate, chain []*x509.Certificate, err error) {
	line, err := soleValue(h, "X-Amz-X509")
	if err != nil {
		return nil, nil, err
	}
	if leaf, err = decodeCertificate(line); err != nil {
		return nil, nil, fmt.Errorf("x-amz-x509: %w", err)
	}
	if h.Values("X-Amz-X509-Chain") == nil {
		return leaf, nil, nil
	}
	if line, err = soleValue(h, "X-Amz-X509-Chain"); err != nil {
		return nil, nil, err
	}
	blocks := strings.Split(line, ",")
	if len(blocks) > maxChain {
		return nil, nil, fmt.Errorf("x-amz-x509-chain: %d certificates, at most %d", len(blocks), maxChain)
	}
	for _, block := range blocks {
		cert, err := decodeCertificate(block)
		if err != nil {
			return nil, nil, fmt.Errorf("x-amz-x509-chain: %w", err)
		}
		chain = append(chain, cert)
	}
	return leaf, chain, nil
}

func decodeCertificate(line string) (*x509.Certificate, error) {
	der, err := base64.StdEncoding.Strict().DecodeString(line)
	if err != nil {
		return nil, errors.New("not padded base64 on one line")
	}
	return x509.ParseCertificate(der)
}

func (l *Lab) checkX509Signature(a authorization, leaf *x509.Certificate, r *http.Request, body []byte) error {
	if a.key != leaf.SerialNumber.String() {
		return fmt.Errorf("credential serial %s: the certificate's is %s (decimal)", a.key, leaf.SerialNumber)
	}
	if err := a.checkScope(rolesAnywhere, l.opts.Region); err != nil {
		return err
	}
	if err := a.checkSignedHeaders(r, "host", "content-type", "x-amz-date", "x-amz-x509"); err != nil {
		return err
	}
	signature, err := hex.DecodeString(a.signature)
	if err != nil {
		return errors.New("signature: not hexadecimal")
	}
	digest := sha256.Sum256(a.stringToSign(r, body))
	switch key := leaf.PublicKey.(type) {
	case *rsa.PublicKey:
		if a.algorithm != x509RSA {
			return fmt.Errorf("algorithm %q: an RSA key signs with %s", a.algorithm, x509RSA)
		}
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], signature)
	case *ecdsa.PublicKey:
		if a.algorithm != x509ECDSA {
			return fmt.Errorf("algorithm %q: an EC key signs with %s", a.algorithm, x509ECDSA)
		}
		if !ecdsa.VerifyASN1(key, digest[:], signature) {
			return errors.New("ecdsa: verification error")
		}
		return nil
	}
	return fmt.Errorf("public key of type %T: only RSA and EC are known here", leaf.PublicKey)
}

// checkLeaf applies the user guide's rules for signing certificates. That
// the chain's signatures are of SHA-256 or better is crypto/x509's own rule.
func checkLeaf(leaf *x509.Certificate) error {
	switch {
	case leaf.Version != 3:
		return fmt.Errorf("certificate: X.509 v%d, must be v3", leaf.Version)
	case leaf.IsCA:
		return errors.New("certificate: is a CA's")
	case leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return errors.New("certificate: key usage without digitalSignature")
	case len(leaf.Subject.Names) == 0:
		return errors.New("certificate: empty subject")
	}
	return nil
}

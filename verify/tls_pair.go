package verify

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"outrider/render"
	"outrider/secret"
)

// TLSPair looks whether a certificate, with the chain behind it, and a private
// key can serve together: the key is the certificate's, each certificate is
// issued by the next, and all are valid now. What is not so is Wrong; a
// template that gives no text and an encrypted key are Inconclusive. It asks
// nobody and does not block.
type TLSPair struct {
	Certificate *render.Template // PEM, the leaf first
	PrivateKey  *render.Template // PEM: PKCS#1, SEC1 or PKCS#8
}

// String returns the word that the configuration uses.
func (TLSPair) String() string { return "tls_pair" }

// Verify executes the templates and looks at what they give.
func (p TLSPair) Verify(_ context.Context, t Trial) Result {
	certificate, err := p.Certificate.Execute(t.Snapshot)
	if err != nil {
		return Result{Inconclusive, err}
	}
	key, err := p.PrivateKey.Execute(t.Snapshot)
	if err != nil {
		return Result{Inconclusive, err}
	}
	err = checkPair(certificate, key, t.Now)
	switch {
	case err == nil:
		return Result{Verdict: OK}
	case errors.Is(err, errEncrypted):
		return Result{Inconclusive, err}
	}
	return Result{Wrong, err}
}

var errEncrypted = errors.New("the private key is encrypted, so whether it is the certificate's cannot be told")

func checkPair(certificate, key secret.Value, now time.Time) error {
	chain, err := certificatesOf(certificate)
	if err != nil {
		return err
	}
	private, err := privateKeyOf(key)
	if err != nil {
		return err
	}
	public, ok := chain[0].PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(private.Public()) {
		return errors.New("the private key does not belong to the first certificate: put the leaf first, and the key that was issued with it")
	}
	for i, c := range chain {
		if i > 0 && chain[i-1].CheckSignatureFrom(c) != nil {
			return fmt.Errorf("certificate %d has not issued certificate %d: put the leaf first and behind each certificate its issuer", i+1, i)
		}
		switch root := i > 0 && bytes.Equal(c.RawSubject, c.RawIssuer); {
		case root: // nobody looks at what a server says of its root
		case now.Before(c.NotBefore):
			return fmt.Errorf("certificate %d is not valid before %s: wait, or set this host's clock", i+1, c.NotBefore.UTC().Format(time.RFC3339))
		case now.After(c.NotAfter):
			return fmt.Errorf("certificate %d has expired on %s: renew it", i+1, c.NotAfter.UTC().Format(time.RFC3339))
		}
	}
	return nil
}

// blocks splits PEM. A block that is cut short is an error, since pem.Decode
// passes over it.
func blocks(what string, text []byte) ([]*pem.Block, error) {
	var all []*pem.Block
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		all = append(all, block)
	}
	if len(all) == 0 || len(all) != bytes.Count(text, []byte("-----BEGIN ")) {
		return nil, fmt.Errorf("the %s is not PEM, or cut short", what)
	}
	return all, nil
}

// certificatesOf returns at least one certificate. The parser's errors are
// left out: they quote what they read.
func certificatesOf(value secret.Value) ([]*x509.Certificate, error) {
	all, err := blocks("certificate", value.Reveal())
	if err != nil {
		return nil, err
	}
	var list []*x509.Certificate
	for _, b := range all {
		if b.Type != "CERTIFICATE" {
			continue // one text may hold the key as well
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d cannot be read: issue it anew", len(list)+1)
		}
		list = append(list, c)
	}
	if len(list) == 0 {
		return nil, errors.New("the certificate's PEM holds none")
	}
	return list, nil
}

// privateKeyOf returns the first private key, whatever its label says of its
// encoding: tools mix them up.
func privateKeyOf(value secret.Value) (crypto.Signer, error) {
	all, err := blocks("private key", value.Reveal())
	if err != nil {
		return nil, err
	}
	for _, b := range all {
		switch {
		case !strings.HasSuffix(b.Type, "PRIVATE KEY"):
			continue
		case b.Type == "ENCRYPTED PRIVATE KEY", b.Headers["DEK-Info"] != "":
			return nil, errEncrypted
		}
		if key, err := x509.ParsePKCS1PrivateKey(b.Bytes); err == nil {
			return key, nil
		}
		if key, err := x509.ParseECPrivateKey(b.Bytes); err == nil {
			return key, nil
		}
		key, err := x509.ParsePKCS8PrivateKey(b.Bytes)
		if signer, ok := key.(crypto.Signer); err == nil && ok {
			return signer, nil
		}
		return nil, errors.New("the private key cannot be read: test it with openssl pkey -check")
	}
	return nil, errors.New("the private key's PEM holds none")
}

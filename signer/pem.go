package signer

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// source is one of the three texts of an identity, and what errors call it.
type source struct {
	name string
	data []byte
}

func (s source) wrap(err error) error { return fmt.Errorf("%s: %w", s.name, err) }

// blocks splits PEM into its blocks. Text around them is skipped, as OpenSSL
// writes it; a block that is cut short is an error, since pem.Decode would
// pass over a file that is still being written.
func (s source) blocks() ([]*pem.Block, error) {
	var blocks []*pem.Block
	block, rest := pem.Decode(s.data)
	for ; block != nil; block, rest = pem.Decode(rest) {
		blocks = append(blocks, block)
	}
	switch {
	case len(bytes.TrimSpace(s.data)) == 0:
		return nil, s.wrap(errors.New("is empty; write it whole, then rename it into place"))
	case len(blocks) != bytes.Count(s.data, []byte("-----BEGIN ")):
		return nil, s.wrap(errors.New("a PEM block in it is cut short or damaged; write it whole, then rename it into place"))
	case len(blocks) == 0 && isPKCS12(s.data):
		return nil, s.wrap(errors.New("is PKCS#12, which is not built yet; convert it to PEM with openssl pkcs12 -nodes"))
	case len(blocks) == 0:
		return nil, s.wrap(errors.New("is not PEM; convert it, from DER with openssl x509 or openssl pkey and -inform der"))
	}
	return blocks, nil
}

// isPKCS12 reports whether data begins as a PFX of RFC 7292 does: version 3
// and a ContentInfo.
func isPKCS12(data []byte) bool {
	var pfx struct {
		Version int
		Auth    struct {
			Type    asn1.ObjectIdentifier
			Content asn1.RawValue `asn1:"optional"`
		}
		MAC asn1.RawValue `asn1:"optional"`
	}
	_, err := asn1.Unmarshal(data, &pfx)
	return err == nil && pfx.Version == 3
}

// certificates returns the certificates, at least one. Private keys between
// them are passed over: one file may hold both.
func (s source) certificates() ([]*x509.Certificate, error) {
	blocks, err := s.blocks()
	if err != nil {
		return nil, err
	}
	var list []*x509.Certificate
	for _, b := range blocks {
		switch {
		case b.Type == "CERTIFICATE":
			c, err := x509.ParseCertificate(b.Bytes)
			if err != nil {
				return nil, s.wrap(fmt.Errorf("certificate %d in it: %w; issue it anew", len(list)+1, err))
			}
			list = append(list, c)
		case strings.HasSuffix(b.Type, "PRIVATE KEY"), b.Type == "EC PARAMETERS":
		default:
			return nil, s.wrap(fmt.Errorf("holds a %q, not a certificate; put the issued certificate there", b.Type))
		}
	}
	if len(list) == 0 {
		return nil, s.wrap(errors.New("holds a private key and no certificate; put the issued certificate there"))
	}
	return list, nil
}

// privateKey returns the one private key. Certificates around it are passed
// over: one file may hold both.
func (s source) privateKey() (crypto.Signer, error) {
	blocks, err := s.blocks()
	if err != nil {
		return nil, err
	}
	var key crypto.Signer
	for _, b := range blocks {
		switch b.Type {
		case "CERTIFICATE", "EC PARAMETERS":
			continue
		}
		if key != nil {
			return nil, s.wrap(errors.New("holds more than one private key; leave the certificate's own"))
		}
		if key, err = parseKey(b); err != nil {
			return nil, s.wrap(err)
		}
	}
	if key == nil {
		return nil, s.wrap(errors.New("holds a certificate and no private key; put the certificate's private key there"))
	}
	return key, nil
}

// parseKey tries every encoding whatever the label says: tools mix them up.
// The parsers' own errors are left out, they name Go functions.
func parseKey(b *pem.Block) (crypto.Signer, error) {
	switch {
	case b.Type == "ENCRYPTED PRIVATE KEY" || b.Headers["DEK-Info"] != "":
		return nil, errors.New("is encrypted, which is not built yet; decrypt it with openssl pkey, readable by outrider alone")
	case b.Type == "TSS2 PRIVATE KEY":
		return nil, errors.New("is a TPM key, which is not built yet; use a key in PEM")
	case b.Type == "OPENSSH PRIVATE KEY":
		return nil, errors.New("is an OpenSSH key; convert it with ssh-keygen -p -m PKCS8")
	case !strings.HasSuffix(b.Type, "PRIVATE KEY"):
		return nil, fmt.Errorf("holds a %q, not a private key; put the certificate's private key there", b.Type)
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
	return nil, errors.New("is not a private key that can be read; test it with openssl pkey -check")
}

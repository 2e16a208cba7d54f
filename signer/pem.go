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

	"outrider/secret"
)

// Part is the text of one part of an identity.
type Part struct {
	Name string // what errors call it, such as "certificate /etc/host.pem"
	Data []byte
}

func (p Part) wrap(err error) error { return fmt.Errorf("%s: %w", p.Name, err) }

// blocks splits PEM into its blocks. Text around them is skipped, as OpenSSL
// writes it; a block that is cut short is an error, since pem.Decode would
// pass over a file that is still being written.
func (p Part) blocks() ([]*pem.Block, error) {
	var blocks []*pem.Block
	block, rest := pem.Decode(p.Data)
	for ; block != nil; block, rest = pem.Decode(rest) {
		blocks = append(blocks, block)
	}
	switch {
	case len(bytes.TrimSpace(p.Data)) == 0:
		return nil, p.wrap(errors.New("is empty; write it whole, then rename it into place"))
	case len(blocks) != bytes.Count(p.Data, []byte("-----BEGIN ")):
		return nil, p.wrap(errors.New("a PEM block in it is cut short or damaged; write it whole, then rename it into place"))
	case len(blocks) == 0 && isPKCS12(p.Data):
		return nil, p.wrap(errors.New("is PKCS#12; name it in pkcs12, instead of certificate and private_key"))
	case len(blocks) == 0:
		return nil, p.wrap(errors.New("is not PEM; convert it, from DER with openssl x509 or openssl pkey and -inform der"))
	}
	return blocks, nil
}

// isPKCS12 reports whether data begins as a PFX of RFC 7292 does: version 3
// and a ContentInfo.
func isPKCS12(data []byte) bool {
	var p pfx
	_, err := asn1.Unmarshal(data, &p)
	return err == nil && p.Version == 3
}

// Certificates returns the certificates of a PEM text, at least one. Private
// keys between them are passed over: one file may hold both.
func (p Part) Certificates() ([]*x509.Certificate, error) {
	blocks, err := p.blocks()
	if err != nil {
		return nil, err
	}
	var list []*x509.Certificate
	for _, b := range blocks {
		switch {
		case b.Type == "CERTIFICATE":
			c, err := x509.ParseCertificate(b.Bytes)
			if err != nil {
				return nil, p.wrap(fmt.Errorf("certificate %d in it: %w; issue it anew", len(list)+1, err))
			}
			list = append(list, c)
		case strings.HasSuffix(b.Type, "PRIVATE KEY"), b.Type == "EC PARAMETERS":
		default:
			return nil, p.wrap(fmt.Errorf("holds a %q, not a certificate; put the issued certificate there", b.Type))
		}
	}
	if len(list) == 0 {
		return nil, p.wrap(errors.New("holds a private key and no certificate; put the issued certificate there"))
	}
	return list, nil
}

// PrivateKey returns the one private key of a PEM text: PKCS#1, SEC1, PKCS#8,
// or PKCS#8 encrypted with the password, which is the zero Value when there is
// none. Certificates around it are passed over: one file may hold both.
func (p Part) PrivateKey(password secret.Value) (crypto.Signer, error) {
	blocks, err := p.blocks()
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
			return nil, p.wrap(errors.New("holds more than one private key; leave the certificate's own"))
		}
		if key, err = parseKey(b, password); err != nil {
			return nil, p.wrap(err)
		}
	}
	if key == nil {
		return nil, p.wrap(errors.New("holds a certificate and no private key; put the certificate's private key there"))
	}
	return key, nil
}

func parseKey(b *pem.Block, password secret.Value) (crypto.Signer, error) {
	switch {
	case b.Type == "ENCRYPTED PRIVATE KEY":
		return decryptPKCS8(b.Bytes, password)
	case b.Headers["DEK-Info"] != "":
		return nil, errors.New("is encrypted in a form that is not safe any more; convert it with openssl pkcs8 -topk8")
	case b.Type == "TSS2 PRIVATE KEY":
		return nil, errors.New("is a TPM's key; write tpm2: before its path")
	case b.Type == "OPENSSH PRIVATE KEY":
		return nil, errors.New("is an OpenSSH key; convert it with ssh-keygen -p -m PKCS8")
	case !strings.HasSuffix(b.Type, "PRIVATE KEY"):
		return nil, fmt.Errorf("holds a %q, not a private key; put the certificate's private key there", b.Type)
	}
	return parsePlainKey(b.Bytes)
}

// parsePlainKey tries every encoding whatever the label says: tools mix them
// up. The parsers' own errors are left out, they name Go functions.
func parsePlainKey(der []byte) (crypto.Signer, error) {
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if signer, ok := key.(crypto.Signer); err == nil && ok {
		return signer, nil
	}
	return nil, errors.New("is not a private key that can be read; test it with openssl pkey -check")
}

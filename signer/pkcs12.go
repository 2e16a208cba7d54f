package signer

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"

	"software.sslmate.com/src/go-pkcs12"

	"outrider/secret"
)

// PKCS12 returns the one private key of a PKCS#12 file (RFC 7292) and its
// certificates, the key's own first, then perhaps its chain. The password is
// the zero Value when there is none.
func (p Part) PKCS12(password secret.Value) ([]*x509.Certificate, crypto.Signer, error) {
	if len(p.Data) == 0 {
		return nil, nil, p.wrap(errors.New("is empty; write it whole, then rename it into place"))
	}
	if !isPKCS12(p.Data) {
		return nil, nil, p.wrap(errors.New("is not PKCS#12, or cut short; write it whole, then rename it into place; PEM goes into certificate and private_key"))
	}
	key, first, others, err := pkcs12.DecodeChain(p.Data, string(password.Reveal()))
	wrong := errors.Is(err, pkcs12.ErrIncorrectPassword) || errors.Is(err, pkcs12.ErrDecryption)
	private, usable := key.(crypto.Signer)
	switch {
	case wrong && password.Len() == 0:
		return nil, nil, p.wrap(errors.New("is encrypted; name a file with its password in password_file"))
	case wrong:
		return nil, nil, p.wrap(errPassword)
	case err != nil:
		reason := strings.TrimPrefix(strings.ReplaceAll(err.Error(), "\n", " "), "pkcs12: ")
		return nil, nil, p.wrap(fmt.Errorf("%s; export certificate and key anew with openssl pkcs12 -export", reason))
	case !usable:
		return nil, nil, p.wrap(fmt.Errorf("its key is a %T; use RSA, or ECDSA on P-256 or P-384", key))
	}
	// Tools order the certificates as they please.
	all := append([]*x509.Certificate{first}, others...)
	if i := slices.IndexFunc(all, func(c *x509.Certificate) bool { return belongs(c, private.Public()) }); i > 0 {
		all[0], all[i] = all[i], all[0]
	}
	return all, private, nil
}

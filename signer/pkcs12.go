package signer

import (
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"math"
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
	if n := macIterations(p.Data); n > maxIterations {
		return nil, nil, p.wrap(fmt.Errorf("its MAC takes %d iterations, beyond %d; export certificate and key anew with openssl pkcs12 -export", n, maxIterations))
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

// pfx is the outside of a PKCS#12 file (RFC 7292, 4).
type pfx struct {
	Version int
	Auth    struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue `asn1:"optional"`
	}
	MAC asn1.RawValue `asn1:"optional"`
}

// macIterations returns how often a file's MAC has the password hashed, which
// happens before anything shows that somebody knows it. It is the greatest
// number there, in either of the forms (RFC 7292, RFC 9579).
func macIterations(data []byte) int64 {
	var p pfx
	if _, err := asn1.Unmarshal(data, &p); err != nil {
		return 0
	}
	return greatest(p.MAC, 8)
}

// greatest returns the greatest INTEGER in a value, so many levels down.
func greatest(v asn1.RawValue, levels int) int64 {
	var n int64
	switch {
	case v.Class == asn1.ClassUniversal && v.Tag == asn1.TagInteger:
		if _, err := asn1.Unmarshal(v.FullBytes, &n); err != nil {
			return math.MaxInt64
		}
	case v.IsCompound && levels > 0:
		for rest := v.Bytes; len(rest) > 0; {
			var inner asn1.RawValue
			var err error
			if rest, err = asn1.Unmarshal(rest, &inner); err != nil {
				break
			}
			n = max(n, greatest(inner, levels-1))
		}
	}
	return n
}

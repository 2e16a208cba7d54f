package signer

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha1" //nolint:gosec // the default pseudo-random function of PBKDF2, within HMAC
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"hash"

	"golang.org/x/crypto/scrypt"

	"outrider/secret"
)

// What a file may ask of this host before its password is known: some seconds
// of PBKDF2, and of scrypt a quarter of a GiB for as long. OpenSSL asks for a
// hundredth.
const (
	maxIterations = 10_000_000
	maxScrypt     = 256 << 20 // bytes, and bytes times parallelization
)

// errPassword is all that can be told of a password that does not fit: there
// is no checksum.
var errPassword = errors.New("the password does not open it; correct the file that password_file names")

// pbes2 is how a key is encrypted with a password (RFC 8018, 6.2).
type pbes2 struct {
	derive func(password string, size int) ([]byte, error)
	size   int // of the AES key, in bytes
	iv     []byte
	text   []byte
}

// decryptPKCS8 opens an EncryptedPrivateKeyInfo (RFC 5958, 3).
func decryptPKCS8(der []byte, password secret.Value) (crypto.Signer, error) {
	p, err := parsePBES2(der)
	if err != nil {
		return nil, err
	}
	if password.Len() == 0 {
		return nil, errors.New("is encrypted; name a file with its password in password_file")
	}
	key, err := p.derive(string(password.Reveal()), p.size)
	if err != nil {
		return nil, err
	}
	return p.open(key)
}

func parsePBES2(der []byte) (pbes2, error) {
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Text      []byte
	}
	var scheme struct{ KDF, Cipher pkix.AlgorithmIdentifier }
	damaged := errors.New("is an encrypted key that is damaged; test it with openssl pkey")
	if rest, err := asn1.Unmarshal(der, &info); err != nil || len(rest) > 0 {
		return pbes2{}, damaged
	}
	if oid := info.Algorithm.Algorithm.String(); oid != "1.2.840.113549.1.5.13" {
		return pbes2{}, unknown("scheme", oid)
	}
	if _, err := asn1.Unmarshal(info.Algorithm.Parameters.FullBytes, &scheme); err != nil {
		return pbes2{}, damaged
	}
	p := pbes2{text: info.Text}
	switch oid := scheme.Cipher.Algorithm.String(); oid {
	case "2.16.840.1.101.3.4.1.2":
		p.size = 16
	case "2.16.840.1.101.3.4.1.22":
		p.size = 24
	case "2.16.840.1.101.3.4.1.42":
		p.size = 32
	default:
		return pbes2{}, unknown("cipher", oid)
	}
	if _, err := asn1.Unmarshal(scheme.Cipher.Parameters.FullBytes, &p.iv); err != nil || len(p.iv) != aes.BlockSize {
		return pbes2{}, damaged
	}
	if len(p.text) == 0 || len(p.text)%aes.BlockSize != 0 {
		return pbes2{}, damaged
	}
	var err error
	switch oid := scheme.KDF.Algorithm.String(); oid {
	case "1.2.840.113549.1.5.12":
		p.derive, err = parsePBKDF2(scheme.KDF.Parameters.FullBytes)
	case "1.3.6.1.4.1.11591.4.11":
		p.derive, err = parseScrypt(scheme.KDF.Parameters.FullBytes)
	default:
		err = unknown("key derivation", oid)
	}
	return p, err
}

func unknown(what, oid string) error {
	return fmt.Errorf("is encrypted with a %s that is not read here (%s); convert it with openssl pkcs8 -topk8 -v2 aes-256-cbc", what, oid)
}

func parsePBKDF2(der []byte) (func(string, int) ([]byte, error), error) {
	var p struct {
		Salt       []byte
		Iterations int
		Size       int                      `asn1:"optional"`
		PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
	}
	if _, err := asn1.Unmarshal(der, &p); err != nil || p.Iterations < 1 || p.Iterations > maxIterations {
		return nil, fmt.Errorf("is encrypted with PBKDF2 parameters that are damaged, or beyond %d iterations; convert it with openssl pkcs8 -topk8", maxIterations)
	}
	var h func() hash.Hash
	switch oid := p.PRF.Algorithm.String(); oid {
	case "", "1.2.840.113549.2.7":
		h = sha1.New
	case "1.2.840.113549.2.8":
		h = sha256.New224
	case "1.2.840.113549.2.9":
		h = sha256.New
	case "1.2.840.113549.2.10":
		h = sha512.New384
	case "1.2.840.113549.2.11":
		h = sha512.New
	default:
		return nil, unknown("pseudo-random function", oid)
	}
	return func(password string, size int) ([]byte, error) {
		return pbkdf2.Key(h, password, p.Salt, p.Iterations, size)
	}, nil
}

// parseScrypt reads the parameters of RFC 7914, 7.
func parseScrypt(der []byte) (func(string, int) ([]byte, error), error) {
	var p struct {
		Salt    []byte
		N, R, P int
		Size    int `asn1:"optional"`
	}
	_, err := asn1.Unmarshal(der, &p)
	if err != nil || p.N < 2 || p.R < 1 || p.P < 1 || p.N > maxScrypt/128/p.R/p.P {
		return nil, fmt.Errorf("is encrypted with scrypt parameters that are damaged, or beyond %d MiB; convert it with openssl pkcs8 -topk8", maxScrypt>>20)
	}
	return func(password string, size int) ([]byte, error) {
		return scrypt.Key([]byte(password), p.Salt, p.N, p.R, p.P, size)
	}, nil
}

// open decrypts with AES in CBC mode and parses what is inside.
func (p pbes2) open(key []byte) (crypto.Signer, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	text := make([]byte, len(p.text))
	cipher.NewCBCDecrypter(block, p.iv).CryptBlocks(text, p.text)
	padding := int(text[len(text)-1])
	if padding < 1 || padding > aes.BlockSize || padding > len(text) {
		return nil, errPassword
	}
	for _, b := range text[len(text)-padding:] {
		if int(b) != padding {
			return nil, errPassword
		}
	}
	signer, err := parsePlainKey(text[:len(text)-padding])
	if err != nil {
		return nil, errPassword
	}
	return signer, nil
}

package signer_test

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"outrider/internal/pkitest"
	"outrider/secret"
	"outrider/signer"
)

const password = "correct h\u00f6rse"

// openssl runs a command of openssl with a text on its standard input as the
// file IN, and returns what it writes to the file OUT.
func openssl(t *testing.T, in []byte, args ...string) []byte {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{"IN": filepath.Join(dir, "in"), "OUT": filepath.Join(dir, "out")}
	if err := os.WriteFile(files["IN"], in, 0o600); err != nil {
		t.Fatal(err)
	}
	for i, arg := range args {
		if file, ok := files[arg]; ok {
			args[i] = file
		}
	}
	pkitest.Run(t, "openssl", args...)
	out, err := os.ReadFile(files["OUT"])
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// encrypted returns a key as openssl pkcs8 encrypts it.
func encrypted(t *testing.T, key crypto.Signer, options ...string) signer.Part {
	t.Helper()
	args := append([]string{"pkcs8", "-topk8", "-in", "IN", "-out", "OUT", "-passout", "pass:" + password}, options...)
	return signer.Part{Name: "private key host.key", Data: openssl(t, pkitest.KeyPEM(t, key), args...)}
}

func sameKey(a, b crypto.Signer) bool {
	public, ok := a.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(b.Public())
}

func TestEncryptedKeysOpenWithTheirPassword(t *testing.T) {
	rsa, p384 := pkitest.RSA(t, 2048), pkitest.ECDSA(t, elliptic.P384())
	tests := map[string][]string{
		"as it does by default":    nil,
		"AES-128":                  {"-v2", "aes-128-cbc"},
		"AES-192":                  {"-v2", "aes-192-cbc"},
		"PBKDF2 with HMAC-SHA-1":   {"-v2prf", "hmacWithSHA1"},
		"PBKDF2 with HMAC-SHA-224": {"-v2prf", "hmacWithSHA224"},
		"PBKDF2 with HMAC-SHA-384": {"-v2prf", "hmacWithSHA384"},
		"PBKDF2 with HMAC-SHA-512": {"-v2prf", "hmacWithSHA512"},
		"a million iterations":     {"-iter", "1000000"},
		"scrypt":                   {"-scrypt"},
		"scrypt with other costs":  {"-scrypt", "-scrypt_N", "1024", "-scrypt_r", "4", "-scrypt_p", "2"},
	}
	for name, options := range tests {
		t.Run(name, func(t *testing.T) {
			for _, key := range []crypto.Signer{rsa, p384} {
				part := encrypted(t, key, slices.Clone(options)...)
				got, err := part.PrivateKey(secret.Text(password))
				if err != nil {
					t.Fatal(err)
				}
				if !sameKey(got, key) {
					t.Error("got another key")
				}
			}
		})
	}
}

func TestEncryptedKeysSayWhatIsWrong(t *testing.T) {
	key := pkitest.ECDSA(t, elliptic.P256())
	good := encrypted(t, key)
	block, _ := pem.Decode(good.Data)
	cut := pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes[:len(block.Bytes)-16]})
	tests := map[string]struct {
		part     signer.Part
		password string
		want     string
	}{
		"no password":                   {good, "", "is encrypted; name a file with its password in password_file"},
		"a wrong password":              {good, "wrong", "the password does not open it; correct the file"},
		"a scheme of PKCS#5 1.5":        {encrypted(t, key, "-v1", "PBE-SHA1-3DES"), password, "a scheme that is not read here (1.2.840.113549.1.12.1.3); convert it"},
		"3DES":                          {encrypted(t, key, "-v2", "des3"), password, "a cipher that is not read here (1.2.840.113549.3.7); convert it"},
		"scrypt that asks for too much": {signer.Part{Name: good.Name, Data: costly(t, encrypted(t, key, "-scrypt").Data)}, password, "beyond 256 MiB"},
		"a text that is cut short":      {signer.Part{Name: good.Name, Data: cut}, password, "is an encrypted key that is damaged"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := test.part.PrivateKey(secret.Text(test.password))
			if err == nil || !strings.HasPrefix(err.Error(), good.Name+": ") || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if err != nil && (strings.Contains(err.Error(), password) || strings.ContainsAny(err.Error(), "\r\n")) {
				t.Error("got more than one line, or the password")
			}
		})
	}
}

// costly raises scrypt's N from 16384 to 32767, and r from 8 to 127.
func costly(t *testing.T, text []byte) []byte {
	t.Helper()
	block, _ := pem.Decode(text)
	der := bytes.Replace(block.Bytes, []byte{2, 2, 0x40, 0, 2, 1, 8}, []byte{2, 2, 0x7f, 0xff, 2, 1, 0x7f}, 1)
	if bytes.Equal(der, block.Bytes) {
		t.Fatal("found no scrypt parameters")
	}
	return pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: der})
}

// exported returns what openssl pkcs12 -export makes of PEM texts.
func exported(t *testing.T, pems []byte, options ...string) signer.Part {
	t.Helper()
	args := append([]string{"pkcs12", "-export", "-in", "IN", "-out", "OUT"}, options...)
	return signer.Part{Name: "PKCS#12 host.p12", Data: openssl(t, pems, args...)}
}

func TestPKCS12HoldsKeyCertificateAndChain(t *testing.T) {
	pass := "pass:" + password
	ca := pkitest.NewRoot(t, "root").Intermediate(t, "ca")
	tests := map[string]struct {
		options  []string
		password string
	}{
		"as openssl does by default":     {[]string{"-passout", pass}, password},
		"RC2 and 3DES":                   {[]string{"-legacy", "-passout", pass}, password},
		"3DES alone":                     {[]string{"-legacy", "-certpbe", "PBE-SHA1-3DES", "-passout", pass}, password},
		"certificates that stand open":   {[]string{"-certpbe", "NONE", "-passout", pass}, password},
		"a key that stands open, no MAC": {[]string{"-keypbe", "NONE", "-certpbe", "NONE", "-nomac", "-passout", "pass:"}, ""},
		"a password of no characters":    {[]string{"-passout", "pass:"}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for _, key := range []crypto.Signer{pkitest.RSA(t, 2048), pkitest.ECDSA(t, elliptic.P256())} {
				leaf := ca.Leaf(t, pkitest.Options{Key: key})
				pems := slices.Concat(leaf.Certificate, pkitest.CertificatePEM(ca.Certificate), leaf.PrivateKey)
				certificates, got, err := exported(t, pems, slices.Clone(test.options)...).PKCS12(secret.Text(test.password))
				if err != nil {
					t.Fatal(err)
				}
				if !sameKey(got, key) || len(certificates) != 2 || !certificates[0].Equal(leaf.Parsed) || !certificates[1].Equal(ca.Certificate) {
					t.Errorf("got the key: %t, and %d certificates", sameKey(got, key), len(certificates))
				}
			}
		})
	}
}

func TestPKCS12SaysWhatIsWrong(t *testing.T) {
	leaf := pkitest.NewRoot(t, "root").Leaf(t, pkitest.Options{})
	both := slices.Concat(leaf.Certificate, leaf.PrivateKey)
	pass := "pass:" + password
	good := exported(t, both, "-passout", pass)
	legacy := exported(t, both, "-legacy", "-passout", pass)
	part := func(data []byte) signer.Part { return signer.Part{Name: good.Name, Data: data} }
	tests := map[string]struct {
		part     signer.Part
		password string
		want     string
	}{
		"no password":           {good, "", "is encrypted; name a file with its password in password_file"},
		"a wrong password":      {good, "wrong", "the password does not open it; correct the file"},
		"a wrong password, RC2": {legacy, "wrong", "the password does not open it; correct the file"},
		"no key":                {exported(t, both, "-nokeys", "-passout", pass), password, "private key missing; export certificate and key anew"},
		"no certificate":        {exported(t, both, "-nocerts", "-passout", pass), password, "certificate missing; export"},
		"an empty file":         {part(nil), password, "is empty"},
		"a file cut short":      {part(good.Data[:len(good.Data)/2]), password, "is not PKCS#12, or cut short"},
		"PEM":                   {part(leaf.Certificate), password, "PEM goes into certificate and private_key"},
		"a MAC that is damaged": {part(flipped(good.Data, len(good.Data)-45)), password, "the password does not open it"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, _, err := test.part.PKCS12(secret.Text(test.password))
			if err == nil || !strings.HasPrefix(err.Error(), good.Name+": ") || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if err != nil && (strings.Contains(err.Error(), password) || strings.ContainsAny(err.Error(), "\r\n")) {
				t.Error("got more than one line, or the password")
			}
		})
	}
}

func flipped(data []byte, at int) []byte {
	data = bytes.Clone(data)
	data[at] ^= 1
	return data
}

func FuzzEncrypted(f *testing.F) {
	for _, name := range []string{"pbkdf2", "scrypt"} {
		der, err := os.ReadFile("testdata/" + name + ".der")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(der)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		text := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: der})
		_, err := signer.Part{Name: "host.key", Data: text}.PrivateKey(secret.Value{}) // no seconds spent on a password
		if err == nil || strings.ContainsAny(err.Error(), "\n\r") {
			t.Errorf("got %v, want an error of one line", err)
		}
	})
}

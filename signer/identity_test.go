package signer_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"outrider/internal/pkitest"
	"outrider/signer"
)

func parse(t testing.TB, certificate, chain, key []byte) *signer.Identity {
	t.Helper()
	id, err := signer.Parse(certificate, chain, key)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestParseRefusesWithThePartAndTheRemedy(t *testing.T) {
	root := pkitest.NewRoot(t, "root")
	ca := root.Intermediate(t, "ca")
	stranger := root.Intermediate(t, "stranger")
	good := ca.Leaf(t, pkitest.Options{})
	other := ca.Leaf(t, pkitest.Options{})
	edited := func(edit func(*x509.Certificate)) []byte {
		return ca.Leaf(t, pkitest.Options{Key: good.Key, Edit: edit}).Certificate
	}
	public := func(key crypto.PublicKey) []byte {
		return ca.Leaf(t, pkitest.Options{Public: key}).Certificate
	}
	block := func(kind string) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: []byte{1}}) }
	ed, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}

	tests := map[string]struct {
		certificate, chain, key []byte // nil: the good one
		want                    []string
	}{
		"an empty certificate":                   {certificate: []byte(" \n"), want: []string{"certificate: is empty", "rename"}},
		"a certificate that is cut short":        {certificate: good.Certificate[:200], want: []string{"certificate: ", "cut short"}},
		"a second block that is cut short":       {certificate: append(bytes.Clone(good.Certificate), good.Certificate[:60]...), want: []string{"certificate: ", "cut short"}},
		"a certificate in DER":                   {certificate: good.Parsed.Raw, want: []string{"certificate: is not PEM", "openssl x509"}},
		"PKCS#12":                                {certificate: pkcs12(t), want: []string{"certificate: is PKCS#12", "name it in pkcs12"}},
		"a certificate request":                  {certificate: block("CERTIFICATE REQUEST"), want: []string{"CERTIFICATE REQUEST", "issued certificate"}},
		"a certificate that is garbage":          {certificate: block("CERTIFICATE"), want: []string{"certificate: certificate 1 in it"}},
		"a key in the certificate's place":       {certificate: good.PrivateKey, want: []string{"certificate: holds a private key and no certificate"}},
		"a CA certificate":                       {certificate: pkitest.CertificatePEM(ca.Certificate), want: []string{`"CN=ca" is a CA certificate`, "first"}},
		"a certificate of version 1":             {certificate: []byte(version1), want: []string{"version 1", "version 3"}},
		"no digitalSignature":                    {certificate: edited(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }), want: []string{"lacks digitalSignature"}},
		"an empty subject":                       {certificate: edited(func(c *x509.Certificate) { c.Subject = pkix.Name{} }), want: []string{"subject is empty"}},
		"a SHA-1 signature":                      {certificate: edited(func(c *x509.Certificate) { c.SignatureAlgorithm = x509.ECDSAWithSHA1 }), want: []string{"ECDSA-SHA1", "SHA-256 or stronger"}},
		"an Ed25519 certificate":                 {certificate: public(ed), want: []string{"Ed25519", "P-256 or P-384"}},
		"an RSA key of 1024 bits":                {certificate: public(modulus(1024)), want: []string{"RSA-1024", "2048 to 4096"}},
		"an RSA key of 8192 bits":                {certificate: public(modulus(8192)), want: []string{"RSA-8192", "2048 to 4096"}},
		"a P-521 key":                            {certificate: public(pkitest.ECDSA(t, elliptic.P521()).Public()), want: []string{"ECDSA P-521", "P-256 or P-384"}},
		"the key of another certificate":         {key: other.PrivateKey, want: []string{"private key: does not belong", `"CN=web-01"`, good.Parsed.SerialNumber.String()}},
		"a key of another kind":                  {key: pkitest.KeyPEM(t, pkitest.RSA(t, 2048)), want: []string{"private key: does not belong"}},
		"a damaged encrypted key":                {key: block("ENCRYPTED PRIVATE KEY"), want: []string{"private key: is an encrypted key that is damaged", "openssl pkey"}},
		"a key encrypted the old way":            {key: legacy, want: []string{"private key: is encrypted in a form", "openssl pkcs8 -topk8"}},
		"an OpenSSH key":                         {key: block("OPENSSH PRIVATE KEY"), want: []string{"ssh-keygen"}},
		"a TPM key":                              {key: block("TSS2 PRIVATE KEY"), want: []string{"TPM", "write tpm2: before its path"}},
		"a public key":                           {key: block("PUBLIC KEY"), want: []string{"PUBLIC KEY", "not a private key"}},
		"a key that is garbage":                  {key: block("PRIVATE KEY"), want: []string{"openssl pkey -check"}},
		"a certificate in the key's place":       {key: good.Certificate, want: []string{"private key: holds a certificate and no private key"}},
		"two keys":                               {key: append(bytes.Clone(good.PrivateKey), other.PrivateKey...), want: []string{"more than one private key"}},
		"an empty key":                           {key: []byte{}, want: []string{"private key: is empty"}},
		"an empty chain":                         {chain: []byte{}, want: []string{"chain: is empty"}},
		"a chain that does not link":             {chain: pkitest.CertificatePEM(stranger.Certificate), want: []string{"chain: ", `"CN=stranger"`, `"CN=ca"`}},
		"a full chain that does not link":        {certificate: slices.Concat(good.Certificate, pkitest.CertificatePEM(stranger.Certificate)), want: []string{"certificate: ", `"CN=stranger"`}},
		"a chain of the same name by another CA": {chain: pkitest.CertificatePEM(pkitest.NewRoot(t, "x").Intermediate(t, "ca").Certificate), want: []string{"has issued none"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			certificate, key := test.certificate, test.key
			if certificate == nil {
				certificate = good.Certificate
			}
			if key == nil {
				key = good.PrivateKey
			}
			_, err := signer.Parse(certificate, test.chain, key)
			if err == nil {
				t.Fatal("got no error")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %q, want it to contain %q", err, want)
				}
			}
			if strings.ContainsAny(err.Error(), "\n\r") {
				t.Errorf("got %q, want one line", err)
			}
		})
	}
}

func TestChainIsPutInOrder(t *testing.T) {
	root := pkitest.NewRoot(t, "root")
	upper := root.Intermediate(t, "upper")
	lower := upper.Intermediate(t, "lower")
	leaf := lower.Leaf(t, pkitest.Options{})
	l, u, r := lower.Certificate, upper.Certificate, root.Certificate
	tests := map[string]struct {
		full, chain []*x509.Certificate
		want        []*x509.Certificate
	}{
		"none":                          {},
		"in a file of its own":          {chain: []*x509.Certificate{l, u}, want: []*x509.Certificate{l, u}},
		"in the certificate's file":     {full: []*x509.Certificate{l, u}, want: []*x509.Certificate{l, u}},
		"upside down":                   {chain: []*x509.Certificate{u, l}, want: []*x509.Certificate{l, u}},
		"in both files":                 {full: []*x509.Certificate{l}, chain: []*x509.Certificate{l, u}, want: []*x509.Certificate{l, u}},
		"with the leaf and the root":    {chain: []*x509.Certificate{r, leaf.Parsed, l, u}, want: []*x509.Certificate{l, u}},
		"the root alone":                {chain: []*x509.Certificate{r}},
		"ending below the trust anchor": {chain: []*x509.Certificate{l}, want: []*x509.Certificate{l}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var chain []byte
			if test.chain != nil {
				chain = pkitest.CertificatePEM(test.chain...)
			}
			id := parse(t, slices.Concat(leaf.Certificate, pkitest.CertificatePEM(test.full...)), chain, leaf.PrivateKey)
			if got := id.Chain(); !slices.EqualFunc(got, test.want, (*x509.Certificate).Equal) {
				t.Errorf("got %d certificates, want %d, or in another order", len(got), len(test.want))
			}
		})
	}
}

func TestChainMayBeFiveLong(t *testing.T) {
	ca := pkitest.NewRoot(t, "root")
	var chain []*x509.Certificate
	for i := range 6 {
		ca = ca.Intermediate(t, fmt.Sprint("ca", i))
		chain = append(chain, ca.Certificate)
	}
	leaf := ca.Leaf(t, pkitest.Options{})
	parse(t, leaf.Certificate, pkitest.CertificatePEM(chain[1:]...), leaf.PrivateKey)
	_, err := signer.Parse(leaf.Certificate, pkitest.CertificatePEM(chain...), leaf.PrivateKey)
	if err == nil || !strings.Contains(err.Error(), "holds 6 intermediates") {
		t.Errorf("six: got %v", err)
	}
}

func TestParseAcceptsEveryEncoding(t *testing.T) {
	root := pkitest.NewRoot(t, "root")
	rsaKey, ecKey := pkitest.RSA(t, 2048), pkitest.ECDSA(t, elliptic.P384())
	sec1, err := x509.MarshalECPrivateKey(ecKey)
	if err != nil {
		t.Fatal(err)
	}
	parameters := pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{5, 0}})
	ecLeaf, rsaLeaf := root.Leaf(t, pkitest.Options{Key: ecKey}), root.Leaf(t, pkitest.Options{Key: rsaKey})
	sec1PEM := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1})
	tests := map[string]struct{ certificate, key []byte }{
		"PKCS#1":               {rsaLeaf.Certificate, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey)})},
		"PKCS#8":               {rsaLeaf.Certificate, rsaLeaf.PrivateKey},
		"SEC1":                 {ecLeaf.Certificate, sec1PEM},
		"SEC1 with parameters": {ecLeaf.Certificate, slices.Concat(parameters, sec1PEM)},
		"SEC1 labelled PKCS#8": {ecLeaf.Certificate, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: sec1})},
		"both in one file":     {slices.Concat(ecLeaf.PrivateKey, ecLeaf.Certificate), slices.Concat(ecLeaf.PrivateKey, ecLeaf.Certificate)},
		"text and CRLF":        {bytes.ReplaceAll(slices.Concat([]byte("Subject: CN=web-01\n"), ecLeaf.Certificate), []byte("\n"), []byte("\r\n")), ecLeaf.PrivateKey},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { parse(t, test.certificate, nil, test.key) })
	}
}

func TestCheckTimeCoversTheWholeSet(t *testing.T) {
	root := pkitest.NewRoot(t, "root")
	ca := root.Intermediate(t, "ca") // from an hour ago to tomorrow
	now := time.Now()
	leaf := ca.Leaf(t, pkitest.Options{Edit: func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = now.Add(-48*time.Hour), now.Add(12*time.Hour)
	}})
	id := parse(t, leaf.Certificate, pkitest.CertificatePEM(ca.Certificate), leaf.PrivateKey)
	tests := map[string]struct {
		at      time.Time
		subject string // "": valid
		expired bool
		want    string
	}{
		"valid":                     {at: now},
		"to the last second":        {at: leaf.Parsed.NotAfter},
		"the leaf has expired":      {at: leaf.Parsed.NotAfter.Add(time.Hour), subject: "CN=web-01", expired: true, want: "1h0m0s ago; renew it"},
		"the leaf is not valid yet": {at: leaf.Parsed.NotBefore.Add(-time.Minute), subject: "CN=web-01", want: "in 1m0s; wait, or set this host's clock"},
		"its CA is not valid yet":   {at: now.Add(-2 * time.Hour), subject: "CN=ca", want: `"CN=ca"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := id.CheckTime(test.at)
			if test.subject == "" {
				if err != nil {
					t.Errorf("got %v, want it valid", err)
				}
				return
			}
			e, ok := errors.AsType[*signer.TimeError](err)
			if !ok {
				t.Fatalf("got %v, want a *TimeError", err)
			}
			if got := e.Certificate.Subject.String(); got != test.subject || e.Expired() != test.expired {
				t.Errorf("got %s, expired %t; want %s, %t", got, e.Expired(), test.subject, test.expired)
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %q, want it to contain %q", err, test.want)
			}
		})
	}
}

func TestEqualComparesTheWholeSet(t *testing.T) {
	root := pkitest.NewRoot(t, "root")
	ca := root.Intermediate(t, "ca")
	leaf, other := ca.Leaf(t, pkitest.Options{}), ca.Leaf(t, pkitest.Options{})
	chain := pkitest.CertificatePEM(ca.Certificate)
	id := parse(t, leaf.Certificate, chain, leaf.PrivateKey)
	tests := map[string]struct {
		other *signer.Identity
		want  bool
	}{
		"itself":          {id, true},
		"read again":      {parse(t, leaf.Certificate, chain, leaf.PrivateKey), true},
		"another leaf":    {parse(t, other.Certificate, chain, other.PrivateKey), false},
		"without a chain": {parse(t, leaf.Certificate, nil, leaf.PrivateKey), false},
		"none":            {nil, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := id.Equal(test.other); got != test.want {
				t.Errorf("got %t, want %t", got, test.want)
			}
		})
	}
	if (*signer.Identity)(nil).Equal(id) {
		t.Error("none equals an identity")
	}
}

// pinned is a key in a device, reached with a PIN.
type pinned struct {
	crypto.Signer
	pin string
}

// Equal reports whether both are reached with the same PIN.
func (p pinned) Equal(other crypto.Signer) bool { return other == p }

func TestEqualComparesHowADeviceIsReached(t *testing.T) {
	leaf := pkitest.NewRoot(t, "root").Leaf(t, pkitest.Options{})
	with := func(pin string) *signer.Identity {
		id, err := signer.New(signer.Set{
			Certificates: []*x509.Certificate{leaf.Parsed}, KeyPlace: "tpm2",
			Key: func(*x509.Certificate) (crypto.Signer, error) { return pinned{leaf.Key, pin}, nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	if !with("4711").Equal(with("4711")) {
		t.Error("the same PIN: got another identity")
	}
	if with("4711").Equal(with("0815")) {
		t.Error("another PIN: got the same identity")
	}
	if got := with("").KeyPlace(); got != "tpm2" {
		t.Errorf("got the place %q", got)
	}
}

func TestIdentityDoesNotPrintItsKey(t *testing.T) {
	key := pkitest.ECDSA(t, elliptic.P256())
	leaf := pkitest.NewRoot(t, "root").Leaf(t, pkitest.Options{Key: key})
	id := parse(t, leaf.Certificate, nil, leaf.PrivateKey)
	raw, err := key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	d := new(big.Int).SetBytes(raw)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x"} {
		for _, value := range []any{id, struct{ ID *signer.Identity }{id}} {
			got := fmt.Sprintf(verb, value)
			if strings.Contains(got, d.String()) || strings.Contains(got, d.Text(16)) {
				t.Errorf("%s of %T prints the private key", verb, value)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	root := pkitest.NewRoot(f, "root")
	leaf := root.Leaf(f, pkitest.Options{})
	f.Add(leaf.Certificate, pkitest.CertificatePEM(root.Certificate), leaf.PrivateKey)
	f.Add([]byte(version1), []byte{}, legacy)
	f.Add(leaf.Parsed.Raw, []byte(nil), []byte("-----BEGIN PRIVATE KEY-----"))
	f.Fuzz(func(t *testing.T, certificate, chain, key []byte) {
		id, err := signer.Parse(certificate, chain, key)
		if (id == nil) == (err == nil) {
			t.Fatalf("got identity %v and error %v, want one of them", id, err)
		}
		if err != nil && strings.ContainsAny(err.Error(), "\n\r") {
			t.Errorf("got %q, want one line", err)
		}
		if id != nil && len(id.Chain()) > 5 {
			t.Errorf("got a chain of %d", len(id.Chain()))
		}
	})
}

// modulus returns an RSA public key that nobody has the private key of.
func modulus(bits int) *rsa.PublicKey {
	n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
	return &rsa.PublicKey{N: n.SetBit(n, 0, 1), E: 65537}
}

// pkcs12 returns the outside of a PFX.
func pkcs12(t *testing.T) []byte {
	t.Helper()
	type contentInfo struct {
		Type    asn1.ObjectIdentifier
		Content []byte `asn1:"explicit,tag:0"`
	}
	der, err := asn1.Marshal(struct {
		Version int
		Auth    contentInfo
	}{3, contentInfo{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}, []byte("sealed")}})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// legacy is a key as openssl ec -aes128 wrote it.
var legacy = pem.EncodeToMemory(&pem.Block{
	Type:    "EC PRIVATE KEY",
	Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-128-CBC,E49F4E8AFF4ED2FE3FF669CC11E0CBC9"},
	Bytes:   []byte("sealed"),
})

// version1 is a certificate without extensions, as openssl x509 -req makes
// it by default; nobody has its key.
const version1 = `-----BEGIN CERTIFICATE-----
MIIBFzCBvwIUEJ4txCKxJKncROYoJem8G4mK1H8wCgYIKoZIzj0EAwIwDjEMMAoG
A1UEAwwDb2xkMCAXDTI2MTEyNDA2MjA1N1oYDzIxMjYxMDMxMDYyMDU3WjAOMQww
CgYDVQQDDANvbGQwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQbhZS5IT6x29pR
1niMDJzs/d79wpKOKe96qQwPmovXKvCrglDsqe6G6P3EaobtKlLo3pSltgriCOCK
ppF7JBs0MAoGCCqGSM49BAMCA0cAMEQCIBNudVjpvG/1C869cYZJBvxsTO5VyO9b
QjhL2j4W16JIAiAzSm5yi9NeJQQcS5XEWZwf/1h+MJHK8AUgVfZIQZn4wA==
-----END CERTIFICATE-----
`

package signer_test

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"sort"
	"strings"
	"testing"
	"time"

	"outrider/internal/pkitest"
	"outrider/signer"
)

const (
	region = "eu-west-3"
	query  = "?trustAnchorArn=arn%3Aaws%3Ata&roleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fapp&profileArn=p"
)

func TestSignaturesVerifyOnTheWire(t *testing.T) {
	root := pkitest.NewRoot(t, "root")
	upper := root.Intermediate(t, "upper")
	lower := upper.Intermediate(t, "lower")
	keys := map[string]func() crypto.Signer{
		"RSA-2048":    func() crypto.Signer { return pkitest.RSA(t, 2048) },
		"RSA-3072":    func() crypto.Signer { return pkitest.RSA(t, 3072) },
		"RSA-4096":    func() crypto.Signer { return pkitest.RSA(t, 4096) },
		"ECDSA P-256": func() crypto.Signer { return pkitest.ECDSA(t, elliptic.P256()) },
		"ECDSA P-384": func() crypto.Signer { return pkitest.ECDSA(t, elliptic.P384()) },
	}
	for kind, key := range keys {
		t.Run(kind, func(t *testing.T) {
			leaf := lower.Leaf(t, pkitest.Options{Key: key()})
			for name, chain := range map[string][]*x509.Certificate{
				"without a chain": nil,
				"with a chain":    {lower.Certificate, upper.Certificate},
			} {
				for form, query := range map[string]string{"query form": query, "body form": ""} {
					t.Run(name+", "+form, func(t *testing.T) {
						id := parse(t, leaf.Certificate, pkitest.CertificatePEM(chain...), leaf.PrivateKey)
						if got := id.KeyKind(); got != kind {
							t.Errorf("kind of key: got %s, want %s", got, kind)
						}
						if err := verify(leaf.Parsed, chain, signed(t, id, query)); err != nil {
							t.Error(err)
						}
					})
				}
			}
		})
	}
}

func TestNoSignedPartCanBeAltered(t *testing.T) {
	root := pkitest.NewRoot(t, "root")
	ca := root.Intermediate(t, "ca")
	leaf := ca.Leaf(t, pkitest.Options{})
	id := parse(t, leaf.Certificate, pkitest.CertificatePEM(ca.Certificate), leaf.PrivateKey)
	wire := string(signed(t, id, query))
	chain := []*x509.Certificate{ca.Certificate}
	if err := verify(leaf.Parsed, chain, []byte(wire)); err != nil {
		t.Fatalf("unaltered: %v", err)
	}
	for _, part := range []string{"POST", "/sessions", "roleArn", "%2Fapp", "aws.test", "application/json", "20261122T170650Z", "900", "Amz-Sdk-Request: a"} {
		t.Run(part, func(t *testing.T) {
			altered := strings.Replace(wire, part, part[:len(part)-1]+"9", 1)
			if altered == wire {
				t.Fatal("the part is not in the request")
			}
			if verify(leaf.Parsed, chain, []byte(altered)) == nil {
				t.Error("the signature of an altered request verifies")
			}
		})
	}
}

func TestSigningAgainReplacesWhatWasSigned(t *testing.T) {
	root := pkitest.NewRoot(t, "root")
	ca := root.Intermediate(t, "ca")
	leaf := ca.Leaf(t, pkitest.Options{})
	r := request(t, "")
	if err := parse(t, leaf.Certificate, pkitest.CertificatePEM(ca.Certificate), leaf.PrivateKey).Sign(r, hash(body), region, moment); err != nil {
		t.Fatal(err)
	}
	if err := parse(t, leaf.Certificate, nil, leaf.PrivateKey).Sign(r, hash(body), region, moment); err != nil {
		t.Fatal(err)
	}
	if err := verify(leaf.Parsed, nil, wire(t, r)); err != nil {
		t.Error(err)
	}
}

const body = `{"durationSeconds":900}`

var moment = time.Date(2026, 11, 22, 18, 6, 50, 0, time.FixedZone("CET", 3600))

func request(t *testing.T, query string) *http.Request {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, "https://aws.test/sessions"+query, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Amz-Sdk-Request", "attempt=1; max=1")
	return r
}

// signed returns a signed request as the wire has it.
func signed(t *testing.T, id *signer.Identity, query string) []byte {
	t.Helper()
	r := request(t, query)
	if err := id.Sign(r, hash(body), region, moment); err != nil {
		t.Fatal(err)
	}
	return wire(t, r)
}

func wire(t *testing.T, r *http.Request) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

var authorization = regexp.MustCompile(`^(AWS4-X509-(?:RSA|ECDSA)-SHA256) Credential=([0-9]+)/([0-9]{8})/([a-z0-9-]+)/rolesanywhere/aws4_request, SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]+)$`)

// verify does what AWS documents, from the bytes of the request and the
// certificates that ought to be in it.
func verify(leaf *x509.Certificate, chain []*x509.Certificate, wire []byte) error {
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(wire)))
	if err != nil {
		return err
	}
	content, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	m := authorization.FindStringSubmatch(r.Header.Get("Authorization"))
	if m == nil {
		return fmt.Errorf("Authorization is malformed: %s", r.Header.Get("Authorization"))
	}
	date := r.Header.Get("X-Amz-Date")
	if date != "20261122T170650Z" || m[3] != date[:8] || m[4] != region || m[2] != leaf.SerialNumber.String() {
		return fmt.Errorf("date %s, scope %s/%s, serial %s: not those that were asked for", date, m[3], m[4], m[2])
	}
	if r.Header.Get("X-Amz-X509") != base64.StdEncoding.EncodeToString(leaf.Raw) {
		return errors.New("X-Amz-X509 is not the leaf")
	}
	names := strings.Split(m[5], ";")
	lines := r.Method + "\n" + r.URL.Path + "\n"
	pairs := strings.Split(r.URL.RawQuery, "&")
	sort.Strings(pairs)
	lines += strings.Join(pairs, "&") + "\n"
	var seen []string
	for _, name := range names {
		value := strings.Join(r.Header.Values(name), ",")
		if name == "host" {
			value = r.Host
		}
		seen = append(seen, name)
		lines += name + ":" + value + "\n"
	}
	want := []string{"host", "x-amz-date", "x-amz-x509"}
	if len(chain) > 0 {
		want = append(want, "x-amz-x509-chain")
	}
	for _, name := range want {
		if i := sort.SearchStrings(seen, name); i == len(seen) || seen[i] != name {
			return fmt.Errorf("%s is not signed, or the names are not sorted: %s", name, m[5])
		}
	}
	if err := verifyChain(chain, r.Header.Values("X-Amz-X509-Chain")); err != nil {
		return err
	}
	canonical := sha256.Sum256([]byte(lines + "\n" + m[5] + "\n" + hash(string(content))))
	digest := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%s/%s/rolesanywhere/aws4_request\n%x", m[1], date, m[3], m[4], canonical))
	signature, err := hex.DecodeString(m[6])
	if err != nil {
		return err
	}
	switch public := leaf.PublicKey.(type) {
	case *rsa.PublicKey:
		if m[1] != "AWS4-X509-RSA-SHA256" {
			return fmt.Errorf("%s with an RSA key", m[1])
		}
		return rsa.VerifyPKCS1v15(public, crypto.SHA256, digest[:], signature)
	case *ecdsa.PublicKey:
		if m[1] != "AWS4-X509-ECDSA-SHA256" || !ecdsa.VerifyASN1(public, digest[:], signature) {
			return fmt.Errorf("%s: the signature does not verify", m[1])
		}
	}
	return nil
}

func verifyChain(want []*x509.Certificate, values []string) error {
	var blocks []string
	for _, c := range want {
		blocks = append(blocks, base64.StdEncoding.EncodeToString(c.Raw))
	}
	if got := strings.Join(values, "|"); got != strings.Join(blocks, ",") {
		return fmt.Errorf("X-Amz-X509-Chain holds other certificates, or in another order (%d bytes)", len(got))
	}
	return nil
}

package signer

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Sign signs r as AWS4-X509: it sets X-Amz-Date, X-Amz-X509,
// X-Amz-X509-Chain (when there is a chain) and Authorization. PayloadHash is
// the SHA-256 of the body in lower-case hexadecimal, region the endpoint's,
// at the time to sign with. The parameters may stand in the query or in the
// body. An error comes from the key alone. A key in a device is waited for as
// long as the request's context allows.
//
// Source: https://docs.aws.amazon.com/rolesanywhere/latest/userguide/authentication-sign-process.html
func (id *Identity) Sign(r *http.Request, payloadHash, region string, at time.Time) error {
	date := at.UTC().Format("20060102T150405Z")
	scope := date[:8] + "/" + region + "/rolesanywhere/aws4_request"
	r.Header.Set("X-Amz-Date", date)
	r.Header.Set("X-Amz-X509", encode(id.leaf))
	r.Header.Del("X-Amz-X509-Chain")
	if len(id.chain) > 0 {
		r.Header.Set("X-Amz-X509-Chain", encode(id.chain...))
	}

	// Derived here, not at load: a renewal may turn RSA into ECDSA or back.
	algorithm := "AWS4-X509-ECDSA-SHA256"
	if _, ok := id.key.Public().(*rsa.PublicKey); ok {
		algorithm = "AWS4-X509-RSA-SHA256"
	}
	request, signed := canonical(r, payloadHash)
	hash := sha256.Sum256([]byte(request))
	digest := sha256.Sum256([]byte(algorithm + "\n" + date + "\n" + scope + "\n" + hex.EncodeToString(hash[:])))
	signature, err := id.sign(r.Context(), digest[:])
	if err != nil {
		return fmt.Errorf("sign with the private key of %q: %w", id.leaf.Subject, err)
	}
	// The serial number is decimal here; session names and CloudTrail have it in hexadecimal.
	r.Header.Set("Authorization", fmt.Sprintf("%s Credential=%s/%s, SignedHeaders=%s, Signature=%x",
		algorithm, id.leaf.SerialNumber, scope, signed, signature))
	return nil
}

// sign signs a SHA-256 digest. A crypto.Signer has no context of its own: a
// key that one can wait for takes it beside.
func (id *Identity) sign(ctx context.Context, digest []byte) ([]byte, error) {
	key, ok := id.key.(interface {
		SignContext(context.Context, []byte, crypto.SignerOpts) ([]byte, error)
	})
	if ok {
		return key.SignContext(ctx, digest, crypto.SHA256)
	}
	return id.key.Sign(rand.Reader, digest, crypto.SHA256)
}

// canonical returns the canonical request and the names of its headers.
func canonical(r *http.Request, payloadHash string) (request, signed string) {
	headers := map[string]string{"host": r.Host}
	if r.Host == "" {
		headers["host"] = r.URL.Host
	}
	for name, values := range r.Header {
		if name = strings.ToLower(name); isSigned(name) {
			headers[name] = strings.Join(strings.Fields(strings.Join(values, ",")), " ")
		}
	}
	names := slices.Sorted(maps.Keys(headers))
	signed = strings.Join(names, ";")

	path := r.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	// Values.Encode sorts the keys and escapes all but RFC 3986's unreserved
	// characters; the blank alone it writes the old way.
	query := strings.ReplaceAll(r.URL.Query().Encode(), "+", "%20")
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n%s\n", r.Method, path, query)
	for _, name := range names {
		fmt.Fprintf(&b, "%s:%s\n", name, headers[name])
	}
	fmt.Fprintf(&b, "\n%s\n%s", signed, payloadHash)
	return b.String(), signed
}

// isSigned chooses the headers that AWS's own helper signs. What a proxy may
// change (User-Agent, Accept-Encoding, X-Amzn-Trace-Id) stays out.
func isSigned(name string) bool {
	return name == "content-type" || strings.HasPrefix(name, "x-amz-") || strings.HasPrefix(name, "amz-sdk-")
}

// encode returns the DER of certificates in base64, joined by commas.
func encode(certificates ...*x509.Certificate) string {
	blocks := make([]string, len(certificates))
	for i, c := range certificates {
		blocks[i] = base64.StdEncoding.EncodeToString(c.Raw)
	}
	return strings.Join(blocks, ",")
}

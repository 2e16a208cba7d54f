package awslab

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
)

// randomBytes cannot fail: since Go 1.24 crypto/rand ends the process first.
func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

// newUUID returns a random UUID (RFC 9562, version 4).
func newUUID() string {
	b := randomBytes(16)
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return formatUUID(b)
}

func formatUUID(b []byte) string {
	h := hex.EncodeToString(b[:16])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// newKeyID returns an access key id: AKIA for a user's, ASIA for a session's,
// AROA for the id of a role.
func newKeyID(prefix string) string { return prefix + rand.Text()[:16] }

// newSecretKey returns a secret access key: 40 characters, with the + and /
// that trip shells and query strings.
func newSecretKey() string { return base64.StdEncoding.EncodeToString(randomBytes(30)) }

// newToken returns a session token of about the length of AWS's.
func newToken() string { return base64.StdEncoding.EncodeToString(randomBytes(384)) }

// newSuffix returns the six characters that end a secret's ARN.
func newSuffix() string { return rand.Text()[:6] }

package serve

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"sync"
	"time"
)

// The parts of a token, in bytes: when it ends, something that makes it
// unlike any other, and the MAC of both.
const (
	endSize   = 8
	nonceSize = 8
	tokenSize = endSize + nonceSize + sha256.Size
)

// tokens are IMDSv2's. Each carries its own end under a key that this process
// alone knows, so that none is stored: no flood of them takes memory or pushes
// another client's out.
type tokens struct {
	macs sync.Pool // of hash.Hash: to make one takes longer than to use it
}

func newTokens() *tokens {
	var key [sha256.Size]byte
	_, _ = rand.Read(key[:]) // never fails
	return &tokens{sync.Pool{New: func() any { return hmac.New(sha256.New, key[:]) }}}
}

func (t *tokens) issue(end time.Time) string {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, tokenSize), uint64(end.UnixNano()))
	b = b[:endSize+nonceSize]
	_, _ = rand.Read(b[endSize:]) // never fails
	return base64.RawURLEncoding.EncodeToString(t.sum(b, b))
}

// valid compares in constant time.
func (t *tokens) valid(token string, now time.Time) bool {
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) != tokenSize {
		return false
	}
	claim := b[:endSize+nonceSize]
	end := int64(binary.BigEndian.Uint64(claim))
	return hmac.Equal(t.sum(nil, claim), b[len(claim):]) && now.UnixNano() < end
}

// sum appends the claim's MAC to b.
func (t *tokens) sum(b, claim []byte) []byte {
	mac, _ := t.macs.Get().(hash.Hash) // the pool holds nothing else
	defer t.macs.Put(mac)
	mac.Reset()
	_, _ = mac.Write(claim) // never fails
	return mac.Sum(b)
}

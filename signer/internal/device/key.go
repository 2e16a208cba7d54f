package device

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"

	"outrider/secret"
)

// limit bounds a use of a device whose caller set no bound. A slow TPM makes
// the parent of a key anew in some seconds.
const limit = 30 * time.Second

// PIN is what a device asks for before it signs: a PIN, or a password. The
// zero PIN is none.
type PIN struct {
	Value   secret.Value
	Path    string    // the file it was read from
	Changed time.Time // when that file changed last
}

// Given reports whether there is a PIN.
func (p PIN) Given() bool { return p.Path != "" }

func (p PIN) equal(q PIN) bool {
	return p.Path == q.Path && p.Changed.Equal(q.Changed) && p.Value.Equal(q.Value)
}

// Key is a private key that stays in its device. It holds nothing of it: each
// signature opens the device, finds the key and leaves it, so that there is
// nothing to release and a device that comes back is used again. It is safe
// for concurrent use, in which one waits for the other.
type Key struct {
	Guard  *Guard
	Device string           // what takes one caller at a time
	Name   string           // what tells the key from all others, wherever it is
	PIN    PIN              // shown to the device for each signature
	Pub    crypto.PublicKey // the certificate's
	// Signs signs a SHA-256 digest with the key that belongs to Pub: PKCS#1
	// v1.5 or ASN.1, as crypto.Signer does. It may block until ctx ends, or
	// longer where it cannot be broken off.
	Signs func(ctx context.Context, pin secret.Value, digest []byte) ([]byte, error)
}

// Public implements crypto.Signer.
func (k *Key) Public() crypto.PublicKey { return k.Pub }

// Sign implements crypto.Signer. It blocks for at most 30 seconds.
func (k *Key) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(context.Background(), limit, fmt.Errorf("waited %s", limit))
	defer cancel()
	return k.SignContext(ctx, digest, opts)
}

// SignContext is Sign within ctx. A PIN that was refused is not shown again
// until its file has changed: the error is the same as the first.
func (k *Key) SignContext(ctx context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if _, pss := opts.(*rsa.PSSOptions); pss || opts.HashFunc() != crypto.SHA256 || len(digest) != sha256.Size {
		return nil, errors.New("signs SHA-256 digests alone, without PSS")
	}
	var signature []byte
	err := k.Guard.do(ctx, k.Device, func() error {
		if err := k.Guard.recall(k.Name, k.PIN); err != nil {
			return err
		}
		var err error
		signature, err = k.Signs(ctx, k.PIN.Value, digest)
		k.Guard.remember(k.Name, k.PIN, err)
		return err
	})
	if err != nil {
		return nil, err
	}
	if !Fits(k.Pub, digest, signature) {
		return nil, errors.New("its signature is wrong; the device may be faulty, or the key was replaced")
	}
	return signature, nil
}

// Try signs once, to know that key, PIN and certificate belong together.
func (k *Key) Try(ctx context.Context) error {
	digest := sha256.Sum256([]byte("outrider"))
	_, err := k.SignContext(ctx, digest[:], crypto.SHA256)
	return err
}

// Equal reports whether both reach the same key in the same way.
func (k *Key) Equal(other crypto.Signer) bool {
	o, ok := other.(*Key)
	return ok && k.Name == o.Name && k.PIN.equal(o.PIN)
}

// Fits reports whether a signature of a SHA-256 digest was made with the
// private half of a public key.
func Fits(public crypto.PublicKey, digest, signature []byte) bool {
	switch p := public.(type) {
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(p, crypto.SHA256, digest, signature) == nil
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(p, digest, signature)
	}
	return false
}

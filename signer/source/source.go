// Package source reads an identity from wherever a host keeps it.
package source

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"outrider/signer"
	"outrider/signer/internal/device"
	"outrider/signer/pkcs11"
	"outrider/signer/spiffe"
	"outrider/signer/tpm"
)

// limit bounds one Load. A slow TPM takes some seconds.
const limit = 30 * time.Second

// Source says where the parts of an identity are kept: Certificate and
// PrivateKey, or PKCS12, or SPIFFE.
type Source struct {
	Certificate  string // path of a PEM text, the leaf first, then perhaps its chain
	PrivateKey   string // path of a PEM text; or tpm2:… as tpm.Parse, pkcs11:… as pkcs11.Parse reads it
	Chain        string // path of a PEM text; empty: none, or inside Certificate or PKCS12
	PKCS12       string // path
	SPIFFE       string // socket of a Workload API, unix:PATH
	PasswordFile string // path; a password, or the PIN of a token; empty: none
}

// Devices are the devices of this host that keep keys. The zero Devices is
// ready to use; it is safe for concurrent use and must not be copied. A
// process has one: it lets one caller at a time use a device, and remembers
// which PINs were refused.
type Devices struct {
	guard   device.Guard
	modules pkcs11.Modules
}

// Check reports what can never work, from the texts alone: a URI that is
// wrong, or one that this build cannot use. It opens nothing.
func (s Source) Check() error {
	var err error
	switch {
	case strings.HasPrefix(s.PrivateKey, "tpm2:"):
		_, err = tpm.Parse(s.PrivateKey)
	case strings.HasPrefix(s.PrivateKey, "pkcs11:"):
		var u pkcs11.URI
		if u, err = pkcs11.Parse(s.PrivateKey); err == nil {
			err = pkcs11.Built()
		}
		if err == nil && u.PINSource() != "" && s.PasswordFile != "" {
			err = errors.New("pin-source and password_file both name the PIN; give one of them")
		}
	}
	return named(s.keyName(), err)
}

// keyName is what errors call the private key: without the query of a PKCS#11
// URI, where a PIN may stand by mistake.
func (s Source) keyName() string {
	name := s.PrivateKey
	if strings.HasPrefix(name, "pkcs11:") {
		name, _, _ = strings.Cut(name, "?")
		name, _, _ = strings.Cut(name, "pin-value")
	}
	return "private key " + name
}

// Paths returns the files to watch, none for SPIFFE. A key inside a TPM or a
// token can change without any of them.
func (s Source) Paths() []string {
	var paths []string
	for _, p := range []string{s.Certificate, s.keyFile(), s.Chain, s.PKCS12, s.passwordFile()} {
		if p != "" {
			paths = append(paths, p)
		}
	}
	return paths
}

// keyFile returns the file that the private key is in, or nothing.
func (s Source) keyFile() string {
	switch {
	case strings.HasPrefix(s.PrivateKey, "pkcs11:"):
		return ""
	case strings.HasPrefix(s.PrivateKey, "tpm2:"):
		ref, _ := tpm.Parse(s.PrivateKey) // Load tells
		return ref.Path
	}
	return s.PrivateKey
}

func (s Source) passwordFile() string {
	if s.PasswordFile == "" && strings.HasPrefix(s.PrivateKey, "pkcs11:") {
		u, _ := pkcs11.Parse(s.PrivateKey) // Load tells
		return u.PINSource()
	}
	return s.PasswordFile
}

// Watch calls changed when the identity may have changed, and once at the
// beginning, one call after another: then Load tells what it is now. Files
// watches files in the same way, until ctx ends. Watch returns nil when ctx
// ends; else why it cannot go on, as when a Workload API has gone, after a
// last call: the caller begins again, later and later.
func (s Source) Watch(ctx context.Context, files func(ctx context.Context, paths []string, changed func()) error, changed func()) error {
	if s.SPIFFE != "" {
		return spiffe.Watch(ctx, s.SPIFFE, changed)
	}
	return files(ctx, s.Paths(), changed)
}

// Load reads the identity as one set and checks it, as signer.New does; a key
// in a device must sign once. It blocks for at most 30 seconds. Errors name
// the file or device and say what to do; a file that is not there yet is
// fs.ErrNotExist. A set that was read in the middle of a renewal does not
// match and is an error: the caller loads again when something changes, and
// after a while, since a device tells no change.
func (s Source) Load(ctx context.Context, d *Devices) (*signer.Identity, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("waited %s", limit))
	defer cancel()
	if err := s.Check(); err != nil {
		return nil, err
	}
	var set signer.Set
	var err error
	if s.SPIFFE != "" {
		set, err = svid(ctx, s.SPIFFE)
	} else {
		set, err = s.kept(ctx, d)
	}
	if err != nil {
		return nil, err
	}
	return signer.New(set)
}

//go:build !pkcs11 || !cgo

package pkcs11

import (
	"context"
	"crypto/x509"

	"outrider/signer/internal/device"
)

// Modules is empty in a build without PKCS#11.
type Modules struct{}

// Open returns ErrNotBuilt.
func (*Modules) Open(context.Context, *device.Guard, URI, device.PIN, *x509.Certificate) (*device.Key, error) {
	return nil, ErrNotBuilt
}

// Built returns ErrNotBuilt.
func Built() error { return ErrNotBuilt }

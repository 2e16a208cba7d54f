//go:build !pkcs11 || !cgo

package pkcs11

import (
	"errors"
	"testing"

	"outrider/signer/internal/device"
)

func TestTheStaticBuildNamesTheOther(t *testing.T) {
	_, err := (&Modules{}).Open(t.Context(), nil, URI{}, device.PIN{}, nil)
	if !errors.Is(err, ErrNotBuilt) || !errors.Is(Built(), ErrNotBuilt) {
		t.Errorf("got %v, %v", err, Built())
	}
}

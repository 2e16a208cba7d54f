//go:build !pkcs11 || !cgo

package source_test

import (
	"testing"

	"outrider/internal/pkitest"
	"outrider/signer/source"
)

func TestTheStaticBuildSaysWhichBuildToUse(t *testing.T) {
	_, ca := newLab(t)
	s := source.Source{
		Certificate: put(t, "host.pem", ca.Leaf(t, pkitest.Options{}).Certificate),
		PrivateKey:  "pkcs11:token=host?module-path=/usr/lib/softhsm/libsofthsm2.so",
	}
	refused(t, s, &source.Devices{}, "use the build with PKCS#11, of make build-pkcs11")
}

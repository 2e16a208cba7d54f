package hosttest

import (
	"crypto/elliptic"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"outrider/awslab"
	"outrider/internal/pkitest"
)

// token puts a key onto a PKCS#11 token and the PIN into a file.
func (h *host) token() {
	h.t.Helper()
	tok := pkitest.NewToken(h.t, "host")
	h.env = append(h.env, "SOFTHSM2_CONF="+os.Getenv("SOFTHSM2_CONF"))
	key := pkitest.ECDSA(h.t, elliptic.P256())
	tok.Import(h.t, key, "host", "01")
	h.certified("host.pem", key.Public())
	h.write("pin", []byte(tok.PIN))
	h.configure(`
identities: {host: {certificate: host.pem, private_key: "pkcs11:token=host;object=host?module-path=` + tok.Module + `", password_file: pin}}
roles: {billing: {${LAB}}}
listen: {admin: "unix:outrider.sock"}
`)
}

func TestTheStaticBinarySaysWhichBuildKnowsTokens(t *testing.T) {
	h := newHost(t, awslab.Options{})
	h.token()
	for _, command := range []string{"check", "run", "once"} {
		_, failure, code := h.run(command)
		if code != 78 || strings.Count(failure, "\n") != 1 || !strings.Contains(failure, "identities.host: private key pkcs11:token=host;object=host: ") ||
			!strings.Contains(failure, "make build-pkcs11") {
			t.Errorf("outrider %s ended with %d and %q; want 78, and one line that names the build", command, code, failure)
		}
	}
}

func TestTheBuildWithPKCS11UsesATokenAndItsRenewals(t *testing.T) {
	if _, err := exec.LookPath("gcc"); err != nil && os.Getenv("CI") != "true" {
		t.Skip("left out: gcc is missing (scripts/setup)")
	}
	h := newHost(t, awslab.Options{})
	var err error
	if h.binary, err = pkcs11(); err != nil {
		t.Fatal(err)
	}
	h.token()
	pin := h.read("pin")
	wanted(t, h.must("check"), "ECDSA P-256 in pkcs11")

	h.write("pin", []byte("4712-wrong"))
	h.canary("the wrong PIN", "4712-wrong")
	for range 3 { // a token locks itself after some wrong ones
		_, failure, code := h.run("check")
		if code != 1 || strings.Count(failure, "\n") != 1 || !strings.Contains(failure, "PIN") {
			t.Errorf("a wrong PIN: check ended with %d and %q", code, failure)
		}
	}
	h.start()
	eventually(t, "the wrong PIN in status", func() error {
		s, err := h.status()
		if err == nil && !strings.Contains(s.Identities["host"].Error, "PIN") {
			err = fmt.Errorf("it says %q", s.Identities["host"].Error)
		}
		return err
	})
	h.write("pin", []byte(pin))
	h.await("billing")

	tok := pkitest.Token{Label: "host", PIN: pin}
	key := pkitest.RSA(t, 2048)
	tok.Import(t, key, "host", "02")
	renewed := h.certified("host.pem", key.Public())
	eventually(t, "the new key of the token", func() error {
		return h.took("host", &renewal{new: renewed, key: "RSA-2048"})
	})
}

//go:build pkcs11 && cgo

package pkcs11

import (
	"bytes"
	"context"
	"crypto"
	"crypto/elliptic"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/pkcs11"
	"go.uber.org/goleak"

	"outrider/internal/pkitest"
	"outrider/secret"
	"outrider/signer/internal/device"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// host is what a process has one of. The modules are shared by all tests:
// they are initialised once in a process.
type host struct {
	guard   device.Guard
	modules *Modules
}

var modules Modules

func (h *host) open(t *testing.T, uri, pin string, leaf *x509.Certificate) (*device.Key, error) {
	t.Helper()
	return h.openWithin(t.Context(), t, uri, pin, leaf)
}

func (h *host) openWithin(ctx context.Context, t *testing.T, uri, pin string, leaf *x509.Certificate) (*device.Key, error) {
	t.Helper()
	u, err := Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	p := device.PIN{}
	if pin != "" {
		p = device.PIN{Value: secret.Text(pin), Path: "host.pin"}
	}
	return h.modules.Open(ctx, &h.guard, u, p, leaf)
}

// token returns a token with a module that has met no other.
func token(t *testing.T, label string) pkitest.Token {
	t.Helper()
	tok := pkitest.NewToken(t, label)
	t.Cleanup(func() { modules.stop(tok.Module) })
	return tok
}

func certified(t *testing.T, key crypto.Signer) *x509.Certificate {
	t.Helper()
	return pkitest.NewRoot(t, "root").Leaf(t, pkitest.Options{Key: key}).Parsed
}

func TestKeysSign(t *testing.T) {
	tok := token(t, "my token")
	keys := map[string]crypto.Signer{
		"object=rsa":           pkitest.RSA(t, 2048),
		"object=p256":          pkitest.ECDSA(t, elliptic.P256()),
		"id=%04;type=private":  pkitest.ECDSA(t, elliptic.P384()),
		"object=rsa;id=%00%05": pkitest.RSA(t, 3072),
	}
	tok.Import(t, keys["object=rsa"], "rsa", "02")
	tok.Import(t, keys["object=p256"], "p256", "03")
	tok.Import(t, keys["id=%04;type=private"], "p384", "04")
	tok.Import(t, keys["object=rsa;id=%00%05"], "rsa", "0005")
	h := &host{modules: &modules}
	for path, private := range keys {
		t.Run(path, func(t *testing.T) {
			key, err := h.open(t, "pkcs11:token=my%20token;"+path+"?module-path="+tok.Module, tok.PIN, certified(t, private))
			if err != nil {
				t.Fatal(err)
			}
			digest := make([]byte, 32)
			signature, err := key.Sign(nil, digest, crypto.SHA256)
			if err != nil || !device.Fits(private.Public(), digest, signature) {
				t.Errorf("got a signature that is right: %t, %v", err == nil, err)
			}
		})
	}
}

func TestOldAndNewKeyStandSideBySide(t *testing.T) {
	tok := token(t, "host")
	uri := "pkcs11:token=host;object=host?module-path=" + tok.Module
	h := &host{modules: &modules}
	var certificates []*x509.Certificate
	for i, private := range []crypto.Signer{
		pkitest.RSA(t, 2048), pkitest.RSA(t, 2048), pkitest.ECDSA(t, elliptic.P256()), pkitest.ECDSA(t, elliptic.P256()),
	} {
		leaf := certified(t, private)
		if _, err := h.open(t, uri, tok.PIN, leaf); err == nil {
			t.Fatal("found a key that is not there yet")
		}
		tok.Import(t, private, "host", []string{"01", "02", "03", "04"}[i])
		certificates = append(certificates, leaf)
		for j, c := range certificates {
			if _, err := h.open(t, uri, tok.PIN, c); err != nil {
				t.Errorf("with %d keys, the certificate of number %d: %v", i+1, j+1, err)
			}
		}
	}
}

func TestTokensMayComeLater(t *testing.T) {
	tok := token(t, "first")
	private := pkitest.ECDSA(t, elliptic.P256())
	leaf := certified(t, private)
	h := &host{modules: &modules}
	uri := "pkcs11:token=second;object=host?module-path=" + tok.Module
	_, err := h.open(t, uri, tok.PIN, leaf)
	if err == nil || !strings.Contains(err.Error(), `no token of module `+tok.Module+` fits the URI; it has "first"`) {
		t.Errorf("got %v", err)
	}
	tok.Label = "second"
	tok.Init(t)
	tok.Import(t, private, "host", "01")
	if _, err := h.open(t, uri, tok.PIN, leaf); err != nil {
		t.Error(err)
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	tok := token(t, "host")
	private := pkitest.ECDSA(t, elliptic.P256())
	tok.Import(t, private, "host", "01")
	twin := tok
	twin.Label = "twin"
	twin.Init(t)
	twin.Init(t)
	leaf, other := certified(t, private), certified(t, pkitest.RSA(t, 2048))
	text := filepath.Join(t.TempDir(), "module.so")
	if err := os.WriteFile(text, []byte("not a module"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		path, module, pin string
		leaf              *x509.Certificate
		want              string
	}{
		"a wrong PIN":               {"token=host;object=host", tok.Module, "0815", leaf, `token "host": the PIN in host.pin is wrong; correct it`},
		"a PIN that is too short":   {"token=host;object=host", tok.Module, "1", leaf, `the PIN in host.pin is wrong`},
		"no PIN":                    {"token=host;object=host", tok.Module, "", leaf, `token "host": asks for a PIN; name a file with it in password_file`},
		"a token that is not there": {"token=hots;object=host", tok.Module, tok.PIN, leaf, `fits the URI; it has "`},
		"two tokens":                {"token=twin;object=host", tok.Module, tok.PIN, leaf, `2 tokens of module`},
		"another library":           {"token=host;library-manufacturer=Luna", tok.Module, tok.PIN, leaf, `no token of module`},
		"an object not there":       {"token=host;object=hots", tok.Module, tok.PIN, leaf, `holds no private key with the label "hots"`},
		"an id not there":           {"token=host;id=%02", tok.Module, tok.PIN, leaf, `holds no private key with the id 02`},
		"another certificate":       {"token=host;object=host", tok.Module, tok.PIN, other, `1 private keys with the label "host", of which none belongs to the certificate of "CN=web-01"`},
		"a module not there":        {"token=host", "/usr/lib/no.so", tok.PIN, leaf, `module /usr/lib/no.so: no such file or directory; install it`},
		"a module that is none":     {"token=host", text, tok.PIN, leaf, `cannot be loaded`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := (&host{modules: &modules}).open(t, "pkcs11:"+test.path+"?module-path="+test.module, test.pin, test.leaf)
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.ContainsAny(err.Error(), "\r\n") {
				t.Errorf("got %v, want one line with %q", err, test.want)
			}
			if err != nil && test.pin != "" && strings.Contains(err.Error(), test.pin) && test.pin != "1" {
				t.Errorf("got %v, want it without the PIN", err)
			}
		})
	}
}

// shim builds the module that stands before SoftHSM's, and returns its path
// and how many PINs it was shown so far.
func shim(t *testing.T) (string, func() int) {
	t.Helper()
	headers := strings.TrimSpace(string(pkitest.Run(t, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/miekg/pkcs11")))
	dir := t.TempDir()
	module, log := filepath.Join(dir, "shim.so"), filepath.Join(dir, "log")
	pkitest.Run(t, "gcc", "-shared", "-fPIC", "-I", headers, "-o", module, "testdata/shim.c", "-ldl")
	t.Setenv("SHIM_LOG", log)
	t.Cleanup(func() { modules.stop(module) })
	return module, func() int {
		text, err := os.ReadFile(log)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		return bytes.Count(text, []byte("\n"))
	}
}

func TestWrongPINsAreNotShownAgain(t *testing.T) {
	tok := token(t, "host")
	private := pkitest.ECDSA(t, elliptic.P256())
	tok.Import(t, private, "host", "01")
	leaf := certified(t, private)
	module, logins := shim(t)
	uri := "pkcs11:token=host;object=host?module-path=" + module
	h := &host{modules: &modules}
	var first error
	for range 10 {
		_, err := h.open(t, uri, "0815", leaf)
		if err == nil || first != nil && err.Error() != first.Error() {
			t.Fatalf("got %v, want the error of the first time again: %v", err, first)
		}
		first = err
	}
	if got := logins(); got != 1 {
		t.Errorf("the token was shown a PIN %d times, want once", got)
	}
	key, err := h.open(t, uri, tok.PIN, leaf)
	if err != nil {
		t.Fatalf("with the right PIN: %v", err)
	}

	// The token's PIN is changed under a key that is in use.
	c, session := login(t, tok)
	if err := c.SetPIN(session, tok.PIN, "8150"); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseSession(session); err != nil {
		t.Fatal(err)
	}
	before := logins()
	for range 10 {
		if err := key.Try(t.Context()); err == nil {
			t.Fatal("signed with the old PIN")
		}
	}
	if got := logins() - before; got != 1 {
		t.Errorf("the token was shown the old PIN %d times, want once", got)
	}
}

func TestTheLastTryIsLeftToAPerson(t *testing.T) {
	tok := token(t, "host")
	private := pkitest.ECDSA(t, elliptic.P256())
	tok.Import(t, private, "host", "01")
	module, logins := shim(t)
	for flag, want := range map[string]string{
		"0x20000": "one more wrong PIN locks it, so none is tried",
		"0x40000": "its PIN is locked",
	} {
		t.Setenv("SHIM_FLAGS", flag)
		_, err := (&host{modules: &modules}).open(t, "pkcs11:token=host?module-path="+module, tok.PIN, certified(t, private))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("flags %s: got %v, want %q", flag, err, want)
		}
	}
	if got := logins(); got != 0 {
		t.Errorf("the token was shown a PIN %d times, want never", got)
	}
}

func TestASlowModuleHoldsNobodyUp(t *testing.T) {
	tok := token(t, "host")
	private := pkitest.ECDSA(t, elliptic.P256())
	tok.Import(t, private, "host", "01")
	leaf := certified(t, private)
	module, _ := shim(t)
	uri := "pkcs11:token=host?module-path=" + module
	h := &host{modules: &modules}
	slow := filepath.Join(t.TempDir(), "slow")
	if err := os.WriteFile(slow, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SHIM_SLOW", slow)
	for _, tc := range []struct {
		patience time.Duration
		want     string
	}{
		{3 * time.Second, "no answer (waited)"}, // enough, on a busy machine, to get as far as the signature
		{20 * time.Millisecond, "still busy with another request (waited)"},
	} {
		ctx, cancel := context.WithTimeoutCause(t.Context(), tc.patience, errors.New("waited"))
		_, err := h.openWithin(ctx, t, uri, tok.PIN, leaf)
		cancel()
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("got %v, want %q", err, tc.want)
		}
	}
	if err := os.Remove(slow); err != nil {
		t.Fatal(err)
	}
	if _, err := h.open(t, uri, tok.PIN, leaf); err != nil {
		t.Errorf("after it has answered: %v", err)
	}
}

func TestKeysAreUsedByManyAtOnce(t *testing.T) {
	tok := token(t, "host")
	h := &host{modules: &modules}
	var keys []*device.Key
	for _, label := range []string{"a", "b"} {
		private := pkitest.ECDSA(t, elliptic.P256())
		tok.Import(t, private, label, "0"+map[string]string{"a": "1", "b": "2"}[label])
		key, err := h.open(t, "pkcs11:token=host;object="+label+"?module-path="+tok.Module, tok.PIN, certified(t, private))
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	var group sync.WaitGroup
	for i := range 40 {
		group.Go(func() {
			if err := keys[i%2].Try(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}

func TestKeysThatAskForThePINEachTime(t *testing.T) {
	tok := token(t, "host")
	private := pkitest.ECDSA(t, elliptic.P256())
	d, err := private.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	create(t, tok, d)
	_, err = (&host{modules: &modules}).open(t, "pkcs11:token=host?module-path="+tok.Module, tok.PIN, certified(t, private))
	if err != nil {
		t.Error(err)
	}
}

// login opens a session that may change the token.
func login(t *testing.T, tok pkitest.Token) (*pkcs11.Ctx, pkcs11.SessionHandle) {
	t.Helper()
	c, _, err := modules.start(tok.Module)
	if err != nil {
		t.Fatal(err)
	}
	slot, _, err := key{uri: URI{attributes: map[string]string{"token": tok.Label}}}.slot(c)
	if err != nil {
		t.Fatal(err)
	}
	session, err := c.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Login(session, pkcs11.CKU_USER, tok.PIN); err != nil {
		t.Fatal(err)
	}
	return c, session
}

// create puts a P-256 key into the token that asks for the PIN at each use.
func create(t *testing.T, tok pkitest.Token, d []byte) {
	t.Helper()
	c, session := login(t, tok)
	defer c.CloseSession(session)
	p256 := []byte{0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07}
	_, err := c.CreateObject(session, []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_EC),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
		pkcs11.NewAttribute(pkcs11.CKA_SIGN, true),
		pkcs11.NewAttribute(pkcs11.CKA_ALWAYS_AUTHENTICATE, true),
		pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, p256),
		pkcs11.NewAttribute(pkcs11.CKA_VALUE, d),
	})
	if err != nil {
		t.Fatal(err)
	}
}

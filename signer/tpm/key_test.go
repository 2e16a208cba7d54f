package tpm_test

import (
	"crypto"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"outrider/internal/pkitest"
	"outrider/secret"
	"outrider/signer/internal/device"
	"outrider/signer/tpm"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// certified returns a certificate of a public key.
func certified(t *testing.T, public crypto.PublicKey) *x509.Certificate {
	t.Helper()
	return pkitest.NewRoot(t, "root").Leaf(t, pkitest.Options{Public: public}).Parsed
}

// pin returns a PIN as it is read from a file; an empty one is none.
func pin(text string) device.PIN {
	if text == "" {
		return device.PIN{}
	}
	return device.PIN{Value: secret.Text(text), Path: "host.pass"}
}

// open opens a key of a TPM in software.
func open(t *testing.T, guard *device.Guard, uri string, p device.PIN, leaf *x509.Certificate) (*device.Key, error) {
	t.Helper()
	ref, err := tpm.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	var file []byte
	if ref.Path != "" {
		if file, err = os.ReadFile(ref.Path); err != nil {
			t.Fatal(err)
		}
	}
	return tpm.Open(t.Context(), guard, ref, file, p, leaf)
}

func TestKeysSignAndLeaveNothingBehind(t *testing.T) {
	const password = "fish & chips"
	tests := map[string]struct {
		file       []string // of openssl genpkey
		persistent []string // of tpm2_create
		password   string
	}{
		"an RSA key file":                        {file: []string{"-algorithm", "RSA", "-pkeyopt", "bits:2048"}},
		"a P-256 key file":                       {file: []string{"-algorithm", "EC", "-pkeyopt", "group:P-256"}},
		"a P-384 key file":                       {file: []string{"-algorithm", "EC", "-pkeyopt", "group:P-384"}},
		"a P-256 key file with a password":       {file: []string{"-algorithm", "EC", "-pkeyopt", "group:P-256"}, password: password},
		"an RSA key file below a handle":         {file: []string{"-algorithm", "RSA", "-pkeyopt", "bits:2048", "-pkeyopt", "parent:0x81000009"}},
		"a persistent RSA key":                   {persistent: []string{"-G", "rsa2048"}},
		"a persistent P-256 key":                 {persistent: []string{"-G", "ecc256"}},
		"a persistent P-384 key with a password": {persistent: []string{"-G", "ecc384", "-p", password}, password: password},
		"a persistent key that signs SHA-256":    {persistent: []string{"-G", "ecc256:ecdsa-sha256"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			host := pkitest.NewTPM(t)
			var uri string
			var public crypto.PublicKey
			if test.file != nil {
				parent := filepath.Join(t.TempDir(), "parent")
				pkitest.Run(t, "tpm2_createprimary", "-Q", "-C", "o", "-G", "ecc", "-c", parent)
				pkitest.Run(t, "tpm2_evictcontrol", "-Q", "-C", "o", "-c", parent, "0x81000009")
				pkitest.Run(t, "tpm2_flushcontext", "-Q", "-t")
				uri, public = host.KeyFile(t, test.password, test.file...)
				uri = "tpm2:" + uri
			} else {
				uri, public = "tpm2:0x81000001", host.Persist(t, "0x81000001", test.persistent...)
			}
			key, err := open(t, &device.Guard{}, uri+"?device=unix:"+host.Socket, pin(test.password), certified(t, public))
			if err != nil {
				t.Fatal(err)
			}
			digest := make([]byte, 32)
			for range 5 { // a TPM has room for three of anything
				signature, err := key.Sign(nil, digest, crypto.SHA256)
				if err != nil || !device.Fits(public, digest, signature) {
					t.Fatalf("got a signature that is right: %t, %v", err == nil, err)
				}
			}
			for _, what := range []string{"handles-transient", "handles-loaded-session"} {
				if got := pkitest.Run(t, "tpm2_getcap", what); len(got) > 0 {
					t.Errorf("%s: got %s, want none", what, got)
				}
			}
		})
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	host := pkitest.NewTPM(t)
	at := "?device=unix:" + host.Socket
	plain := host.Persist(t, "0x81000001", "-G", "ecc256")
	pinned := host.Persist(t, "0x81000002", "-G", "ecc256:null:null", "-p", "right", "-a", "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign|noda")
	restricted := host.Persist(t, "0x81000003", "-G", "ecc256:ecdsa-sha256:null", "-a", "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign|restricted|noda")
	sha384 := host.Persist(t, "0x81000004", "-G", "ecc384:ecdsa-sha384:null", "-a", "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign|noda")
	decrypts := host.Persist(t, "0x81000005", "-G", "rsa2048:null:null", "-a", "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|decrypt|noda")
	file, public := host.KeyFile(t, "", "-algorithm", "EC", "-pkeyopt", "group:P-256")
	pem, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(t.TempDir(), "cut.pem")
	if err := os.WriteFile(cut, pem[:len(pem)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		uri, password string
		public        crypto.PublicKey
		want          []string
	}{
		"a wrong password":               {"tpm2:0x81000002" + at, "wrong", pinned, []string{"password is wrong", "password_file"}},
		"no password":                    {"tpm2:0x81000002" + at, "", pinned, []string{"asks for a password", "password_file"}},
		"a handle without a key":         {"tpm2:0x81000009" + at, "", plain, []string{"no key at handle 0x81000009", "tpm2_getcap"}},
		"another certificate":            {"tpm2:0x81000001" + at, "", public, []string{"does not belong to the certificate", "CN=web-01"}},
		"another certificate for a file": {"tpm2:" + file + at, "", plain, []string{"does not belong to the certificate"}},
		"a restricted key":               {"tpm2:0x81000003" + at, "", restricted, []string{"is not for signing", "unrestricted"}},
		"a key for SHA-384":              {"tpm2:0x81000004" + at, "", sha384, []string{"is not for signing", "without a scheme"}},
		"a key for decryption":           {"tpm2:0x81000005" + at, "", decrypts, []string{"is not for signing"}},
		"a file that is cut short":       {"tpm2:" + cut + at, "", public, []string{"TSS2 PRIVATE KEY", "cut short"}},
		"a TPM that is absent":           {"tpm2:0x81000001?device=/dev/no-tpm", "", plain, []string{"TPM at /dev/no-tpm: no such file", "?device="}},
		"a socket that is absent":        {"tpm2:0x81000001?device=unix:" + host.Socket + "x", "", plain, []string{"no such file", "?device="}},
		"a file that is no device":       {"tpm2:0x81000001?device=" + file, "", plain, []string{"is no device"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := open(t, &device.Guard{}, test.uri, pin(test.password), certified(t, test.public))
			if err == nil {
				t.Fatal("got no error")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %q, want it to contain %q", err, want)
				}
			}
			if strings.ContainsAny(err.Error(), "\r\n") || test.password != "" && strings.Contains(err.Error(), "\""+test.password) {
				t.Errorf("got %q, want one line without the password", err)
			}
		})
	}
}

func TestKeysOfAnotherTPMAreToldApart(t *testing.T) {
	file, public := pkitest.NewTPM(t).KeyFile(t, "", "-algorithm", "EC", "-pkeyopt", "group:P-256")
	other := pkitest.NewTPM(t)
	_, err := open(t, &device.Guard{}, "tpm2:"+file+"?device=unix:"+other.Socket, device.PIN{}, certified(t, public))
	if err == nil || !strings.Contains(err.Error(), "was made by another TPM") {
		t.Errorf("got %v", err)
	}
}

func TestWrongPasswordsDoNotLockTheTPM(t *testing.T) {
	host := pkitest.NewTPM(t) // locks at the third wrong password
	file, public := host.KeyFile(t, "right", "-algorithm", "EC", "-pkeyopt", "group:P-256")
	uri, leaf := "tpm2:"+file+"?device=unix:"+host.Socket, certified(t, public)

	guard := &device.Guard{}
	var first error
	for range 10 {
		_, err := open(t, guard, uri, pin("wrong"), leaf)
		if err == nil || first != nil && err.Error() != first.Error() {
			t.Fatalf("got %v, want the error of the first time again: %v", err, first)
		}
		first = err
	}
	if _, err := open(t, guard, uri, pin("right"), leaf); err != nil {
		t.Errorf("the right password, after ten times the wrong one: %v", err)
	}

	// Another process has not seen the refusal, and still spares the last try.
	for range 10 {
		if _, err := open(t, &device.Guard{}, uri, pin("wrong"), leaf); err == nil {
			t.Fatal("got no error")
		}
	}
	_, err := open(t, &device.Guard{}, uri, pin("right"), leaf)
	if err == nil || !strings.Contains(err.Error(), "none is tried") || !strings.Contains(err.Error(), "tpm2_dictionarylockout") {
		t.Errorf("near the lockout: got %v", err)
	}
	pkitest.Run(t, "tpm2_dictionarylockout", "--clear-lockout")
	if _, err := open(t, guard, uri, pin("right"), leaf); err != nil {
		t.Errorf("the right password, with the lockout cleared: %v", err)
	}
}

func TestKeySignsAgainAfterTheTPMHasGone(t *testing.T) {
	host := pkitest.NewTPM(t)
	public := host.Persist(t, "0x81000001", "-G", "ecc256")
	link := filepath.Join(filepath.Dir(host.Socket), "link")
	relink := func(target string) {
		t.Helper()
		_ = os.Remove(link)
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
	}
	relink(host.Socket)
	key, err := open(t, &device.Guard{}, "tpm2:0x81000001?device=unix:"+link, device.PIN{}, certified(t, public))
	if err != nil {
		t.Fatal(err)
	}
	relink(host.Socket + ".gone")
	if err := key.Try(t.Context()); err == nil {
		t.Error("signed without a TPM")
	}
	relink(host.Socket)
	if err := key.Try(t.Context()); err != nil {
		t.Error(err)
	}
}

package source_test

import (
	"context"
	"crypto"
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"outrider/internal/pkitest"
	"outrider/secret"
	"outrider/signer"
	"outrider/signer/source"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noPassword secret.Value

func load(t *testing.T, s source.Source, d *source.Devices) *signer.Identity {
	t.Helper()
	id, err := s.Load(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// refused loads what is wrong, and returns the error.
func refused(t *testing.T, s source.Source, d *source.Devices, want string) {
	t.Helper()
	_, err := s.Load(t.Context(), d)
	if err == nil || !strings.Contains(err.Error(), want) || strings.ContainsAny(err.Error(), "\r\n") || strings.Contains(err.Error(), secretWord) {
		t.Errorf("got %v, want one line with %q", err, want)
	}
}

func TestCertificateAndKeyMayComeSecondsApartInEitherOrder(t *testing.T) {
	lab, ca := newLab(t)
	rsa, ec := pkitest.RSA(t, 2048), pkitest.ECDSA(t, elliptic.P256())
	host := pkitest.NewTPM(t)
	tss2 := func(options ...string) (crypto.PublicKey, []byte) {
		path, public := host.KeyFile(t, "", options...)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return public, text
	}
	tpmRSA, tpmRSAText := tss2("-algorithm", "RSA", "-pkeyopt", "bits:2048")
	tpmEC, tpmECText := tss2("-algorithm", "EC", "-pkeyopt", "group:P-256")
	tests := map[string]struct {
		uri          func(path string) string
		publics      [2]crypto.PublicKey
		keys         [2][]byte
		certificate1 bool // the certificate comes first
	}{
		"PEM, the certificate first":         {func(p string) string { return p }, [2]crypto.PublicKey{rsa.Public(), ec.Public()}, [2][]byte{pkitest.KeyPEM(t, rsa), pkitest.KeyPEM(t, ec)}, true},
		"PEM, the key first":                 {func(p string) string { return p }, [2]crypto.PublicKey{ec.Public(), rsa.Public()}, [2][]byte{pkitest.KeyPEM(t, ec), pkitest.KeyPEM(t, rsa)}, false},
		"a TPM's key, the certificate first": {func(p string) string { return "tpm2:" + p + "?device=unix:" + host.Socket }, [2]crypto.PublicKey{tpmRSA, tpmEC}, [2][]byte{tpmRSAText, tpmECText}, true},
		"a TPM's key, the key first":         {func(p string) string { return "tpm2:" + p + "?device=unix:" + host.Socket }, [2]crypto.PublicKey{tpmEC, tpmRSA}, [2][]byte{tpmECText, tpmRSAText}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			issue := func(i int) []byte { return ca.Leaf(t, pkitest.Options{Public: test.publics[i]}).Certificate }
			key := put(t, "host.key", test.keys[0])
			s := source.Source{Certificate: put(t, "host.pem", issue(0)), PrivateKey: test.uri(key)}
			devices := &source.Devices{}
			old := load(t, s, devices)
			steps := []func(){
				func() { write(t, s.Certificate, issue(1), 0o600) },
				func() { write(t, key, test.keys[1], 0o600) },
			}
			if !test.certificate1 {
				steps[0], steps[1] = steps[1], steps[0]
			}
			steps[0]()
			refused(t, s, devices, "does not belong to the certificate")
			opensSession(t, lab, old)
			steps[1]()
			renewed := load(t, s, devices)
			if renewed.Equal(old) {
				t.Error("got the old identity")
			}
			opensSession(t, lab, renewed)
		})
	}
}

func TestNewCertificateForAKeyThatStaysInTheTPM(t *testing.T) {
	lab, ca := newLab(t)
	host := pkitest.NewTPM(t)
	public := host.Persist(t, "0x81000001", "-G", "ecc256")
	issue := func() []byte { return ca.Leaf(t, pkitest.Options{Public: public}).Certificate }
	s := source.Source{Certificate: put(t, "host.pem", issue()), PrivateKey: "tpm2:0x81000001?device=unix:" + host.Socket}
	devices := &source.Devices{}
	old := load(t, s, devices)
	if again := load(t, s, devices); !again.Equal(old) {
		t.Error("read again: got another identity")
	}
	write(t, s.Certificate, issue(), 0o600)
	renewed := load(t, s, devices)
	if renewed.Equal(old) {
		t.Error("got the old identity")
	}
	opensSession(t, lab, renewed)
}

func TestAPasswordThatIsCorrectedIsTakenUp(t *testing.T) {
	_, ca := newLab(t)
	s := keyFile(t, ca, "-algorithm", "EC", "-pkeyopt", "group:P-256")
	devices := &source.Devices{}
	old := load(t, s, devices)
	write(t, s.PasswordFile, []byte("wrong"), 0o600)
	for range 5 { // the TPM would lock at the third
		refused(t, s, devices, "its password is wrong; correct the file that password_file names")
	}
	write(t, s.PasswordFile, []byte(secretWord), 0o600)
	if id := load(t, s, devices); id.Equal(old) {
		t.Error("got the old identity, which has the old password's file")
	}
}

func TestErrorsNameThePart(t *testing.T) {
	_, ca := newLab(t)
	leaf := ca.Leaf(t, pkitest.Options{})
	certificate := put(t, "host.pem", leaf.Certificate)
	locked := encrypted(t, ca, leaf.Key)
	open := locked
	open.PasswordFile = ""
	wrong := locked
	password(t, &wrong, "wrong")
	keyless := exported(t, ca, leaf.Key)
	pkitest.Run(t, "openssl", "pkcs12", "-export", "-nokeys", "-in", certificate, "-out", keyless.PKCS12, "-passout", "pass:"+secretWord)
	nobody := pkitest.NewWorkloadAPI(t)
	nobody.Push(pkitest.NewSVID(t, "spiffe://example.org/billing", ca.Leaf(t, pkitest.Options{Edit: func(c *x509.Certificate) { c.Subject = pkix.Name{} }})))
	tss2 := put(t, "tss2.key", []byte("-----BEGIN TSS2 PRIVATE KEY-----\nMAA=\n-----END TSS2 PRIVATE KEY-----\n"))
	tests := map[string]struct {
		source source.Source
		want   string
	}{
		"a key without its password":            {open, "private key " + open.PrivateKey + ": is encrypted; name a file"},
		"a wrong password":                      {wrong, "private key " + open.PrivateKey + ": the password does not open it"},
		"PKCS#12 without a key":                 {keyless, "PKCS#12 " + keyless.PKCS12 + ": private key missing"},
		"a key without certificate":             {source.Source{Certificate: locked.PrivateKey, PrivateKey: locked.PrivateKey}, "certificate " + locked.PrivateKey + ": holds a private key and no certificate"},
		"an SVID with an empty subject":         {source.Source{SPIFFE: "unix://" + nobody.Socket}, "SVID spiffe://example.org/billing of unix://" + nobody.Socket + ": its subject is empty"},
		"a TPM's key file named like another":   {source.Source{Certificate: certificate, PrivateKey: tss2}, "private key " + tss2 + ": is a TPM's key; write tpm2: before its path"},
		"a TPM's key file that is not there":    {source.Source{Certificate: certificate, PrivateKey: "tpm2:" + tss2 + "x"}, "private key " + tss2 + "x: no such file"},
		"a TPM that is not there":               {source.Source{Certificate: certificate, PrivateKey: "tpm2:0x81000001?device=/dev/no-tpm"}, "private key tpm2:0x81000001?device=/dev/no-tpm: TPM at /dev/no-tpm: no such file"},
		"a handle that is none":                 {source.Source{Certificate: certificate, PrivateKey: "tpm2:0x1"}, "private key tpm2:0x1: \"0x1\" is not a persistent handle"},
		"a PIN in the URI":                      {source.Source{Certificate: certificate, PrivateKey: "pkcs11:token=t?module-path=/m.so&pin-value=" + secretWord}, "private key pkcs11:token=t: pin-value shows the PIN"},
		"a PIN in the URI's path":               {source.Source{Certificate: certificate, PrivateKey: "pkcs11:token=t;pin-value=" + secretWord + "?module-path=/m.so"}, "private key pkcs11:token=t;: a PKCS#11 URI has no attribute \"pin-value\""},
		"a PIN twice":                           {source.Source{Certificate: certificate, PrivateKey: "pkcs11:token=t?module-path=/m.so&pin-source=/pin", PasswordFile: "/pin"}, "private key pkcs11:token=t"},
		"a Workload API that is not there":      {source.Source{SPIFFE: "unix:///nonexistent/api"}, "SPIFFE Workload API at unix:///nonexistent/api: "},
		"a certificate whose key no device has": {source.Source{Certificate: put(t, "bad.pem", ca.Leaf(t, pkitest.Options{Edit: func(c *x509.Certificate) { c.KeyUsage = 0 }}).Certificate), PrivateKey: "tpm2:0x81000001?device=/dev/no-tpm"}, "lacks digitalSignature"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { refused(t, test.source, &source.Devices{}, test.want) })
	}
}

func TestPaths(t *testing.T) {
	tests := map[string]struct {
		source source.Source
		want   []string
	}{
		"PEM":                   {source.Source{Certificate: "/c", PrivateKey: "/k", Chain: "/i", PasswordFile: "/p"}, []string{"/c", "/k", "/i", "/p"}},
		"PKCS#12":               {source.Source{PKCS12: "/x", PasswordFile: "/p"}, []string{"/x", "/p"}},
		"a TPM's key file":      {source.Source{Certificate: "/c", PrivateKey: "tpm2:/k?device=/dev/tpm0"}, []string{"/c", "/k"}},
		"a TPM's handle":        {source.Source{Certificate: "/c", PrivateKey: "tpm2:0x81000001"}, []string{"/c"}},
		"a token":               {source.Source{Certificate: "/c", PrivateKey: "pkcs11:token=t?module-path=/m.so", PasswordFile: "/p"}, []string{"/c", "/p"}},
		"a token and a source":  {source.Source{Certificate: "/c", PrivateKey: "pkcs11:token=t?module-path=/m.so&pin-source=file:/p"}, []string{"/c", "/p"}},
		"a Workload API's SVID": {source.Source{SPIFFE: "unix:///run/api"}, nil},
	}
	for name, test := range tests {
		if diff := cmp.Diff(test.want, test.source.Paths()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestWatchLeavesFilesToTheWatcherOfFiles(t *testing.T) {
	s := source.Source{Certificate: "/c", PrivateKey: "/k"}
	end := errors.New("the end")
	var got []string
	calls := 0
	err := s.Watch(t.Context(), func(_ context.Context, paths []string, changed func()) error {
		got = paths
		changed()
		return end
	}, func() { calls++ })
	if !errors.Is(err, end) || calls != 1 || cmp.Diff([]string{"/c", "/k"}, got) != "" {
		t.Errorf("got %v, %d calls, %q", err, calls, got)
	}
}

func TestSVIDsThatAreRotatedAreTakenUp(t *testing.T) {
	lab, ca := newLab(t)
	api := pkitest.NewWorkloadAPI(t)
	push := func(key crypto.Signer) {
		api.Push(pkitest.NewSVID(t, "spiffe://example.org/billing", ca.Leaf(t, pkitest.Options{Key: key})))
	}
	push(pkitest.ECDSA(t, elliptic.P256()))
	s := source.Source{SPIFFE: "unix://" + api.Socket}
	ctx, cancel := context.WithCancel(t.Context())
	loaded, done := make(chan *signer.Identity), make(chan error, 1)
	go func() {
		done <- s.Watch(ctx, nil, func() {
			id, err := s.Load(ctx, &source.Devices{})
			if err != nil {
				t.Error(err)
			}
			loaded <- id
		})
	}()
	first := <-loaded
	push(pkitest.RSA(t, 2048))
	second := <-loaded
	if first.Equal(second) || second.KeyKind() != "RSA-2048" {
		t.Errorf("got %s after %s", second, first)
	}
	opensSession(t, lab, second)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

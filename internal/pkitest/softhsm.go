package pkitest

import (
	"crypto"
	"os"
	"path/filepath"
	"testing"
)

// Token is a PKCS#11 token in software, of SoftHSM.
type Token struct {
	Module string // path
	Label  string
	PIN    string
}

// NewToken starts a token store of the test's own with one token in it, or
// leaves the test out. The module finds it by the environment.
func NewToken(tb testing.TB, label string) Token {
	tb.Helper()
	const module = "/usr/lib/softhsm/libsofthsm2.so"
	if _, err := os.Stat(module); err != nil {
		missing(tb, "softhsm2")
	}
	dir := tb.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "tokens"), 0o700); err != nil {
		tb.Fatal(err)
	}
	conf := filepath.Join(dir, "softhsm2.conf")
	if err := os.WriteFile(conf, []byte("directories.tokendir = "+dir+"/tokens\nlog.level = ERROR\n"), 0o600); err != nil {
		tb.Fatal(err)
	}
	tb.Setenv("SOFTHSM2_CONF", conf)
	t := Token{Module: module, Label: label, PIN: "4711"}
	t.Init(tb)
	return t
}

// Init makes the token in its store.
func (t Token) Init(tb testing.TB) {
	tb.Helper()
	Run(tb, "softhsm2-util", "--init-token", "--free", "--label", t.Label, "--pin", t.PIN, "--so-pin", "123456")
}

// Import puts a key into the token. Its id is in hexadecimal.
func (t Token) Import(tb testing.TB, key crypto.Signer, label, id string) {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "key.pem")
	if err := os.WriteFile(path, KeyPEM(tb, key), 0o600); err != nil {
		tb.Fatal(err)
	}
	Run(tb, "softhsm2-util", "--import", path, "--token", t.Label, "--pin", t.PIN, "--label", label, "--id", id)
}

package pkitest

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// TPM is a TPM 2.0 in software, of swtpm.
type TPM struct {
	Socket string // path; it takes the TPM's own commands
	dir    string
}

// NewTPM starts a TPM of the test's own, or leaves the test out. Tools find
// it by the environment.
func NewTPM(tb testing.TB) TPM {
	tb.Helper()
	path, err := exec.LookPath("swtpm")
	if err != nil {
		missing(tb, "swtpm")
	}
	// A socket's path is short: the test's own folder may not be.
	dir, err := os.MkdirTemp("", "tpm-") //nolint:usetesting // see above
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	t := TPM{Socket: filepath.Join(dir, "sock"), dir: dir}
	// Ended by its own pipe, not by a context: that ends before the cleanups.
	cmd := exec.Command(path, "socket", "--tpm2", "--tpmstate", "dir="+dir, "--flags", "not-need-init,startup-clear", //nolint:noctx // see above
		"--server", "type=unixio,path="+t.Socket, "--ctrl", "type=unixio,path="+t.Socket+".ctrl")
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	t.await(tb)
	tb.Setenv("TPM2TOOLS_TCTI", "swtpm:path="+t.Socket)
	tb.Setenv("TPM2OPENSSL_TCTI", "swtpm:path="+t.Socket)
	return t
}

func (t TPM) await(tb testing.TB) {
	tb.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 6000 {
		if c, err := net.Dial("unix", t.Socket); err == nil { //nolint:noctx // a local socket answers at once
			_ = c.Close()
			return
		}
		<-tick.C
	}
	tb.Fatal("swtpm did not start within a minute")
}

// KeyFile makes a key with OpenSSL's TPM provider and returns its TSS2 key
// file and its public half. Options are those of openssl genpkey; an empty
// password is none.
func (t TPM) KeyFile(tb testing.TB, password string, options ...string) (string, crypto.PublicKey) {
	tb.Helper()
	path, public := filepath.Join(tb.TempDir(), "tss2.pem"), filepath.Join(tb.TempDir(), "public.pem")
	provider := []string{"-provider", "tpm2", "-provider", "default", "-propquery", "?provider=tpm2"}
	if password != "" {
		options = append(options, "-pkeyopt", "user-auth:"+password)
	}
	Run(tb, "openssl", slices.Concat([]string{"genpkey", "-out", path}, provider, options)...)
	Run(tb, "openssl", slices.Concat([]string{"pkey", "-in", path, "-passin", "pass:" + password, "-pubout", "-out", public}, provider)...)
	return path, readPublic(tb, public)
}

// Persist makes a key with tpm2-tools, leaves it at a persistent handle and
// returns its public half. Options are those of tpm2_create.
func (t TPM) Persist(tb testing.TB, handle string, options ...string) crypto.PublicKey {
	tb.Helper()
	in := func(name string) string { return filepath.Join(t.dir, name) }
	Run(tb, "tpm2_createprimary", "-Q", "-C", "o", "-G", "ecc", "-c", in("parent"))
	Run(tb, "tpm2_create", append([]string{"-Q", "-C", in("parent"), "-u", in("public"), "-r", in("private")}, options...)...)
	Run(tb, "tpm2_flushcontext", "-Q", "-t")
	Run(tb, "tpm2_load", "-Q", "-C", in("parent"), "-u", in("public"), "-r", in("private"), "-c", in("key"))
	Run(tb, "tpm2_evictcontrol", "-Q", "-C", "o", "-c", in("key"), handle)
	Run(tb, "tpm2_flushcontext", "-Q", "-t")
	Run(tb, "tpm2_readpublic", "-Q", "-c", handle, "-f", "pem", "-o", in("public.pem"))
	return readPublic(tb, in("public.pem"))
}

func readPublic(tb testing.TB, path string) crypto.PublicKey {
	tb.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		tb.Fatalf("%s is not PEM", path)
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		tb.Fatal(err)
	}
	return public
}

package hosttest

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"outrider/awslab"
	"outrider/internal/pkitest"
	"outrider/internal/porttest"
	"outrider/internal/programtest"
	"outrider/secret"
	"outrider/signer"
)

// password is in no certificate's name, so that it stands nowhere by chance.
const password = "correct-horse-4711"

// host is a machine with outrider's files on it, and the AWS that it asks.
// What was said on it, logs included, must at the end show no secret.
type host struct {
	t        testing.TB
	dir      string
	lab      *awslab.Lab
	ca       pkitest.Authority // the lab's trust anchor
	endpoint string
	binary   string
	env      []string

	said      programtest.Log
	addresses []string // where its sidecar is to listen

	mu       sync.Mutex
	canaries map[string]string // what each secret is, by its value
}

// newHost returns a host with the static binary, and a certificate and key of
// its own in host.pem and host.key.
func newHost(t testing.TB, o awslab.Options) *host {
	t.Helper()
	lab, err := awslab.New(o)
	if err != nil {
		t.Fatal(err)
	}
	// A socket's path is short: the test's own folder may not be.
	dir, err := os.MkdirTemp("", "host-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(lab)
	h := &host{t: t, dir: dir, lab: lab, ca: authority(t, lab), endpoint: server.URL, canaries: map[string]string{password: "the password"}}
	t.Cleanup(func() {
		server.Close()
		h.checkSaid()
		_ = os.RemoveAll(dir)
	})
	if h.binary, err = static(); err != nil {
		t.Fatal(err)
	}
	h.env = []string{"PATH=/usr/bin:/bin", "HOME=" + dir, "LANG=C.UTF-8", "AWS_ENDPOINT_URL=" + server.URL, "OUTRIDER_CONFIG=" + h.path("outrider.yaml")}
	leaf := h.ca.Leaf(t, pkitest.Options{})
	h.write("host.pem", leaf.Certificate)
	h.write("host.key", leaf.PrivateKey)
	h.canary("the private key", strings.Split(string(leaf.PrivateKey), "\n")[1])
	h.write("pass", []byte(password+"\n"))
	return h
}

// authority returns the lab's own, to issue from.
func authority(t testing.TB, lab *awslab.Lab) pkitest.Authority {
	t.Helper()
	block, _ := pem.Decode(lab.CACertificatePEM())
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	text, err := lab.CAKeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	key, err := signer.Part{Data: text}.PrivateKey(secret.Value{})
	if err != nil {
		t.Fatal(err)
	}
	return pkitest.Authority{Certificate: certificate, Key: key}
}

// canary is a secret that nothing may say.
func (h *host) canary(what, value string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if value != "" {
		h.canaries[value] = what
	}
}

func (h *host) checkSaid() {
	said := h.said.String()
	if strings.Contains(said, "goroutine ") {
		h.t.Errorf("something crashed:\n%s", said)
	}
	for value, what := range h.canaries {
		if strings.Contains(said, value) {
			h.t.Errorf("%s was said", what)
		}
	}
}

func (h *host) path(name string) string { return filepath.Join(h.dir, name) }

// write replaces a file of the host by a rename, as renewals do.
func (h *host) write(name string, content []byte) {
	h.t.Helper()
	path := h.path(name)
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		h.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) read(name string) string {
	h.t.Helper()
	content, err := os.ReadFile(h.path(name))
	if err != nil {
		h.t.Fatal(err)
	}
	return string(content)
}

// configure writes outrider.yaml. ${LAB} in it are the keys of a role at the
// lab.
func (h *host) configure(text string) {
	h.t.Helper()
	s := h.lab.Setup()
	role := fmt.Sprintf("region: %s, trust_anchor: %q, profile: %q, role: %q", s.Region, s.TrustAnchor, s.Profile, s.Role)
	text = strings.NewReplacer("${LAB}", role, "${DIR}", h.dir).Replace(text)
	h.write("outrider.yaml", []byte("version: 1\nstate: state\n"+text))
}

// run runs one outrider command.
func (h *host) run(args ...string) (stdout, stderr string, code int) {
	h.t.Helper()
	cmd := exec.CommandContext(h.t.Context(), h.binary, args...)
	cmd.Env, cmd.Dir = h.env, h.dir
	var out, failure bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &failure
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || !exit.Exited()) {
		h.t.Fatalf("outrider %q: %v", args, err)
	}
	h.said.Write(failure.Bytes())
	if !slices.Contains(args, "credentials") || cmd.ProcessState.ExitCode() != 0 {
		h.said.Write(out.Bytes())
	}
	return out.String(), failure.String(), cmd.ProcessState.ExitCode()
}

// must runs a command that must do its work, and returns what it prints.
func (h *host) must(args ...string) string {
	h.t.Helper()
	out, failure, code := h.run(args...)
	if code != 0 {
		h.t.Fatalf("outrider %q ended with %d: %s", args, code, failure)
	}
	return out
}

// patience is how long a test waits for what should be there in a moment: the
// machine may be busy.
const patience = time.Minute

// eventually waits, as long as patience lasts, until check has nothing to say.
func eventually(t testing.TB, what string, check func() error) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s: %v", what, patience, err)
		}
	}
}

// free returns an address on which nobody listens, for the sidecar. await
// waits until somebody does.
func (h *host) free() string {
	address := porttest.Free(h.t)
	h.addresses = append(h.addresses, address)
	return address
}

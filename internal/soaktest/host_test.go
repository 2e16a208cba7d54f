package soaktest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"outrider/awslab"
	"outrider/serve"
)

// patience is how long a test waits for what should be there in a moment: the
// machine may be busy.
const patience = 2 * time.Minute

const queue = "soak"

// otherProfile stands in the credentials file before the one that is kept.
const otherProfile = "[other]\naws_access_key_id = AKIAOTHER\naws_secret_access_key = theirs\n\n"

// host is a machine whose sidecar has something of everything to do, and AWS.
type host struct {
	t       *testing.T
	dir     string
	lab     *awslab.Lab
	env     []string // of the sidecar
	address string   // of which every port is its own
	seed    uint64

	mu      sync.Mutex // held by who rotates, and by who wants that nothing does
	dice    *rand.Rand
	pools   map[string]*pool
	rotated int
}

// hosts makes each host's address its own: no port has to be looked for.
var hosts atomic.Uint32

func newHost(t *testing.T) *host {
	t.Helper()
	// A socket's path is short: the test's own folder may not be.
	dir, err := os.MkdirTemp("", "soak-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	lab, err := awslab.New(awslab.Options{})
	if err == nil {
		_, err = lab.CreateQueue(queue)
	}
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(lab)
	t.Cleanup(server.Close)
	h := &host{t: t, dir: dir, lab: lab, seed: *seed, pools: map[string]*pool{}}
	h.env = []string{"AWS_ENDPOINT_URL=" + server.URL}
	h.address = fmt.Sprintf("127.%d.%d.%d", 64+hosts.Add(1), os.Getpid()>>8&0xff, os.Getpid()&0xff)
	if h.seed == 0 {
		h.seed = rand.Uint64()
	}
	t.Logf("-seed %d makes the same choices again", h.seed)
	h.dice = rand.New(rand.NewPCG(h.seed, 0))
	h.furnish()
	if err := lab.Subscribe(queue, awslab.EventForm{}); err != nil { // now, not of what was furnished
		t.Fatal(err)
	}
	return h
}

// furnish puts secrets into AWS and files onto the host.
func (h *host) furnish() {
	h.t.Helper()
	for _, name := range []string{"user", "password", "other", "parameter"} {
		h.pools[name] = newPool(h, name)
	}
	for _, name := range []string{"plain", "inplace", "linked", "target", "sealed"} {
		if err := os.Mkdir(h.path(name), 0o700); err != nil {
			h.t.Fatal(err)
		}
	}
	if err := os.Symlink("../target/conf", h.path("linked/conf")); err != nil {
		h.t.Fatal(err)
	}
	h.write("target/conf", "")
	h.write("inplace/conf", "")
	h.write("credentials", otherProfile)
	script := "#!/bin/sh\ncd " + h.dir + " && sum=$(cat \"$@\" | sha256sum) && echo $OUTRIDER_GENERATION $sum >> told-$OUTRIDER_APP\n"
	h.write("tell", script)
	if err := os.Chmod(h.path("tell"), 0o700); err != nil {
		h.t.Fatal(err)
	}
	setup, err := h.lab.Write(h.path("pki"))
	if err != nil {
		h.t.Fatal(err)
	}
	var apps strings.Builder
	for _, k := range kinds() {
		apps.WriteString(k.document(h.dir))
	}
	h.write("outrider.yaml", fmt.Sprintf(`version: 1
identities: {host: {certificate: %s, private_key: %s}}
roles:
  lab:
    region: %s
    trust_anchor: %s
    profile: %s
    role: %s
    token: {file: token}
    credentials_file: {path: credentials}
watch: {interval: 1h, queue: https://sqs.us-east-1.amazonaws.com/111122223333/%s}
listen: {admin: "unix:sock", metrics: "%s", credentials: "%s", imds: {address: "%s", role: lab}, systemd: "unix:systemd"}
state: state
audit: {path: audit}
apps:
%s`, setup.Certificate, setup.PrivateKey, setup.Region, setup.TrustAnchor, setup.Profile, setup.Role, queue,
		h.port(9469), h.port(9470), h.port(9471), apps.String()))
}

// kind is a way to deliver, as one app of the host uses it.
type kind struct {
	app   string
	keys  string // of its configuration
	torn  bool   // a reader may see it while it is written
	flips bool   // layout: directory
	files map[string][]string
}

// kinds returns every one that there is.
func kinds() []kind {
	const confirm = "confirm: {run: [/bin/true], within: 60s}, "
	three := func(folder string) map[string][]string {
		return map[string][]string{folder + "/user": {"user"}, folder + "/password": {"password"}, folder + "/both": {"user", "password"}}
	}
	return []kind{
		{app: "plain", keys: confirm + "together: [[user, password]], ", files: three("plain")},
		{app: "folder", keys: confirm + "together: [[user, password]], layout: directory, ", flips: true, files: three("folder")},
		{app: "inplace", keys: confirm, torn: true, files: map[string][]string{"inplace/conf": {"other"}}},
		{app: "linked", files: map[string][]string{"linked/conf": {"other"}}},
		{
			app:   "sealed",
			keys:  confirm + `sealed: {path: copy.sealed, key: seal.key}, credentials: {c: {value: "{{ .other }}", units: [soak.service]}}, `,
			files: map[string][]string{"sealed/conf": {"parameter", "other"}},
		},
	}
}

// document is the app's part of the configuration.
func (k kind) document(dir string) string {
	var files, args []string
	secrets := map[string]bool{}
	for _, path := range k.paths() {
		var content strings.Builder
		for _, name := range k.files[path] {
			fmt.Fprintf(&content, "{{ .%s }}", name)
			secrets[name] = true
		}
		files = append(files, fmt.Sprintf("{content: %q, destination: %s, in_place: %t}", content.String(), path, k.torn))
		args = append(args, path)
	}
	var refs []string
	for _, name := range sorted(secrets) {
		refs = append(refs, name+": {"+reference(name)+"}")
	}
	return fmt.Sprintf("  %s: {%ssecrets: {%s}, files: [%s], notify: [{run: [%s/tell, %s]}]}\n",
		k.app, k.keys, strings.Join(refs, ", "), strings.Join(files, ", "), dir, strings.Join(args, ", "))
}

func reference(name string) string {
	if name == "parameter" {
		return "parameter: /soak/" + name
	}
	return "secret: soak/" + name
}

// paths returns the app's files, in the order in which they are told of.
func (k kind) paths() []string { return sorted(k.files) }

func (h *host) port(n int) string { return fmt.Sprintf("%s:%d", h.address, n) }

func (h *host) path(name string) string { return filepath.Join(h.dir, name) }

func (h *host) write(name, text string) {
	h.t.Helper()
	if err := os.WriteFile(h.path(name), []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// read returns what is in a file, nothing when it is not there.
func (h *host) read(name string) string {
	h.t.Helper()
	text, err := os.ReadFile(h.path(name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		h.t.Fatal(err)
	}
	return string(text)
}

// client asks the sidecar without a process for each question.
func (h *host) client() serve.Client { return serve.Client{Path: h.path("sock")} }

// until waits until ask has nothing to say.
func (h *host) until(what string, ask func() error) {
	h.t.Helper()
	if err := wait(h.t.Context(), ask); err != nil {
		h.t.Fatalf("%s: %v", what, err)
	}
}

// wait asks again until there is no error, and returns the last one when
// patience ends.
func wait(ctx context.Context, ask func() error) error {
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for end := time.Now().Add(patience); ; {
		err := ask()
		if err == nil || time.Now().After(end) {
			return err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

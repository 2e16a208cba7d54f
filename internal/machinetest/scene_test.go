package machinetest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"outrider/awslab"
)

// endpoint is where AWS answers in each machine.
const endpoint = "127.0.0.1:4566"

// scene is a machine, and AWS on its loopback.
type scene struct {
	*machine
	lab    *awslab.Lab
	setup  awslab.Setup
	server *http.Server // nil while AWS is away
}

// newScene boots a machine with AWS, the host's certificate and the
// environment that outrider finds AWS by.
func newScene(t *testing.T, version string) *scene {
	t.Helper()
	s := &scene{machine: newMachine(t, version)}
	var err error
	if s.lab, err = awslab.New(awslab.Options{}); err != nil {
		t.Fatal(err)
	}
	pki := filepath.Join(s.dir, "pki")
	if s.setup, err = s.lab.Write(pki); err != nil {
		t.Fatal(err)
	}
	s.do("install -d -o root -g outrider -m 0750 /etc/outrider/pki")
	s.renew(s.setup.Certificate, s.setup.PrivateKey)
	s.write("/etc/default/outrider", "AWS_ENDPOINT_URL=http://"+endpoint+"\n")
	s.comes()
	t.Cleanup(s.goesAway)
	return s
}

// renew puts a certificate and its key, files of the host, in the place of
// the machine's, as a renewal does: the key first.
func (s *scene) renew(certificate, key string) {
	s.t.Helper()
	for _, half := range [][2]string{{"host.key", key}, {"host.pem", certificate}} {
		name := half[0]
		text, err := os.ReadFile(half[1])
		if err != nil {
			s.t.Fatal(err)
		}
		s.write("/etc/outrider/pki/"+name+".new", string(text))
		s.do("cd /etc/outrider/pki; chgrp outrider " + name + ".new; chmod 0640 " + name + ".new; mv " + name + ".new " + name)
	}
}

// issue returns the files of another certificate and its key.
func (s *scene) issue(name string) (certificate, key string) {
	s.t.Helper()
	cert, private, _, err := s.lab.Issue(awslab.LeafOptions{CommonName: name})
	if err != nil {
		s.t.Fatal(err)
	}
	certificate, key = filepath.Join(s.dir, name+".pem"), filepath.Join(s.dir, name+".key")
	if err := errors.Join(os.WriteFile(certificate, cert, 0o600), os.WriteFile(key, private, 0o600)); err != nil {
		s.t.Fatal(err)
	}
	return certificate, key
}

// comes makes AWS answer on the machine's loopback.
func (s *scene) comes() {
	s.t.Helper()
	listener, err := listenIn(s.leader, endpoint)
	if err != nil {
		s.t.Fatal(err)
	}
	s.server = &http.Server{Handler: s.lab, ReadHeaderTimeout: time.Minute}
	go func(server *http.Server) { _ = server.Serve(listener) }(s.server)
}

// goesAway makes AWS answer no more.
func (s *scene) goesAway() {
	if s.server != nil {
		_ = s.server.Close()
		s.server = nil
	}
}

// listenIn listens in the network of another process.
func listenIn(pid int, address string) (net.Listener, error) {
	type outcome struct {
		listener net.Listener
		err      error
	}
	done := make(chan outcome)
	go func() {
		// Machines die with the thread that started them, so this one comes
		// back; where it cannot, it ends with its goroutine.
		runtime.LockOSThread()
		listener, err := listenThere(pid, address)
		done <- outcome{listener, err}
	}()
	o := <-done
	return o.listener, o.err
}

func listenThere(pid int, address string) (net.Listener, error) {
	here, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, err
	}
	defer here.Close()
	there, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return nil, err
	}
	defer there.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, err
	}
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", address)
	if err := unix.Setns(int(here.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, err
	}
	runtime.UnlockOSThread()
	return listener, err
}

// put gives a secret a new version.
func (s *scene) put(name, text string) {
	s.t.Helper()
	if _, err := s.lab.PutSecret(name, text); err != nil {
		s.t.Fatal(err)
	}
}

// configure writes the configuration: the identity, the role and what is
// given, and looks at the secrets every second.
func (s *scene) configure(rest string) {
	s.t.Helper()
	s.write("/etc/outrider/outrider.yaml", s.head()+rest)
	s.do("chgrp outrider /etc/outrider/outrider.yaml; chmod 0640 /etc/outrider/outrider.yaml")
}

func (s *scene) head() string {
	return fmt.Sprintf(`version: 1
identities: {host: {certificate: pki/host.pem, private_key: pki/host.key}}
roles: {lab: {region: %s, trust_anchor: %s, profile: %s, role: %s}}
watch: {interval: 1s}
`, s.setup.Region, s.setup.TrustAnchor, s.setup.Profile, s.setup.Role)
}

// allow gives outrider what its configuration needs and no more.
func (s *scene) allow() {
	s.t.Helper()
	s.do("outrider policy --systemd --into / && systemctl daemon-reload && systemctl try-restart polkit.service")
}

// start starts outrider, which must become ready.
func (s *scene) start() {
	s.t.Helper()
	s.allow()
	s.do("systemctl enable --now outrider.service")
}

// application writes the unit of an application that says what is in its
// files when it starts and when it is reloaded. More stands in its unit.
func (s *scene) application(name, unit, service string, files ...string) {
	s.t.Helper()
	s.script("/usr/local/bin/"+name, fmt.Sprintf(`
echo "started with $(cat %[1]s)"
trap 'echo "reloaded with $(cat %[1]s)"' HUP
while :; do sleep 1000 & wait || :; done
`, strings.Join(files, " ")))
	s.unit(name+".service", fmt.Sprintf(`[Unit]
%s
[Service]
User=%[2]s
ExecStart=/usr/local/bin/%[2]s
ExecReload=/bin/kill -HUP $MAINPID
%s
[Install]
WantedBy=multi-user.target
`, unit, name, service))
}

// property returns a property of a unit.
func (s *scene) property(unit, name string) string {
	s.t.Helper()
	return s.do("systemctl show --value --property=" + name + " " + unit)
}

// errNotYet is what a test still waits for.
var errNotYet = errors.New("not yet")

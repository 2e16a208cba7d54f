package hosttest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"outrider/awslab"
	"outrider/serve"
)

// nobody is a user who is not outrider's own.
const nobody = 65534

// checkToken waits for a token's file, which must have mode 0440 and be one
// word without an end of line, and returns the token.
func (h *host) checkToken(name string) string {
	h.t.Helper()
	var info os.FileInfo
	eventually(h.t, name, func() (err error) { info, err = os.Stat(h.path(name)); return err })
	token := h.read(name)
	h.canary("a token", token)
	if info.Mode().Perm() != 0o440 || len(token) < 32 || strings.ContainsAny(token, " \r\n") {
		h.t.Errorf("%s has mode %04o and %d bytes, want 0440 and a word without an end of line", name, info.Mode().Perm(), len(token))
	}
	return token
}

// asNobody runs a script of Python as nobody, and returns what it prints.
func (h *host) asNobody(env []string, script string, args ...string) string {
	h.t.Helper()
	cmd := exec.CommandContext(h.t.Context(), python, append([]string{"-c", script}, args...)...)
	cmd.Env = append([]string{"PATH=/usr/bin:/bin", "LANG=C.UTF-8"}, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		h.t.Errorf("as nobody: %v\n%s", err, out)
	}
	return string(out)
}

// open lets other users into the host's own folder, where they find what they
// are allowed. Only root can ask as another user.
func (h *host) open() {
	h.t.Helper()
	if os.Geteuid() != 0 {
		h.t.Skip("left out: only root can ask as another user")
	}
	if err := os.Chmod(h.dir, 0o711); err != nil {
		h.t.Fatal(err)
	}
}

// TestASocketAsksTheKernelWhoCalls asks as another user, for a role that is
// allowed to it and for one that is not.
func TestASocketAsksTheKernelWhoCalls(t *testing.T) {
	h := newHost(t, awslab.Options{})
	h.open()
	h.configure(`
identities: {host: {certificate: host.pem, private_key: host.key}}
roles:
  billing: {${LAB}, allow: {users: ["65534"]}}
  other: {${LAB}}
listen: {admin: "unix:outrider.sock", credentials: "unix:credentials.sock"}
`)
	h.start()
	h.await("billing", "other")
	h.listening("credentials.sock")
	h.failsWith("credential_process = outrider credentials billing", "env", "billing")
	const script = `
import http.client, socket, sys

c = http.client.HTTPConnection("outrider")
c.sock = socket.socket(socket.AF_UNIX)
c.sock.connect(sys.argv[1])
c.request("GET", "/roles/" + sys.argv[2])
r = c.getresponse()
print(r.status, "ASIA" in r.read().decode())
`
	for role, want := range map[string]string{"billing": "200 True\n", "other": "403 False\n"} {
		if got := h.asNobody(nil, script, h.path("credentials.sock"), role); got != want {
			t.Errorf("nobody asks for %s: %q, want %q", role, got, want)
		}
	}
}

// TestATokenLetsItsOwnerIn keeps the token where the sample has it, beside the
// admin socket, in a folder that outrider makes.
func TestATokenLetsItsOwnerIn(t *testing.T) {
	h := newHost(t, awslab.Options{})
	h.open()
	h.configure(`
identities: {host: {certificate: host.pem, private_key: host.key}}
roles:
  billing: {${LAB}, token: {file: run/billing.token, owner: "65534", group: "65534"}}
  other: {${LAB}, token: {file: run/other.token}}
listen: {admin: "unix:run/outrider.sock", credentials: "` + h.free() + `"}
`)
	s := h.start()
	eventually(t, "a session", func() error {
		_, err := serve.Client{Path: h.path("run/outrider.sock")}.Credentials(t.Context(), "billing")
		return err
	})
	h.listening()
	h.checkToken("run/billing.token")
	h.checkToken("run/other.token")
	const script = `
import os, urllib.request

def token(name):
    try:
        return open(name).read()
    except PermissionError:
        return "none"

name = os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"]
r = urllib.request.Request(os.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"], headers={"Authorization": token(name)})
print("ASIA" in urllib.request.urlopen(r).read().decode(), token(name.replace("billing", "other")))
`
	if got := h.asNobody(strings.Fields(h.must("env", "billing")), script); got != "True none\n" {
		t.Error("its owner cannot use the token, or can read another one")
	}
	if log := s.stop(); strings.Contains(log, `"level":"ERROR"`) {
		t.Errorf("the start was not clean:\n%s", log)
	}
}

// TestReadyMeansThatTheEndpointsAnswer takes the place of the service manager,
// which starts the units that are ordered after the sidecar on its READY.
func TestReadyMeansThatTheEndpointsAnswer(t *testing.T) {
	h := newHost(t, awslab.Options{})
	container, imds := h.served()
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: h.path("notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	if err := manager.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	h.env = append(h.env, "NOTIFY_SOCKET="+h.path("notify"))
	h.start()
	for message := make([]byte, 4096); ; {
		n, err := manager.Read(message)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(fmt.Sprintf("\n%s\n", message[:n]), "\nREADY=1\n") {
			break
		}
	}
	h.read("billing.token")
	for name, ask := range h.endpoints(container, imds) {
		if _, err := ask(); err != nil {
			t.Errorf("%s, right after READY: %v", name, err)
		}
	}
}

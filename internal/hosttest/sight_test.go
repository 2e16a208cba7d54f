package hosttest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"outrider/awslab"
)

// get asks the sidecar's metrics endpoint.
func get(t *testing.T, url string) (status int, body string, err error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	r.Close = true
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text), err
}

// unitCredential asks for a credential as systemd does for a unit.
func unitCredential(ctx context.Context, socket, unit, name string) (string, error) {
	dialer := net.Dialer{LocalAddr: &net.UnixAddr{Name: fmt.Sprintf("@%x/unit/%s/%s", os.Getpid(), unit, name), Net: "unix"}}
	c, err := dialer.DialContext(ctx, "unix", socket)
	if err != nil {
		return "", err
	}
	defer c.Close()
	const most = 1 << 20 // more fails the unit
	text, err := io.ReadAll(io.LimitReader(c, most+1))
	if err == nil && len(text) > most {
		err = errors.New("the unit is to fail")
	}
	return string(text), err
}

// TestWhoWatchesSeesHowTheSidecarStandsAndNoSecret looks at one sidecar in
// each way that there is: metrics, health, status, the log and the audit log.
func TestWhoWatchesSeesHowTheSidecarStandsAndNoSecret(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("systemd's socket answers root alone")
	}
	h := newHost(t, awslab.Options{})
	const value = "canary-of-the-database"
	h.canary("the database's password", value)
	if _, err := h.lab.PutSecret("prod/db", `{"password":"`+value+`"}`); err != nil {
		t.Fatal(err)
	}
	address := h.free()
	h.configure(`
identities: {host: {certificate: host.pem, private_key: host.key}}
roles: {billing: {${LAB}}}
apps:
  billing:
    secrets: {db: {secret: prod/db}}
    credentials: {db-password: {value: "{{ .db.password }}", units: [billing.service, "worker@.service"]}}
    notify: [{run: [/bin/true]}]
  lost:
    secrets: {db: {secret: prod/none}}
    files: [{content: "{{ .db }}", destination: lost.conf}]
listen: {admin: "unix:admin.sock", metrics: "` + address + `", systemd: "unix:units.sock"}
audit: {path: audit.log}
`)
	h.start()
	h.must("wait", "billing", "--timeout", patience.String())
	h.listening("units.sock")

	got, err := unitCredential(t.Context(), h.path("units.sock"), "worker@1.service", "db-password")
	if err != nil || got != value {
		t.Errorf("the unit got %d bytes, %v; want the password", len(got), err)
	}
	if _, err := unitCredential(t.Context(), h.path("units.sock"), "other.service", "db-password"); err == nil {
		t.Error("a unit that may not have the credential does not fail")
	}
	for path, want := range map[string]string{
		"/healthz": "200 ok", "/readyz?app=billing": "200 ready", "/readyz": "503", "/readyz?app=nobody": "404",
		"/metrics": `200 outrider_app_state{app="billing",state="current"} 1`,
	} {
		code, words, _ := strings.Cut(want, " ")
		eventually(t, path, func() error {
			status, body, err := get(t, "http://"+address+path)
			h.said.Write([]byte(body))
			if err != nil || fmt.Sprint(status) != code || !strings.Contains(body, words) {
				return errors.Join(err, fmt.Errorf("%d; want %s", status, want))
			}
			return nil
		})
	}
	h.said.Write([]byte(h.must("status") + h.must("status", "--json") + h.read("audit.log")))
	h.checkAudit(t)
}

// checkAudit looks for the line of the unit's credential.
func (h *host) checkAudit(t *testing.T) {
	t.Helper()
	lines := bufio.NewScanner(strings.NewReader(h.read("audit.log")))
	for lines.Scan() {
		var entry struct {
			Event, Unit, Credential string
			Secrets                 map[string]struct{ ID, Version string }
		}
		if err := json.Unmarshal(lines.Bytes(), &entry); err != nil {
			t.Fatalf("%q: %v", lines.Text(), err)
		}
		if entry.Event == "credential" {
			if want := h.lab.Labels("prod/db")["AWSCURRENT"]; entry.Unit != "worker@1.service" || entry.Secrets["db"].Version != want {
				t.Errorf("got %+v, want version %s for worker@1.service", entry, want)
			}
			return
		}
	}
	t.Error("the audit log has no line of the credential")
}

package agent

import (
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"outrider/awslab"
	"outrider/deliver"
	"outrider/internal/config"
	"outrider/serve"
)

// deny takes the secret away from the role.
func (h *house) deny(id string) {
	h.lab.Deny("GetSecretValue", id)
	h.lab.Deny("BatchGetSecretValue", id)
	h.lab.Deny("DescribeSecret", id)
}

// gone reports whether nothing of the app's is left where values stand.
func (h *house) gone(app config.App) bool {
	for _, path := range []string{h.path(app.Name), app.Sealed.Path} {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			return false
		}
	}
	left, _ := filepath.Glob(filepath.Join(h.dir, ".outrider-"+app.Name, "*", "*"))
	return len(left) == 0
}

func TestDeniedSecretIsWithdrawnAndBroughtBack(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("a", "canary")
		h.put("b", "other")
		app, other := h.sealedApp("one", "a"), h.app("two", "b")
		app.OnDenied, other.OnDenied = "remove", "remove"
		told := h.path("told")
		app.Notify = []config.Notify{{Run: []string{h.script("tell", `echo $OUTRIDER_GENERATION >> `+told)}, Timeout: 30 * time.Second}}
		a := h.host(app, other)
		stop := h.run(a)
		time.Sleep(10 * time.Minute)
		h.deny("a")
		time.Sleep(55 * time.Second)
		h.lab.AllowAll()
		time.Sleep(10 * time.Minute)
		if h.gone(app) || h.status(a, "one").Error != "" {
			t.Fatalf("a policy that was edited for a moment took the files away: %+v", h.status(a, "one"))
		}
		h.deny("a")
		copied, err := os.ReadFile(app.Sealed.Path)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(6 * time.Minute)
		got := h.status(a, "one")
		if !h.gone(app) || got.State != serve.Failing || !strings.Contains(got.Error, "files withdrawn (on_denied: remove)") ||
			!strings.Contains(got.Error, "AccessDenied") || len(got.Secrets) > 0 || len(got.Owed) > 0 {
			t.Fatalf("gone %v, status %+v", h.gone(app), got)
		}
		if h.read("two") != "other\n" || h.status(a, "two").State != serve.Current {
			t.Error("the other app was not left alone")
		}
		if n := strings.Count(h.log.String(), `"files withdrawn"`); n != 1 {
			t.Errorf("said %d times that files were withdrawn, want once", n)
		}
		stop()

		a = h.host(app, other) // AWS is away now, and of before there is a copy at most that somebody has kept
		h.away()
		stop = h.run(a)
		h.write(app.Sealed.Path, string(copied))
		time.Sleep(time.Minute)
		if got := h.status(a, "one"); h.read("one") != "" || !strings.Contains(got.Error, "files withdrawn") {
			t.Errorf("after a restart: the file is there: %v, error %q", h.read("one") != "", got.Error)
		}
		h.lab.ClearFaults()
		h.lab.AllowAll()
		time.Sleep(3 * time.Minute)
		defer stop()
		if got := h.status(a, "one"); h.read("one") != "canary\n" || got.State != serve.Current || got.Error != "" || h.gone(app) {
			t.Errorf("with access granted: %+v", got)
		}
		if text, err := os.ReadFile(told); err != nil || string(text) != "1\n2\n" {
			t.Errorf("told of %q (%v), want of both deliveries and of no withdrawal", text, err)
		}
		if strings.Contains(h.log.String(), "canary") {
			t.Error("a value is in the log")
		}
	})
}

func TestRevokedCertificateIsWithdrawnWhenTheSessionEnds(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("a", "v")
		app := h.sealedApp("one", "a")
		app.OnDenied = "remove"
		a := h.host(app)
		stop := h.run(a)
		defer stop()
		time.Sleep(time.Minute)
		serial, ok := new(big.Int).SetString(a.Status(serve.Self()).Identities["host"].Serial, 10)
		if !ok {
			t.Fatal("no serial number")
		}
		h.lab.RevokeCertificate(serial)
		time.Sleep(2 * time.Hour)
		if got := h.status(a, "one"); !h.gone(app) || !strings.Contains(got.Error, "Certificate revoked") {
			t.Fatalf("gone %v, error %q", h.gone(app), got.Error)
		}
		h.renewCertificate(awslab.LeafOptions{})
		time.Sleep(2 * time.Minute)
		if got := h.status(a, "one"); h.read("one") != "v\n" || got.State != serve.Current {
			t.Errorf("with another certificate: %+v", got)
		}
	})
}

// That a certificate has ended is nobody's decision, and an outage is none
// either; by itself a refusal takes nothing away.
func TestFilesStayUnlessTheyAreToBeRemoved(t *testing.T) {
	tests := map[string]struct {
		onDenied string
		harm     func(h *house)
	}{
		"on_denied: keep":              {"keep", func(h *house) { h.deny("a") }},
		"an outage":                    {"remove", func(h *house) { h.away() }},
		"a secret that is not there":   {"remove", func(h *house) { h.fault("ResourceNotFoundException") }},
		"a certificate that has ended": {"remove", func(h *house) { h.renewCertificate(awslab.LeafOptions{NotAfter: time.Now().Add(time.Minute)}) }},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, h *house) {
				h.put("a", "v")
				app := h.sealedApp("one", "a")
				app.OnDenied = test.onDenied
				a := h.host(app)
				stop := h.run(a)
				defer stop()
				time.Sleep(time.Minute)
				test.harm(h)
				time.Sleep(5 * time.Hour)
				if got := h.status(a, "one"); h.read("one") != "v\n" || got.Error == "" {
					t.Errorf("the file is there: %v; error %q", h.read("one") != "", got.Error)
				}
			})
		})
	}
}

func (h *house) fault(code string) {
	h.t.Helper()
	if err := h.lab.AddFault(awslab.Fault{Kind: awslab.Fail, Service: "secretsmanager", Status: 400, Code: code}); err != nil {
		h.t.Fatal(err)
	}
}

// A crash in the middle of a withdrawal leaves files behind: the next start
// takes them away before anything else, also without AWS.
func TestWithdrawalIsFinishedAfterACrash(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("a", "v")
		app := h.sealedApp("one", "a")
		app.OnDenied = "remove"
		c := h.config(time.Minute, app)
		h.live(h.host(app), time.Minute)
		state, err := deliver.OpenState(c.State)
		if err != nil {
			t.Fatal(err)
		}
		ledger, err := state.Open("one", nil)
		if err == nil {
			err = errors.Join(ledger.Withdraw(nil, "denied"), ledger.Close(), state.Close()) // of no file yet
		}
		if err != nil || h.gone(app) {
			t.Fatalf("gone %v, %v", h.gone(app), err)
		}
		h.away()
		a := h.host(app)
		stop := h.run(a)
		defer stop()
		time.Sleep(time.Second)
		if !h.gone(app) || isReady(a) {
			t.Errorf("gone %v, ready %v", h.gone(app), isReady(a))
		}
		h.lab.ClearFaults()
		time.Sleep(2 * time.Minute)
		if got := h.status(a, "one"); h.read("one") != "v\n" || got.State != serve.Current {
			t.Errorf("with AWS back: %+v", got)
		}
	})
}

package agent

import (
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"outrider/awslab"
	"outrider/internal/config"
)

// TestCredentialsFileNeverHoldsAnExpiredKey has AWS go away for longer than a
// session lasts, and the sidecar start anew meanwhile. The rest of the file
// stays, and the keys come back when AWS does.
func TestCredentialsFileNeverHoldsAnExpiredKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		path := h.path("credentials")
		const others = "[other]\nregion = eu-west-3\n"
		if err := os.WriteFile(path, []byte(others), 0o600); err != nil {
			t.Fatal(err)
		}
		c := h.config(5 * time.Minute)
		role := c.Roles["role"]
		role.CredentialsFile = &config.CredentialsFile{Path: path, Profile: "default"}
		c.Roles["role"] = role
		keys := func() bool {
			synctest.Wait()
			content, err := os.ReadFile(path)
			if err != nil || !strings.HasPrefix(string(content), others) {
				t.Fatal(errors.Join(errors.New("the other profile is gone"), err))
			}
			return strings.Contains(string(content), "aws_secret_access_key")
		}
		stop := h.run(h.agent(c))
		if !keys() {
			t.Fatal("no keys while there is a session")
		}
		if err := h.lab.AddFault(awslab.Fault{Kind: awslab.Drop}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Minute)
		if !keys() {
			t.Error("the keys are gone ten minutes before their end")
		}
		stop()
		stop = h.run(h.agent(c))
		defer func() { stop() }()
		if !keys() {
			t.Error("a start without AWS takes out keys that hold")
		}
		time.Sleep(10 * time.Minute)
		if keys() {
			t.Error("an hour after they were given the keys are still there")
		}
		h.lab.ClearFaults()
		time.Sleep(time.Minute)
		if !keys() {
			t.Error("no keys a minute after AWS came back")
		}
	})
}

package machinetest

import (
	"strings"
	"testing"
	"time"
)

// handedOver is an app without files: systemd gets the value for the unit.
const handedOver = `apps:
  billing:
    secrets: {db: {secret: prod/billing/db}}
    credentials: {db-password: {value: "{{ .db }}", units: [billing.service]}}
    notify: [{restart_unit: billing.service}]
listen: {systemd: "unix:/run/outrider/credentials.sock"}
`

// credentialed writes a unit that says what systemd has loaded for it.
func (s *scene) credentialed(name string) {
	s.t.Helper()
	s.unit(name+".service", `[Unit]
After=outrider.service
[Service]
DynamicUser=yes
LoadCredential=db-password:/run/outrider/credentials.sock
ExecStart=/bin/sh -c 'echo "started with <$(cat $CREDENTIALS_DIRECTORY/db-password)>"; exec sleep infinity'
`)
}

func TestUnitsGetTheirCredentialsAndNobodyElseDoes(t *testing.T) {
	s := newScene(t, "0.0.2")
	s.put("prod/billing/db", "v1")
	s.credentialed("billing")
	s.credentialed("curious")
	s.configure(handedOver)
	s.start()
	s.do("systemctl start billing.service")
	s.says("billing.service", "started with <v1>")
	s.do("systemctl start curious.service || :")
	s.until("test $(systemctl is-failed curious.service) = failed")
	if got := s.said("curious.service", "started with"); got != 0 {
		t.Error("a unit that may not have the value has started")
	}
	s.put("prod/billing/db", "v2")
	s.says("billing.service", "started with <v2>")
	if got := s.do("find /etc /var /run -xdev -type f -exec grep -lx v2 {} + || :"); strings.Contains(got, "outrider") {
		t.Errorf("the value stands in %s", got)
	}
}

func TestUnitWaitsForItsCredentialAndNeverStartsWithAnEmptyOne(t *testing.T) {
	s := newScene(t, "0.0.2")
	s.credentialed("billing")
	s.configure(handedOver)
	s.allow()
	s.do("systemctl start --no-block outrider.service")
	s.until("test -S /run/outrider/credentials.sock")
	s.do("systemctl start --no-block --job-mode=ignore-dependencies billing.service")
	s.within(2*time.Minute, "the unit has failed", func() error {
		if s.do("systemctl is-failed billing.service || :") != "failed" {
			return errNotYet
		}
		return nil
	})
	s.do("systemctl start --no-block --job-mode=ignore-dependencies billing.service")
	s.put("prod/billing/db", "v1")
	s.says("billing.service", "started with <v1>")
	if got := s.said("billing.service", "started with <>"); got != 0 {
		t.Error("it started with an empty credential")
	}
}

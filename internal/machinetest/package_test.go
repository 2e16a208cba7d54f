package machinetest

import (
	"testing"
)

func TestUpgradeRemovalAndPurge(t *testing.T) {
	s := newScene(t, "0.0.1")
	s.want("systemctl is-enabled outrider.service || :", "disabled")
	s.want("stat -c '%U:%G %a' /etc/outrider /etc/outrider/outrider.yaml.sample", "root:outrider 750\nroot:outrider 640")
	// Without a configuration it is not started, and that is no failure.
	s.do("systemctl start outrider.service")
	s.want("systemctl is-active outrider.service || :", "inactive")

	s.put("prod/billing/db", "v1")
	s.user("billing")
	s.application("billing", "After=outrider.service", "", "/etc/billing/app.conf")
	s.configure(billing)
	s.start()
	s.do("systemctl start billing.service")
	s.says("billing.service", "started with v1")
	before := s.do("stat -c '%i %y' /etc/billing/app.conf")

	s.install("0.0.2")
	s.want("systemctl is-active outrider.service", "active")
	s.want("outrider version", "outrider 0.0.2")
	s.until("outrider status --json | grep -q 0.0.2")
	s.want("stat -c '%i %y' /etc/billing/app.conf", before)
	s.do("outrider status --json | grep -q '\"generation\": 1,'")

	s.do("dpkg --remove outrider")
	s.refuses("systemctl is-active outrider.service")
	s.want("cat /etc/billing/app.conf", "v1")
	s.want("systemctl is-active billing.service", "active")
	s.do("test -e /etc/outrider/outrider.yaml; test -e /etc/outrider/outrider.yaml.sample; test -e /var/lib/outrider/billing.journal")

	s.do("dpkg --purge outrider")
	s.refuses("test -e /var/lib/outrider")
	s.refuses("test -e /etc/outrider/outrider.yaml.sample")
	s.want("cat /etc/billing/app.conf; ls /etc/outrider", "v1outrider.yaml\npki")
}

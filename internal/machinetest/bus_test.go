package machinetest

import (
	"fmt"
	"strings"
	"testing"
)

// slow is an application whose reload fails while /run/blocked is there, and
// lasts while /run/slow is; it says so in /run/reloading.
const slow = `ExecReload=
ExecReload=+/bin/sh -ec 'test ! -e /run/blocked; touch /run/reloading; while test -e /run/slow; do sleep 0.1; done; rm /run/reloading; kill -HUP $MAINPID'
`

// withSlow returns a scene in which the application runs on its first file.
func withSlow(t *testing.T) *scene {
	t.Helper()
	s := withBilling(t)
	s.application("billing", "After=outrider.service", slow, "/etc/billing/app.conf")
	s.start()
	s.do("systemctl start billing.service")
	s.says("billing.service", "started with v1")
	return s
}

// settled waits until nothing is owed, and nobody of outrider's is on the bus.
func (s *scene) settled() {
	s.t.Helper()
	s.until("outrider status --json | grep -q '\"owed\": \\[\\]'")
	s.until("! busctl list --no-pager --no-legend | grep -w outrider")
}

// reloaded wants the application to have been told of a version, and no more
// often than that.
func (s *scene) reloaded(version string, most int) {
	s.t.Helper()
	s.says("billing.service", "reloaded with "+version)
	s.settled()
	if got := s.said("billing.service", "reloaded with "+version); got > most {
		s.t.Errorf("reloaded %d times with %s, want %d at the most", got, version, most)
	}
}

func TestNotificationsOutliveTheBus(t *testing.T) {
	s := withSlow(t)
	const restart = "systemctl restart dbus.service && systemctl is-active dbus.service"

	s.do("touch /run/blocked")
	s.put("prod/billing/db", "v2")
	s.says("outrider.service", "application not notified")
	s.do(restart)
	s.do("rm /run/blocked")
	s.reloaded("v2", 1)

	s.do("systemctl stop dbus.socket dbus.service")
	s.put("prod/billing/db", "v3")
	s.says("outrider.service", "connect to the system's D-Bus")
	s.do("systemctl start dbus.socket dbus.service")
	s.reloaded("v3", 1)

	// How a job ends that is under way nobody can tell afterwards: it is
	// queued again.
	s.do("touch /run/slow")
	s.put("prod/billing/db", "v4")
	s.until("test -e /run/reloading")
	s.do(restart)
	s.do("rm /run/slow")
	s.reloaded("v4", 2)
	s.want("systemctl show --value --property=NRestarts outrider.service", "0")
}

func TestServiceManagerThatIsExecutedAnewLosesNothing(t *testing.T) {
	s := withSlow(t)
	s.write("/etc/systemd/system/outrider.service.d/watchdog.conf", "[Service]\nWatchdogSec=4s\n")
	s.do("systemctl daemon-reload; systemctl restart outrider.service")
	pid := s.property("outrider.service", "MainPID")

	s.do("touch /run/slow")
	s.put("prod/billing/db", "v2")
	s.until("test -e /run/reloading")
	s.do("systemctl daemon-reexec")
	s.do("rm /run/slow")
	s.reloaded("v2", 2)

	// The watchdog goes on: three of its times, and it would have struck.
	for range 3 {
		heard := s.property("outrider.service", "WatchdogTimestampMonotonic")
		s.eventually("the watchdog is told", func() error {
			if now := s.property("outrider.service", "WatchdogTimestampMonotonic"); now == heard {
				return errNotYet
			}
			return nil
		})
		s.do("systemctl daemon-reexec")
	}
	s.want("systemctl show --value --property=MainPID,NRestarts,ActiveState outrider.service", strings.TrimSpace(fmt.Sprintf("%s\n0\nactive", pid)))
	s.put("prod/billing/db", "v3")
	s.reloaded("v3", 1)
}

package machinetest

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// billing is an app whose unit may start when its file is there, and is
// reloaded.
const billing = `apps:
  billing:
    secrets: {db: {secret: prod/billing/db}}
    files: [{content: "{{ .db }}", destination: /etc/billing/app.conf, group: billing, mode: "0640"}]
    notify: [{reload_unit: billing.service}]
`

// withBilling returns a scene in which outrider keeps the application
// supplied.
func withBilling(t *testing.T) *scene {
	t.Helper()
	s := newScene(t, "0.0.2")
	s.put("prod/billing/db", "v1")
	s.user("billing")
	s.application("billing", "After=outrider.service\nWants=outrider.service", "", "/etc/billing/app.conf")
	s.configure(billing)
	return s
}

// user makes a user and a folder of its own that outrider may write in.
func (s *scene) user(name string) {
	s.t.Helper()
	s.do(fmt.Sprintf("useradd --system %[1]s; install -d -o %[1]s -g outrider -m 2775 /etc/%[1]s", name))
}

func TestApplicationStartsWhenItsFileIsThereAndIsReloaded(t *testing.T) {
	s := withBilling(t)
	s.allow()
	// Only the application is started; it wants the sidecar.
	s.do("systemctl start billing.service")
	s.says("billing.service", "started with v1")
	s.want("systemctl is-active outrider.service", "active")
	s.put("prod/billing/db", "v2")
	s.says("billing.service", "reloaded with v2")
	if got := s.said("billing.service", "reloaded with v2"); got != 1 {
		t.Errorf("reloaded %d times, want once", got)
	}
	s.want("stat -c '%U:%G %a' /etc/billing/app.conf", "outrider:billing 640")
}

func TestApplicationWaitsForItsFileWithoutOrdering(t *testing.T) {
	s := withBilling(t)
	s.application("billing", "", "ExecStartPre=+/usr/bin/outrider wait billing --timeout 60s", "/etc/billing/app.conf")
	s.allow()
	s.do("systemctl start --no-block billing.service; sleep 1; systemctl start outrider.service")
	s.says("billing.service", "started with v1")
}

func TestServiceRunsAsItsOwnUserWithNothingToSpare(t *testing.T) {
	s := withBilling(t)
	s.start()
	pid := s.property("outrider.service", "MainPID")
	s.want("ps -o user= -p "+pid, "outrider")
	status := s.do("cat /proc/" + pid + "/status")
	for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
		if !strings.Contains(status, set+":\t0000000000000000") {
			t.Errorf("%s is not empty, though the configuration needs nothing:\n%s", set, status)
		}
	}
	if !strings.Contains(status, "NoNewPrivs:\t1") || !strings.Contains(status, "Seccomp:\t2") {
		t.Errorf("not confined:\n%s", status)
	}
	s.want("awk '/core file size/ {print $5, $6}' /proc/"+pid+"/limits", "0 0")
	s.exposed(2.0)
}

// exposed fails the test if systemd-analyze finds the service more exposed
// than that.
func (s *scene) exposed(most float64) {
	s.t.Helper()
	analysis := s.do("systemd-analyze security --no-pager outrider.service || :")
	score := regexp.MustCompile(`Overall exposure level for outrider.service: ([0-9.]+)`).FindStringSubmatch(analysis)
	if score == nil {
		s.t.Fatalf("systemd-analyze gives no score:\n%s", analysis)
	}
	s.t.Log(score[0])
	if level, err := strconv.ParseFloat(score[1], 64); err != nil || level > most {
		s.t.Errorf("%s, want at most %.1f:\n%s", score[0], most, analysis)
	}
}

func TestCertificateIsTakenUpAndABrokenConfigurationRefused(t *testing.T) {
	s := withBilling(t)
	s.start()
	certificate, key := s.issue("renewed")
	s.renew(certificate, key)
	s.says("outrider.service", "CN=renewed")

	s.configure(billing + "nonsense: true\n")
	s.do("systemctl reload outrider.service")
	s.says("outrider.service", "configuration refused")
	s.want("systemctl is-active outrider.service", "active")
	s.until("systemctl show --property=StatusText outrider.service | grep nonsense")
	s.put("prod/billing/db", "v2")
	s.until("grep -qx v2 /etc/billing/app.conf")

	s.configure(strings.Replace(billing, "{{ .db }}", "other {{ .db }}", 1))
	s.do("systemctl reload outrider.service")
	s.until("grep -qx 'other v2' /etc/billing/app.conf")
	s.want("systemctl show --value --property=NRestarts outrider.service", "0")
}

func TestConfigurationThatIsWrongFromTheStartIsNotTriedAgain(t *testing.T) {
	s := withBilling(t)
	s.allow()
	s.configure(billing + "nonsense: true\n")
	s.refuses("systemctl start outrider.service")
	s.want("systemctl show --value --property=NRestarts,ExecMainStatus,ActiveState outrider.service", "0\n78\nfailed")
}

func TestKilledSidecarComesBackAndTellsWhatIsOwed(t *testing.T) {
	s := withBilling(t)
	s.application("billing", "After=outrider.service", "ExecReload=\nExecReload=/bin/sh -c 'test ! -e /run/blocked && kill -HUP $MAINPID'", "/etc/billing/app.conf")
	s.start()
	s.do("systemctl start billing.service")
	s.says("billing.service", "started with v1")
	s.do("touch /run/blocked")
	s.put("prod/billing/db", "v2")
	s.says("outrider.service", "application not notified")
	s.do("systemctl kill --kill-whom=main --signal=KILL outrider.service")
	s.until("systemctl is-active outrider.service && test $(systemctl show --value --property=NRestarts outrider.service) = 1")
	s.do("rm /run/blocked")
	s.says("billing.service", "reloaded with v2")
	s.until("outrider status --json | grep -q '\"state\": \"current\"' && ! outrider status --json | grep -A1 '\"owed\"' | grep -q billing")
}

func TestMachineBootsOnTheLastGoodFilesWhileAWSIsAway(t *testing.T) {
	s := withBilling(t)
	s.start()
	s.do("systemctl enable --now billing.service")
	s.says("billing.service", "started with v1")
	s.goesAway()
	s.halt()
	s.boot()
	s.want("systemctl is-active outrider.service", "active")
	s.until("systemctl is-active billing.service")
	if got := s.said("billing.service", "started with v1"); got != 2 {
		t.Errorf("the application started %d times on its last good file, want once in each boot", got)
	}
	s.put("prod/billing/db", "v2")
	s.comes()
	s.says("billing.service", "reloaded with v2")
}

func TestWatchdogEndsASidecarOfWhichALoopHangs(t *testing.T) {
	s := withBilling(t)
	s.write("/etc/outrider/ca.pem", s.read("/etc/ssl/certs/ca-certificates.crt"))
	s.configure(billing + "aws: {ca_bundle: ca.pem}\n")
	s.start()
	// From now on nothing that asks AWS gets beyond opening a pipe that
	// nobody writes to, where no deadline reaches it.
	s.do("chmod 0644 /etc/outrider/ca.pem; mkfifo -m 0644 /etc/outrider/ca.new; mv /etc/outrider/ca.new /etc/outrider/ca.pem")
	s.within(5*time.Minute, "the watchdog has struck", func() error {
		if s.said("outrider.service", "Watchdog timeout") == 0 {
			return errNotYet
		}
		return nil
	})
	if s.said("outrider.service", "loop hangs") == 0 {
		t.Error("the journal does not name the loop")
	}
	s.do("cp /etc/ssl/certs/ca-certificates.crt /etc/outrider/ca.new; mv /etc/outrider/ca.new /etc/outrider/ca.pem")
	s.put("prod/billing/db", "v2")
	s.within(3*time.Minute, "the sidecar works again", func() error {
		_, err := s.sh("grep -qx v2 /etc/billing/app.conf")
		return err
	})
}

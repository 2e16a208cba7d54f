package machinetest

import (
	"strings"
	"testing"
)

// whatHooksSee is a hook that writes down what it may do.
const whatHooksSee = `
{
	grep -E '^(Cap(Inh|Prm|Eff|Amb)|NoNewPrivs)' /proc/self/status
	id -un
	for file in /etc/probe /usr/probe /var/lib/probe /srv/probe; do
		touch $file 2>/dev/null && echo "can write $file"
	done
	cat /srv/others 2>/dev/null && echo "can read what is another's"
	true
} >"$1"
`

// demanding needs every capability that a configuration can need, but the
// one for ports: files of others, signals, and commands as another user.
const demanding = `apps:
  billing:
    secrets: {db: {secret: prod/billing/db}}
    files: [{content: "{{ .db }}", destination: /etc/billing/app.conf, owner: billing, group: billing, mode: "0440"}]
    notify:
      - {signal: HUP, pid_file: /run/billing.pid}
      - {run: [/usr/local/bin/hook, /run/outrider/ours]}
      - {run: [/usr/local/bin/hook, /etc/billing/theirs], user: billing}
`

// elsewhere is an app more, in a folder that outrider's user may write in.
const elsewhere = `  elsewhere:
    secrets: {db: {secret: prod/billing/db}}
    files: [{content: "{{ .db }}", destination: /srv/open/file}]
`

func TestSandboxHoldsWhateverTheConfigurationNeeds(t *testing.T) {
	s := newScene(t, "0.0.2")
	s.put("prod/billing/db", "v1")
	s.user("billing")
	s.script("/usr/local/bin/hook", whatHooksSee)
	s.application("billing", "", "ExecStartPost=+/bin/sh -c 'echo $MAINPID >/run/billing.pid'", "/etc/billing/app.conf")
	s.do("echo old >/etc/billing/app.conf; chown billing /etc/billing/app.conf; systemctl start billing.service")
	s.do("echo theirs >/srv/others; chown billing /srv/others; chmod 0600 /srv/others; install -d -o outrider /srv/open")
	s.configure(demanding)
	s.start()

	s.says("billing.service", "reloaded with v1")
	s.want("stat -c '%U:%G %a' /etc/billing/app.conf", "billing:billing 440")
	const nothing = "CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\n"
	s.until("test -s /etc/billing/theirs")
	s.want("cat /run/outrider/ours", nothing+"outrider")
	s.want("cat /etc/billing/theirs", nothing+"billing\ntheirs\ncan read what is another's")

	// CHOWN, FOWNER, KILL, SETGID, SETUID and no other (capability.h).
	s.want("grep CapEff /proc/$(systemctl show --value --property=MainPID outrider.service)/status", "CapEff:\t00000000000000e9")
	// What the drop-in was not made for does not become possible by a mode.
	s.configure(demanding + elsewhere)
	s.do("systemctl reload outrider.service")
	s.until("outrider status --json | grep -q 'read-only file system'")
	s.refuses("test -e /srv/open/file")

	// It owns none of what it keeps supplied any more, and still sees and
	// mends what becomes of it.
	s.do("echo drifted >/etc/billing/app.conf; chmod 0444 /etc/billing/app.conf")
	s.until("grep -qx v1 /etc/billing/app.conf && test $(stat -c %a /etc/billing/app.conf) = 440")
	s.exposed(2.5)
}

func TestSidecarCannotReadWhatIsOthers(t *testing.T) {
	s := withBilling(t)
	s.start()
	s.do("install -d -m 0755 /home/billing; cp /etc/outrider/pki/host.key /srv/others.key; cp /etc/outrider/pki/host.key /home/billing/key; chown billing /srv/others.key; chmod 0600 /srv/others.key")
	for path, reason := range map[string]string{"/srv/others.key": "permission denied", "/home/billing/key": "permission denied|no such file"} {
		s.configure(billing)
		s.do("sed -i 's#private_key: pki/host.key#private_key: " + path + "#' /etc/outrider/outrider.yaml; systemctl restart outrider.service")
		s.until("outrider status --json | grep -qE '" + reason + "'")
	}
}

func TestKeyIsHandedOverEncrypted(t *testing.T) {
	s := withBilling(t)
	s.do("systemd-creds setup; systemd-creds encrypt --with-key=host --name=host.key /etc/outrider/pki/host.key /etc/outrider/pki/host.key.cred; rm /etc/outrider/pki/host.key")
	s.write("/etc/systemd/system/outrider.service.d/60-key.conf", "[Service]\nLoadCredentialEncrypted=host.key:/etc/outrider/pki/host.key.cred\n")
	s.do("sed -i 's#private_key: pki/host.key#private_key: credential:host.key#' /etc/outrider/outrider.yaml")
	s.start()
	s.want("cat /etc/billing/app.conf", "v1")
}

func TestInstancesSeeTheirOwnConfigurationAlone(t *testing.T) {
	s := newScene(t, "0.0.2")
	s.put("prod/billing/db", "v1")
	s.user("billing")
	s.application("billing", "", "", "/etc/billing/app.conf")
	for _, name := range []string{"web", "mail"} {
		s.do("install -d -o root -g outrider -m 0750 /etc/outrider/" + name + "; cp -a /etc/outrider/pki /etc/outrider/" + name)
	}
	s.write("/etc/outrider/web/outrider.yaml", s.head()+billing+"state: /var/lib/outrider-%i\nlisten: {admin: unix:/run/outrider-%i/outrider.sock}\n")
	s.write("/etc/outrider/mail/outrider.yaml", strings.Replace(s.head(), "pki/host.key", "../web/pki/host.key", 1)+
		strings.Replace(billing, "app.conf", "mail.conf", 1)+"state: /var/lib/outrider-%i\nlisten: {admin: unix:/run/outrider-%i/outrider.sock}\n")
	s.do("chgrp -R outrider /etc/outrider")
	for _, name := range []string{"web", "mail"} {
		s.do("OUTRIDER_INSTANCE=" + name + " outrider --config /etc/outrider/" + name + "/outrider.yaml policy --systemd --into /; systemctl daemon-reload; systemctl start --no-block outrider@" + name)
	}
	s.do("systemctl start billing.service")
	s.until("systemctl is-active outrider@web.service && grep -qx v1 /etc/billing/app.conf")
	s.until("outrider --socket /run/outrider-mail/outrider.sock status --json | grep -q 'web/pki/host.key: no such file'")
	s.put("prod/billing/db", "v2")
	s.says("billing.service", "reloaded with v2")
}

func TestConfinedSidecarReachesOnlyWhatItsConfigurationNames(t *testing.T) {
	s := withBilling(t)
	s.do("install -d -o outrider /srv/open; echo secret >/srv/readable; chmod 0644 /srv/readable")
	s.configure(billing + "confine: true\n")
	s.start()
	s.do("systemctl start billing.service")
	s.want("grep -h NoNewPrivs /proc/$(systemctl show --value --property=MainPID outrider.service)/status", "NoNewPrivs:\t1")

	// All that it does goes on.
	s.put("prod/billing/db", "v2")
	s.says("billing.service", "reloaded with v2")
	certificate, key := s.issue("renewed")
	s.renew(certificate, key)
	s.says("outrider.service", "CN=renewed")

	// The unit's sandbox out of the way, what is not named stays out of reach,
	// though by its mode it is anybody's.
	s.write("/etc/systemd/system/outrider.service.d/60-open.conf", "[Service]\nProtectSystem=no\n")
	s.do("systemctl daemon-reload; systemctl restart outrider.service")
	s.configure(billing + elsewhere + "confine: true\n")
	s.do("systemctl reload outrider.service")
	s.until("outrider status --json | grep -q '/srv/open.*permission denied'")
	s.refuses("ls /srv/open/file")
	s.do("sed -i 's#certificate: pki/host.pem#certificate: /srv/readable#' /etc/outrider/outrider.yaml; systemctl reload outrider.service")
	s.until("outrider status --json | grep -q '/srv/readable.*permission denied'")
	s.do("systemctl restart --no-block outrider.service")
	s.until("outrider status --json | grep -q '/srv/readable.*is not PEM'")
}

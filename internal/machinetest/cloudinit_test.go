package machinetest

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"outrider/awslab"
)

// step stands for step-cli: its authority is an openssl one, whose files are
// in /opt, and its token is good once.
const step = `#!/bin/sh -eu
sign() {
	printf 'keyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth\n' >/opt/leaf.cnf
	openssl x509 -req -in "$1" -CA /opt/ca.pem -CAkey /opt/ca.key -extfile /opt/leaf.cnf -days 1 -out "$2"
}
case "$1 $2" in
"ca bootstrap") test "$*" = "ca bootstrap --ca-url https://ca.example.org --fingerprint f1" ;;
"ca certificate")
	test "$6 $7" = "--token one-time" && test ! -e /opt/used && touch /opt/used
	openssl req -new -subj "/CN=$3" -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -keyout "$5" -out /opt/csr
	sign /opt/csr "$4" ;;
"certificate needs-renewal") test -e "$3" ;;
"ca renew")
	test "$3 $4" = "--force --out"
	openssl x509 -in "$6" -key "$7" -x509toreq -out /opt/csr
	sign /opt/csr "$5" ;;
*) exit 1 ;;
esac
`

// The text's files are written and its commands run as cloud-init does, but
// for the names that a person replaces, what is fetched from elsewhere, and
// that the first command to fail ends it.
func TestCloudInitEnrolsAndStarts(t *testing.T) {
	m := newMachine(t, "")
	lab, err := awslab.New(awslab.Options{Region: "eu-west-3", Role: "billing"})
	if err != nil {
		t.Fatal(err)
	}
	m.reaches(lab)
	key, err := lab.CAKeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	m.write("/opt/ca.pem", string(lab.CACertificatePEM()))
	m.write("/opt/ca.key", string(key))
	m.write("/opt/packages/outrider_amd64.deb", packaged(t))
	m.write("/opt/step/DEBIAN/control", "Package: step-cli\nVersion: 1\nArchitecture: all\nMaintainer: none <none@localhost>\nDescription: stands for it\n")
	m.write("/opt/step/usr/bin/step", step)
	m.do("chmod 0755 /opt/step/usr/bin/step; dpkg-deb --build /opt/step /opt/packages/step-cli_amd64.deb")
	m.script("/usr/local/bin/curl", `test "$1 $2 $3" = "-fsSLO --output-dir /opt" && cp "/opt/packages/${4#https://packages.example.org/}" /opt`)
	m.do("chmod 0755 /usr/local/bin/curl")
	if _, err := lab.PutSecret("prod/billing/db", `{"username": "app", "password": "first"}`); err != nil {
		t.Fatal(err)
	}

	m.write("/opt/runcmd", m.userData(lab.Setup()))
	m.do("hostname web-01; sh -eux /opt/runcmd")

	m.do("outrider wait billing --timeout 60s")
	m.want("cat /etc/billing/app.properties", "db.username=app\ndb.password=first")
	m.want("openssl x509 -in /etc/outrider/pki/host.pem -noout -subject", "subject=CN = web-01")
	m.want("stat -c '%U:%G %a' /etc/outrider /etc/outrider/outrider.yaml /etc/outrider/pki/host.key | sort -u", "root:outrider 640\nroot:outrider 750")
	m.want("systemctl is-active outrider.service outrider-renew.timer", "active\nactive")
	before := m.do("openssl x509 -in /etc/outrider/pki/host.pem -noout -serial")
	m.do("systemctl start outrider-renew.service")
	if m.do("openssl x509 -in /etc/outrider/pki/host.pem -noout -serial") == before {
		t.Error("the certificate is not renewed")
	}
}

// userData writes the files of the text, and returns its commands.
func (m *machine) userData(setup awslab.Setup) string {
	m.t.Helper()
	raw, err := os.ReadFile("../../configs/cloud-init/outrider.yaml")
	if err != nil {
		m.t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(raw), "\n")
	if first != "#cloud-config" {
		m.t.Errorf("the first line is %q: cloud-init takes it for something else", first)
	}
	var data struct {
		WriteFiles []struct{ Path, Permissions, Content string } `yaml:"write_files"`
		Runcmd     []any
	}
	text := strings.NewReplacer(
		"CA.EXAMPLE.ORG", "ca.example.org", "PACKAGES.EXAMPLE.ORG", "packages.example.org", "FINGERPRINT", "f1", "TOKEN", "one-time", "WEB-01", "web-01",
		"arn:aws:rolesanywhere:eu-west-3:111122223333:trust-anchor/5a1b8a5e-0c1f-4c55-9f5e-2f6a3f1f7b10", setup.TrustAnchor,
		"arn:aws:rolesanywhere:eu-west-3:111122223333:profile/8d0c2c4e-6f4e-4d5b-8a53-b0d1f9f3c0aa", setup.Profile,
	).Replace(string(raw))
	if err := yaml.Unmarshal([]byte(text), &data); err != nil {
		m.t.Fatal(err)
	}
	for _, f := range data.WriteFiles {
		m.write(f.Path, f.Content)
		if f.Permissions != "" {
			m.do("chmod " + f.Permissions + " " + f.Path)
		}
	}
	var script strings.Builder
	for _, command := range data.Runcmd {
		if words, isList := command.([]any); isList {
			for _, word := range words {
				fmt.Fprintf(&script, "'%v' ", word)
			}
			command = ""
		}
		fmt.Fprintln(&script, command)
	}
	return script.String()
}

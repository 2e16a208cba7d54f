package config

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLoadGivesCredentialsForUnits(t *testing.T) {
	folder := write(t, map[string]string{"outrider.yaml": head + `  web:
    secrets: {db: {secret: db}}
    credentials:
      db-password: {value: "{{ .db }}", units: [web.service, "worker@.service"]}
listen: {systemd: unix:credentials.sock, metrics: 0.0.0.0:9469}
audit: {path: audit.log}
`})
	c, err := Load(filepath.Join(folder, "outrider.yaml"), noEnvironment)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]Credential{"db-password": {
		Source: filepath.Join(folder, "outrider.yaml") + ":16:7: apps.web.credentials.db-password", Text: "{{ .db }}",
		Units: []string{"web.service", "worker@.service"},
	}}
	if diff := cmp.Diff(c.Apps["web"].Credentials, want); diff != "" {
		t.Errorf("got -, want +:\n%s", diff)
	}
	got := [3]string{c.Listen.Systemd, c.Listen.Metrics.Address, c.Audit.Path}
	if want := [3]string{filepath.Join(folder, "credentials.sock"), "0.0.0.0:9469", filepath.Join(folder, "audit.log")}; got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestUnitsThatMayHaveACredential(t *testing.T) {
	c := Credential{Units: []string{"web.service", "worker@.service", "one@1.service"}}
	for unit, want := range map[string]bool{
		"web.service": true, "worker@7.service": true, "worker@a.b.service": true, "one@1.service": true,
		"one@2.service": false, "web.socket": false, "worker@7.socket": false, "worker.service": false, "xworker@7.service": false, "": false,
	} {
		if got := c.Has(unit); got != want {
			t.Errorf("unit %q: got %v, want %v", unit, got, want)
		}
	}
}

func TestMistakesOfCredentials(t *testing.T) {
	const app = "    secrets: {db: {secret: db}}\n    credentials:\n"
	for name, tc := range map[string]struct {
		text string
		want []string
	}{
		"nobody listens": {head + "  web:\n" + app + "      a: {value: x, units: [web.service]}\n", []string{
			"outrider.yaml:16:7: apps.web.credentials.a: is asked for at listen.systemd, which is not given"}},
		"a unit gets one name twice": {head +
			"  api:\n" + app + "      a: {value: x, units: [web.service]}\n" +
			"  web:\n" + app + "      a: {value: x, units: [api.service, web.service]}\nlisten: {systemd: unix:/run/s}\n", []string{
			"outrider.yaml:20:42: apps.web.credentials.a.units[1]: web.service gets a already, at outrider.yaml:16:29"}},
		"a folder that is replaced cannot hold what there is no file of": {head +
			"  web:\n    layout: directory\n    files: [{content: x, destination: /a/b}]\n" + app +
			"      a: {value: x, units: [web.service]}\nlisten: {systemd: unix:/run/s}\n", []string{
			"outrider.yaml:17:5: apps.web.credentials: excludes layout: directory"}},
		"what is missing or wrong": {head + "  web:\n" + app +
			"      a/b: {value: x, units: [web.service]}\n      c: {}\n      d: {value: x, units: [web, x.target]}\nlisten: {systemd: unix:/run/s}\n", []string{
			"outrider.yaml:16:7: apps.web.credentials.\"a/b\": a credential's name is at most 64 letters, digits, _, -, @ and ., and does not start with a dot",
			"outrider.yaml:17:7: apps.web.credentials.c.value: missing",
			"outrider.yaml:17:7: apps.web.credentials.c.units: missing",
			"outrider.yaml:18:29: apps.web.credentials.d.units[0]: \"web\" lacks the unit's type; did you mean web.service?",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(mistakes(t, map[string]string{"outrider.yaml": tc.text}, nil), tc.want); diff != "" {
				t.Errorf("got -, want +:\n%s", diff)
			}
		})
	}
}

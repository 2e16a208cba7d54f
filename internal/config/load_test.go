package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"outrider/secret"
)

// head is the part of a configuration that most tests do not care about.
// Theirs starts at line 13.
const head = `version: 1
identities:
  host:
    certificate: host.pem
    private_key: host.key
roles:
  billing:
    region: eu-west-3
    trust_anchor: arn:aws:rolesanywhere:eu-west-3:111122223333:trust-anchor/a
    profile: arn:aws:rolesanywhere:eu-west-3:111122223333:profile/b
    role: arn:aws:iam::111122223333:role/billing
apps:
`

func noEnvironment(string) string { return "" }

func variables(m map[string]string) func(string) string {
	return func(name string) string { return m[name] }
}

// write makes the files of a configuration and returns their folder.
func write(t testing.TB, files map[string]string) string {
	t.Helper()
	folder := t.TempDir()
	for name, text := range files {
		whole := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(whole), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(whole, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

func TestLoadGivesTheWholeConfiguration(t *testing.T) {
	folder := write(t, map[string]string{
		"outrider.yaml": head + `  web:
    secrets:
      db: {secret: prod/db}
      old: {secret: prod/db, stage: AWSPREVIOUS}
      pinned: {secret: prod/db, version: 0b6bbf27-3e16-4b1c-a3b2-1a1c2d3e4f50}
    files:
      - {template: web.tmpl, destination: /etc/web/../web/conf, owner: 1000, group: web, mode: 0640}
      - {content: "x{{ .db }}", destination: out/conf, symlink: refuse}
      - {raw: db, destination: /etc/web/raw, mode: "0o400"}
    notify:
      - reload_unit: web@1.service
      - restart_unit: web.socket
        timeout: 1m
      - {signal: sigusr1, pid_file: web.pid}
      - {run: [bin/tell, 5, ""], user: web}
      - run: [tell]
    max_stale: 0s
    allow: {users: [deploy, 7], groups: [web]}
`,
		"web.tmpl":             "user={{ .db.username }}",
		"apps.d/b.yaml":        "apps: {b: {secrets: {x: {secret: x}}, files: [{template: b.tmpl, destination: b.conf}]}}",
		"apps.d/b.tmpl":        "b",
		"apps.d/.hidden.yaml":  "nonsense",
		"apps.d/b.yaml.backup": "nonsense",
	})
	main := filepath.Join(folder, "outrider.yaml")
	got, err := Load(main, noEnvironment)
	if err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(folder, name) }
	bits := func(m fs.FileMode) *fs.FileMode { return &m }
	want := &Config{
		File:  main,
		Files: []string{main, at("web.tmpl"), at("apps.d/b.yaml"), at("apps.d/b.tmpl")},
		Identities: map[string]Identity{
			"host": {Name: "host", Certificate: at("host.pem"), PrivateKey: at("host.key")},
		},
		Roles: map[string]Role{"billing": {
			Name: "billing", Identity: "host", Region: "eu-west-3",
			TrustAnchor: "arn:aws:rolesanywhere:eu-west-3:111122223333:trust-anchor/a",
			Profile:     "arn:aws:rolesanywhere:eu-west-3:111122223333:profile/b",
			Role:        "arn:aws:iam::111122223333:role/billing",
		}},
		Apps: map[string]App{
			"web": {
				Name: "web", Role: "billing",
				Secrets: map[string]secret.Ref{
					"db":     {ID: "prod/db", Stage: "AWSCURRENT"},
					"old":    {ID: "prod/db", Stage: "AWSPREVIOUS"},
					"pinned": {ID: "prod/db", VersionID: "0b6bbf27-3e16-4b1c-a3b2-1a1c2d3e4f50"},
				},
				Files: []File{
					{Place: main + ":19:9: apps.web.files[0]", Source: at("web.tmpl"), Text: "user={{ .db.username }}",
						Destination: "/etc/web/conf", Owner: "1000", Group: "web", Mode: bits(0o640), Symlink: "follow"},
					{Place: main + ":20:9: apps.web.files[1]", Source: main + ":20:9: apps.web.files[1]", Text: "x{{ .db }}",
						Destination: at("out/conf"), Symlink: "refuse"},
					{Place: main + ":21:9: apps.web.files[2]", Raw: "db", Destination: "/etc/web/raw", Mode: bits(0o400), Symlink: "follow"},
				},
				Notify: []Notify{
					{Place: main + ":23:9: apps.web.notify[0]", ReloadUnit: "web@1.service", Timeout: 30 * time.Second},
					{Place: main + ":24:9: apps.web.notify[1]", RestartUnit: "web.socket", Timeout: time.Minute},
					{Place: main + ":26:9: apps.web.notify[2]", Signal: syscall.SIGUSR1, PIDFile: at("web.pid"), Timeout: 30 * time.Second},
					{Place: main + ":27:9: apps.web.notify[3]", Run: []string{at("bin/tell"), "5", ""}, User: "web", Timeout: 30 * time.Second},
					{Place: main + ":28:9: apps.web.notify[4]", Run: []string{"tell"}, Timeout: 30 * time.Second},
				},
				Allow: Allow{Users: []string{"deploy", "7"}, Groups: []string{"web"}},
			},
			"b": {
				Name: "b", Role: "billing",
				Secrets: map[string]secret.Ref{"x": {ID: "x", Stage: "AWSCURRENT"}},
				Files: []File{{Place: at("apps.d/b.yaml") + ":1:47: apps.b.files[0]", Source: at("apps.d/b.tmpl"), Text: "b",
					Destination: at("apps.d/b.conf"), Symlink: "follow"}},
				MaxStale: 24 * time.Hour,
			},
		},
		Watch:  Watch{Interval: 5 * time.Minute},
		Listen: Listen{Admin: "/run/outrider/outrider.sock"},
		State:  "/var/lib/outrider",
		Log:    Log{Level: "info", Format: "auto"},
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("got -, want +:\n%s", diff)
	}
}

func TestLoadReadsTheRest(t *testing.T) {
	folder := write(t, map[string]string{"outrider.yaml": strings.TrimSuffix(head, "apps:\n") + `    identity: host
    session_duration: 15m
    session_name: web-01@rack+7
    endpoints: {sqs: "http://[::1]:1/", ssm: "https://proxy/ssm/"}
    fips: false
    dual_stack: False
watch: {interval: 1s}
listen: {admin: "unix:run/%i.sock"}
state: state-%i-100%%
log: {level: debug, format: json}
`})
	got, err := Load(filepath.Join(folder, "outrider.yaml"), variables(map[string]string{
		"OUTRIDER_INSTANCE":         "web",
		"AWS_ENDPOINT_URL":          "http://localhost:4566/",
		"AWS_ENDPOINT_URL_SSM":      "https://other",
		"AWS_ENDPOINT_URL_STS":      "https://sts.internal",
		"AWS_ENDPOINT_URL_DYNAMODB": "nonsense",
	}))
	if err != nil {
		t.Fatal(err)
	}
	want := Endpoints{
		RolesAnywhere: "http://localhost:4566", SecretsManager: "http://localhost:4566",
		SSM: "https://proxy/ssm", SQS: "http://[::1]:1", STS: "https://sts.internal",
	}
	role := got.Roles["billing"]
	if diff := cmp.Diff(role.Endpoints, want); diff != "" {
		t.Errorf("endpoints: got -, want +:\n%s", diff)
	}
	if role.SessionDuration != 15*time.Minute || role.SessionName != "web-01@rack+7" {
		t.Errorf("session: got %v, %q", role.SessionDuration, role.SessionName)
	}
	if got.State != folder+"/state-web-100%" || got.Listen.Admin != folder+"/run/web.sock" {
		t.Errorf("instance: got %q, %q", got.State, got.Listen.Admin)
	}
	if got.Watch.Interval != time.Second || got.Log != (Log{Level: "debug", Format: "json"}) || got.Apps == nil {
		t.Errorf("rest: got %v, %v, %v", got.Watch, got.Log, got.Apps)
	}
}

func TestJSONWithTabsLoads(t *testing.T) {
	folder := write(t, map[string]string{"outrider.yaml": `{
	"version": 1,
	"identities": {"host": {"certificate": "host.pem", "private_key": "host.key"}},
	"roles": {"billing": {
		"region": "eu-west-3",
		"trust_anchor": "arn:aws:rolesanywhere:eu-west-3:111122223333:trust-anchor/a",
		"profile": "arn:aws:rolesanywhere:eu-west-3:111122223333:profile/b",
		"role": "arn:aws:iam::111122223333:role/billing"
	}}
}`})
	got, err := Load(filepath.Join(folder, "outrider.yaml"), noEnvironment)
	if err != nil {
		t.Fatal(err)
	}
	if got.Roles["billing"].Identity != "host" {
		t.Errorf("got %+v, want the role with its identity", got.Roles)
	}
}

func TestTheSamplesLoad(t *testing.T) {
	got, err := Load("../../configs/outrider.yaml", noEnvironment)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Apps) != 2 || got.Apps["billing"].Files[0].Text == "" {
		t.Errorf("got apps %v, want mailer and billing with its template", got.Apps)
	}
}

func TestEveryKeyIsKnownButNotAllIsBuilt(t *testing.T) {
	_, err := Load("testdata/everything.yaml", noEnvironment)
	var got Mistakes
	if !errors.As(err, &got) {
		t.Fatalf("got %v, want Mistakes", err)
	}
	unbuilt := 0
	for _, m := range got {
		if !strings.HasPrefix(m.Text, "not built yet") {
			t.Errorf("got %v, want nothing but keys that are not built", m)
		}
		unbuilt++
	}
	// Each key that is marked as not built stands in the file once.
	if want := countUnbuilt(configTable().rows()); unbuilt != want {
		t.Errorf("got %d keys not built, want %d", unbuilt, want)
	}
}

func countUnbuilt(rows []row) int {
	n := 0
	for _, k := range rows {
		if k.unbuilt {
			n++
		}
		n += countUnbuilt(k.inner)
	}
	return n
}

func BenchmarkLoad(b *testing.B) {
	var text strings.Builder
	files := map[string]string{}
	for i := range 1000 {
		fmt.Fprintf(&text, `  app-%[1]d:
    role: billing
    secrets:
      db: {secret: prod/app-%[1]d/db}
    files:
      - template: app-%[1]d.tmpl
        destination: /etc/app-%[1]d/app.properties
        owner: app
        mode: "0640"
    notify:
      - reload_unit: app-%[1]d.service
`, i)
		files[fmt.Sprintf("app-%d.tmpl", i)] = "password={{ .db.password }}"
	}
	files["outrider.yaml"] = head + text.String()
	main := filepath.Join(write(b, files), "outrider.yaml")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Load(main, noEnvironment); err != nil {
			b.Fatal(err)
		}
	}
}

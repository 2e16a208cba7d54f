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
						Destination: "/etc/web/conf", Format: "none", Owner: "1000", Group: "web", Mode: bits(0o640), Symlink: "follow"},
					{Place: main + ":20:9: apps.web.files[1]", Source: main + ":20:9: apps.web.files[1]", Text: "x{{ .db }}",
						Destination: at("out/conf"), Format: "none", Symlink: "refuse"},
					{Place: main + ":21:9: apps.web.files[2]", Raw: "db", Destination: "/etc/web/raw", Format: "none", Mode: bits(0o400), Symlink: "follow"},
				},
				Notify: []Notify{
					{Place: main + ":23:9: apps.web.notify[0]", ReloadUnit: "web@1.service", Timeout: 30 * time.Second},
					{Place: main + ":24:9: apps.web.notify[1]", RestartUnit: "web.socket", Timeout: time.Minute},
					{Place: main + ":26:9: apps.web.notify[2]", Signal: syscall.SIGUSR1, PIDFile: at("web.pid"), Timeout: 30 * time.Second},
					{Place: main + ":27:9: apps.web.notify[3]", Run: []string{at("bin/tell"), "5", ""}, User: "web", Timeout: 30 * time.Second},
					{Place: main + ":28:9: apps.web.notify[4]", Run: []string{"tell"}, Timeout: 30 * time.Second},
				},
				Layout: "files", LongestWait: 30 * time.Second, OnDenied: "keep",
				Allow: Allow{Users: []string{"deploy", "7"}, Groups: []string{"web"}},
			},
			"b": {
				Name: "b", Role: "billing",
				Secrets: map[string]secret.Ref{"x": {ID: "x", Stage: "AWSCURRENT"}},
				Files: []File{{Place: at("apps.d/b.yaml") + ":1:47: apps.b.files[0]", Source: at("apps.d/b.tmpl"), Text: "b",
					Destination: at("apps.d/b.conf"), Format: "none", Symlink: "follow"}},
				Layout: "files", LongestWait: 30 * time.Second, MaxStale: 24 * time.Hour, OnDenied: "keep",
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

func TestLoadGivesEveryFormOfIdentity(t *testing.T) {
	folder := write(t, map[string]string{"outrider.yaml": strings.Replace(strings.TrimSuffix(head, "apps:\n"), "roles:\n", `  encrypted: {certificate: "credential:host.pem", private_key: "credential:host-%i.key", password_file: "credential:pass", chain: "./credential:x"}
  bundle: {pkcs12: host.p12, password_file: host.pass, chain: chain.pem}
  token: {certificate: host.pem, private_key: "pkcs11:token=a%20b;object=host;type=private?pin-source=file:/etc/pin&module-path=/usr/lib/x.so"}
  sealed: {certificate: host.pem, private_key: "tpm2:host%%.tss?device=/dev/tpmrm1"}
  handed: {certificate: host.pem, private_key: "tpm2:credential:host.tss", password_file: auth}
  handle: {certificate: host.pem, private_key: "tpm2:0X8100000A?device=unix:/run/tpm.sock"}
  mesh: {spiffe: "unix:///run/spire/agent %i.sock"}
  near: {spiffe: "unix:agent.sock"}
roles:
`, 1) + "    identity: host\n"})
	got, err := Load(filepath.Join(folder, "outrider.yaml"), variables(map[string]string{
		"CREDENTIALS_DIRECTORY": "/run/credentials/outrider.service", "OUTRIDER_INSTANCE": "web",
	}))
	if err != nil {
		t.Fatal(err)
	}
	const given = "/run/credentials/outrider.service/"
	pem, at := filepath.Join(folder, "host.pem"), func(name string) string { return filepath.Join(folder, name) }
	want := map[string]Identity{
		"host":      {Name: "host", Certificate: pem, PrivateKey: at("host.key")},
		"encrypted": {Name: "encrypted", Certificate: given + "host.pem", PrivateKey: given + "host-web.key", PasswordFile: given + "pass", Chain: at("credential:x")},
		"bundle":    {Name: "bundle", PKCS12: at("host.p12"), PasswordFile: at("host.pass"), Chain: at("chain.pem")},
		"token": {Name: "token", Certificate: pem,
			PrivateKey: "pkcs11:token=a%20b;object=host;type=private?pin-source=file:/etc/pin&module-path=/usr/lib/x.so"},
		"sealed": {Name: "sealed", Certificate: pem, PrivateKey: "tpm2:" + at("host%.tss") + "?device=/dev/tpmrm1"},
		"handed": {Name: "handed", Certificate: pem, PrivateKey: "tpm2:" + given + "host.tss", PasswordFile: at("auth")},
		"handle": {Name: "handle", Certificate: pem, PrivateKey: "tpm2:0x8100000a?device=unix:/run/tpm.sock"},
		"mesh":   {Name: "mesh", SPIFFE: "unix:///run/spire/agent%20web.sock"},
		"near":   {Name: "near", SPIFFE: "unix://" + at("agent.sock")},
	}
	if diff := cmp.Diff(got.Identities, want); diff != "" {
		t.Errorf("got -, want +:\n%s", diff)
	}
}

func TestLoadGivesWhatElseARoleCanSay(t *testing.T) {
	folder := write(t, map[string]string{"outrider.yaml": strings.TrimSuffix(head, "apps:\n") + `    session_duration: 1h
    assume: [arn:aws:iam::444455556666:role/a, arn:aws:iam::444455556666:role/b]
    fips: true
    dual_stack: true
    fallback:
      - region: eu-central-1
        trust_anchor: arn:aws:rolesanywhere:eu-central-1:111122223333:trust-anchor/a
        profile: arn:aws:rolesanywhere:eu-central-1:111122223333:profile/b
    token: {file: billing.token, owner: app, group: 7}
    credentials_file: {path: credentials}
  other:
    region: eu-west-3
    trust_anchor: arn:aws:rolesanywhere:eu-west-3:111122223333:trust-anchor/a
    profile: arn:aws:rolesanywhere:eu-west-3:111122223333:profile/b
    role: arn:aws:iam::111122223333:role/other
    credentials_file: {path: credentials, profile: team/other}
aws: {ca_bundle: proxy.pem}
listen: {credentials: "127.0.0.2:9470", imds: {address: "[::1]:9911", role: other}}
`})
	got, err := Load(filepath.Join(folder, "outrider.yaml"), noEnvironment)
	if err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(folder, name) }
	role := got.Roles["billing"]
	role.Region, role.TrustAnchor, role.Profile, role.Role = "", "", "", ""
	want := Role{
		Name: "billing", Identity: "host", SessionDuration: time.Hour, FIPS: true, DualStack: true,
		Assume: []string{"arn:aws:iam::444455556666:role/a", "arn:aws:iam::444455556666:role/b"},
		Fallback: []Fallback{{Region: "eu-central-1",
			TrustAnchor: "arn:aws:rolesanywhere:eu-central-1:111122223333:trust-anchor/a",
			Profile:     "arn:aws:rolesanywhere:eu-central-1:111122223333:profile/b"}},
		Token:           &Token{File: at("billing.token"), Owner: "app", Group: "7"},
		CredentialsFile: &CredentialsFile{Path: at("credentials"), Profile: "default"},
	}
	if diff := cmp.Diff(role, want); diff != "" {
		t.Errorf("role: got -, want +:\n%s", diff)
	}
	if diff := cmp.Diff(got.Roles["other"].CredentialsFile, &CredentialsFile{Path: at("credentials"), Profile: "team/other"}); diff != "" {
		t.Errorf("other: got -, want +:\n%s", diff)
	}
	if diff := cmp.Diff(got.AWS, AWS{CABundle: at("proxy.pem")}); diff != "" {
		t.Errorf("aws: got -, want +:\n%s", diff)
	}
	listen := Listen{Admin: "/run/outrider/outrider.sock", Credentials: Address{"tcp", "127.0.0.2:9470"},
		IMDS: IMDS{Address: Address{"tcp", "[::1]:9911"}, Role: "other"}}
	if diff := cmp.Diff(got.Listen, listen); diff != "" {
		t.Errorf("listen: got -, want +:\n%s", diff)
	}
}

func TestTheOneRoleIsTheOneServed(t *testing.T) {
	folder := write(t, map[string]string{"outrider.yaml": head + "  {}\nlisten: {credentials: \"unix:c-%i.sock\", imds: {address: \"127.0.0.1:80\"}}\n"})
	got, err := Load(filepath.Join(folder, "outrider.yaml"), variables(map[string]string{"OUTRIDER_INSTANCE": "web"}))
	if err != nil {
		t.Fatal(err)
	}
	want := Listen{Admin: "/run/outrider/outrider.sock", Credentials: Address{"unix", filepath.Join(folder, "c-web.sock")},
		IMDS: IMDS{Address: Address{"tcp", "127.0.0.1:80"}, Role: "billing"}}
	if diff := cmp.Diff(got.Listen, want); diff != "" {
		t.Errorf("got -, want +:\n%s", diff)
	}
}

func TestLoadGivesWhatAnAppAsksOfADelivery(t *testing.T) {
	folder := write(t, map[string]string{"outrider.yaml": head + `  web:
    secrets:
      user: {secret: prod/user}
      password: {secret: prod/password}
      tls: {secret: prod/tls}
    together: [[user, password]]
    verify:
      - mysql: {secret: password}
      - mysql: {secret: password, address: "[fd00::1]:3306", tls: off}
        on_inconclusive: hold
        early_pending: true
      - mysql: {secret: password, address: db, tls: verify-ca, ca: db.pem}
      - mysql: {secret: password, address: "unix:db.sock"}
      - mysql: {secret: password, address: "fd00::1"}
      - {run: [bin/try], user: web, timeout: 5s}
      - tls_pair: {certificate: "{{ .tls.cert }}", private_key: "{{ .tls.key }}"}
    files:
      - {content: a, destination: live/a, format: systemd-environment}
      - {content: b, destination: live/b, format: my.cnf}
    layout: directory
    check: [bin/app, --config, '{{ staged "live/a" }}']
    confirm: {run: [curl, http://127.0.0.1/], within: 5s, user: web}
    settle: 1s
    longest_wait: 5s
    splay: 1m
    on_denied: remove
    sealed: {path: web.sealed, key: pki/seal.key}
  api:
    secrets: {db: {secret: prod/db}}
    files: [{content: a, destination: a, in_place: true, symlink: refuse}]
    confirm: {run: [/bin/true]}
`})
	main := filepath.Join(folder, "outrider.yaml")
	got, err := Load(main, noEnvironment)
	if err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(folder, name) }
	web, api := got.Apps["web"], got.Apps["api"]
	web.Secrets, web.Files = nil, web.Files[1:]
	want := App{
		Name: "web", Role: "billing", Together: [][]string{{"user", "password"}},
		Verify: []Verify{
			{MySQL: &VerifyMySQL{Secret: "password", TLS: "verify-full"}, Timeout: 30 * time.Second, OnInconclusive: "deliver"},
			{MySQL: &VerifyMySQL{Secret: "password", Address: "[fd00::1]:3306", TLS: "off"}, Timeout: 30 * time.Second,
				OnInconclusive: "hold", EarlyPending: true},
			{MySQL: &VerifyMySQL{Secret: "password", Address: "db", TLS: "verify-ca", CA: at("db.pem")}, Timeout: 30 * time.Second, OnInconclusive: "deliver"},
			{MySQL: &VerifyMySQL{Secret: "password", Address: "unix:" + at("db.sock"), TLS: "verify-full"}, Timeout: 30 * time.Second, OnInconclusive: "deliver"},
			{MySQL: &VerifyMySQL{Secret: "password", Address: "fd00::1", TLS: "verify-full"}, Timeout: 30 * time.Second, OnInconclusive: "deliver"},
			{Run: []string{at("bin/try")}, User: "web", Timeout: 5 * time.Second, OnInconclusive: "deliver"},
			{TLSPair: &VerifyTLSPair{Certificate: "{{ .tls.cert }}", PrivateKey: "{{ .tls.key }}"}, Timeout: 30 * time.Second, OnInconclusive: "deliver"},
		},
		Files: []File{{Place: main + ":31:9: apps.web.files[1]", Source: main + ":31:9: apps.web.files[1]", Text: "b",
			Destination: at("live/b"), Format: "my.cnf", Symlink: "follow"}},
		Layout: "directory", Check: []string{at("bin/app"), "--config", `{{ staged "live/a" }}`},
		Confirm: &Confirm{Run: []string{"curl", "http://127.0.0.1/"}, Within: 5 * time.Second, User: "web"},
		Settle:  time.Second, LongestWait: 5 * time.Second, Splay: time.Minute, MaxStale: 24 * time.Hour,
		OnDenied: "remove", Sealed: &Sealed{Path: at("web.sealed"), Key: at("pki/seal.key")},
	}
	for i, line := range []int{20, 21, 24, 25, 26, 27, 28} {
		want.Verify[i].Place = fmt.Sprintf("%s:%d:9: apps.web.verify[%d]", main, line, i)
	}
	if diff := cmp.Diff(web, want); diff != "" {
		t.Errorf("got -, want +:\n%s", diff)
	}
	if !api.Files[0].InPlace || api.Files[0].Symlink != "refuse" || api.Confirm.Within != 30*time.Second {
		t.Errorf("got %+v and %+v, want a file in place and 30s", api.Files[0], api.Confirm)
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

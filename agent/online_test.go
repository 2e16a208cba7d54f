package agent

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"outrider/awslab"
	"outrider/doctor"
	"outrider/internal/config"
	"outrider/secret"
)

// online is a house whose endpoints have addresses, so that no name server is
// asked.
func (h *house) online(apps ...config.App) *config.Config {
	c := h.config(time.Hour, apps...)
	r := c.Roles["role"]
	const loopback = "http://127.0.0.1:1"
	r.Endpoints = config.Endpoints{RolesAnywhere: loopback, SecretsManager: loopback, SSM: loopback, SQS: loopback, STS: loopback}
	c.Roles["role"] = r
	return c
}

// examine walks, and returns the findings that are not OK, and all of them.
func (h *house) examine(c *config.Config) (bad, all []string) {
	h.t.Helper()
	for _, f := range h.agent(c).Examine(h.t.Context()) {
		line := fmt.Sprintf("%s %s", f.Verdict, f)
		if all = append(all, line); f.Verdict != doctor.OK {
			bad = append(bad, line)
		}
	}
	return bad, all
}

// has reports whether some line has all those words.
func has(lines []string, words ...string) bool {
	return slices.ContainsFunc(lines, func(line string) bool {
		return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) })
	})
}

func TestExamineFindsNothingWhereAllIsWell(t *testing.T) {
	h := newHouse(t)
	h.put("a", "value-one")
	h.put("b", "value-two")
	app := h.app("one", "a", "b")
	app.Verify = []config.Verify{{Run: []string{"/bin/true"}, Timeout: time.Minute}}
	app.Notify = []config.Notify{{Signal: syscall.SIGHUP, PIDFile: filepath.Join(h.dir, "app.pid"), Timeout: time.Minute}}
	bad, all := h.examine(h.online(app))
	if len(bad) > 0 {
		t.Errorf("findings %q, want none", bad)
	}
	for _, words := range [][]string{
		{"ok identity host: ", "days left"}, {"ok endpoint 127.0.0.1:1: directly"}, {"ok clock: "}, {"ok role role: session ASIA"},
		{"ok secret a: version "}, {"ok secret b: version "}, {"ok app one: 2 secrets"}, {"verify: run /bin/true: it works"},
		{"signal HUP ", "does not run now"},
	} {
		if !has(all, words...) {
			t.Errorf("no finding with %q in %q", words, all)
		}
	}
	if has(all, "value-") {
		t.Errorf("a finding shows a value")
	}
	if _, err := os.Stat(h.path("one")); err == nil {
		t.Error("a file was written")
	}
	reading := []string{"GET ", "rolesanywhere.CreateSession", "secretsmanager.GetSecretValue", "secretsmanager.DescribeSecret", "secretsmanager.BatchGetSecretValue"}
	for call := range h.lab.Calls() {
		if !slices.Contains(reading, call) {
			t.Errorf("it called %s", call)
		}
	}
	// The order is the same each time; what differs is the session.
	_, again := h.examine(h.online(app))
	for i := range all {
		first, _, _ := strings.Cut(all[i], ":")
		if second, _, _ := strings.Cut(again[i], ":"); first != second {
			t.Errorf("line %d is about %q, then about %q", i, first, second)
		}
	}
}

func TestExamineTellsWhatIsMissing(t *testing.T) {
	queue := func(h *house, c *config.Config) {
		if _, err := h.lab.CreateQueue("q"); err != nil {
			h.t.Fatal(err)
		}
		c.Watch.Queue, c.Watch.Role = "http://127.0.0.1:1/"+h.setup.Account+"/q", "role"
		c.Watch.Place = config.QueuePlace{Region: h.setup.Region, Account: h.setup.Account, Endpoint: "http://127.0.0.1:1"}
	}
	for name, test := range map[string]struct {
		spoil func(*house, *config.Config)
		wants [][]string
	}{
		"a secret is denied": {func(h *house, _ *config.Config) { h.lab.Deny("GetSecretValue", "b") }, [][]string{
			{"fail secret b: AccessDeniedException", `add to its policy {"Effect":"Allow"`, `"secretsmanager:GetSecretValue"`, "secret:b-??????"},
		}},
		"its key is denied": {func(h *house, _ *config.Config) {
			h.lab.Deny("BatchGetSecretValue", "")
			if err := h.lab.AddFault(awslab.Fault{Kind: awslab.Fail, Operation: "GetSecretValue", Count: 1, Status: 400, Code: "AccessDeniedException", Message: "Access to KMS is not allowed"}); err != nil {
				h.t.Fatal(err)
			}
		}, [][]string{{"fail secret ", "Access to KMS", `"kms:Decrypt"`, "kms:ViaService"}, {"warn role role: BatchGetSecretValue is not allowed"}}},
		"only the value may be read": {func(h *house, _ *config.Config) { h.lab.Deny("DescribeSecret", "a") }, [][]string{
			{"warn secret a: DescribeSecret is not allowed", `"secretsmanager:DescribeSecret"`, "secret:a-??????"},
		}},
		"batches are denied": {func(h *house, _ *config.Config) { h.lab.Deny("BatchGetSecretValue", "") }, [][]string{
			{"warn role role: BatchGetSecretValue is not allowed", `"Resource":["*"]`},
		}},
		"the queue is denied": {func(h *house, c *config.Config) { queue(h, c); h.lab.Deny("sqs.ReceiveMessage", "") }, [][]string{
			{"fail queue: ", "ReceiveMessage", `"Action":["sqs:ReceiveMessage"]`, ":q\""},
		}},
		"its messages cannot be deleted": {func(h *house, c *config.Config) { queue(h, c); h.lab.Deny("sqs.DeleteMessage", "") }, [][]string{
			{"fail queue: ", `"Action":["sqs:DeleteMessage"]`},
		}},
		"a parameter is denied": {func(h *house, c *config.Config) {
			h.putParameter("/p/smtp")
			c.Apps["one"].Secrets["smtp"] = secret.Ref{Kind: secret.Parameter, ID: "/p/smtp"}
			h.lab.Deny("ssm.GetParameters", "/p/smtp")
		}, [][]string{{"fail parameter /p/smtp: AccessDeniedException", `"ssm:GetParameters"`, ":parameter/p/smtp"}}},
		"a path is denied": {func(h *house, c *config.Config) {
			h.putParameter("/p/flags/a")
			c.Apps["one"].Secrets["flags"] = secret.Ref{Kind: secret.Parameters, ID: "/p/flags"}
			h.lab.Deny("ssm.GetParametersByPath", "")
		}, [][]string{{"fail parameters /p/flags: AccessDeniedException", `"ssm:GetParametersByPath"`, ":parameter/p/flags/*"}}},
		"a fallback does not open sessions": {func(h *house, c *config.Config) {
			r := c.Roles["role"]
			elsewhere := strings.NewReplacer(h.setup.Region, "eu-central-1")
			r.Fallback = []config.Fallback{{Region: "eu-central-1", TrustAnchor: elsewhere.Replace(r.TrustAnchor), Profile: elsewhere.Replace(r.Profile)}}
			c.Roles["role"] = r
		}, [][]string{{"fail role role: region eu-central-1: CreateSession at "}, {"warn secret a: no copy"}, {"warn secret b: no copy"}}},
		"a secret has no copy where the fallback is": {func(h *house, c *config.Config) {
			other, err := h.lab.Neighbor("eu-central-1")
			if err == nil {
				err = h.lab.Replicate("a", other)
			}
			if err != nil {
				h.t.Fatal(err)
			}
			r := c.Roles["role"]
			r.Fallback = []config.Fallback{{Region: "eu-central-1", TrustAnchor: other.Setup().TrustAnchor, Profile: other.Setup().Profile}}
			c.Roles["role"] = r
		}, [][]string{{"fail role role: region eu-central-1: "}, {"warn secret b: no copy in step in eu-central-1", "replicate it there"}}},
		"the next role refuses": {func(_ *house, c *config.Config) {
			r := c.Roles["role"]
			r.Assume = []string{"arn:aws:iam::444455556666:role/other"}
			c.Roles["role"] = r
		}, [][]string{{"fail role role: AssumeRole arn:aws:iam::444455556666:role/other"}}},
		"the certificate is revoked": {func(h *house, _ *config.Config) { h.lab.Deny("GetSecretValue", ""); h.revoke() }, [][]string{
			{"fail role role: CreateSession", "Certificate revoked", "was not looked at"},
		}},
		"the clock is off": {func(h *house, _ *config.Config) { h.lab.SetSkew(time.Hour) }, [][]string{
			{"warn clock: ", "behind AWS's", "set it"},
		}},
		"a login is refused": {func(_ *house, c *config.Config) {
			app := c.Apps["one"]
			app.Verify = []config.Verify{{Run: []string{"/bin/false"}, Timeout: time.Minute}}
			c.Apps["one"] = app
		}, [][]string{{"fail app one: verify: run /bin/false: "}}},
		"a field is not there": {func(_ *house, c *config.Config) {
			c.Apps["one"].Files[0].Text = "{{ .s0.password }}"
		}, [][]string{{"fail app one: file ", "password"}}},
		"a pid file that others may write": {func(h *house, c *config.Config) {
			path := filepath.Join(h.dir, "app.pid")
			if err := os.WriteFile(path, []byte("12345\n"), 0o600); err != nil {
				h.t.Fatal(err)
			}
			if err := os.Chmod(path, 0o666); err != nil {
				h.t.Fatal(err)
			}
			app := c.Apps["one"]
			app.Notify = []config.Notify{{Signal: syscall.SIGHUP, PIDFile: path, Timeout: time.Minute}}
			c.Apps["one"] = app
		}, [][]string{{"fail app one: signal HUP", "chmod go-w"}}},
		"a folder is not there": {func(h *house, c *config.Config) {
			c.Apps["one"].Files[0].Destination = filepath.Join(h.dir, "nosuch", "file")
		}, [][]string{{"fail app one: file ", "nosuch"}}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			h.put("a", "value-one")
			h.put("b", "value-two")
			c := h.online(h.app("one", "a", "b"))
			test.spoil(h, c)
			bad, all := h.examine(c)
			for _, words := range test.wants {
				if !has(bad, words...) {
					t.Errorf("no finding with %q in %q", words, bad)
				}
			}
			if len(bad) != len(test.wants) {
				t.Errorf("findings %q, want %d", bad, len(test.wants))
			}
			if has(all, "value-") {
				t.Error("a finding shows a value")
			}
		})
	}
}

// revoke takes the host's certificate back.
func (h *house) revoke() {
	h.t.Helper()
	text, err := os.ReadFile(h.setup.Certificate)
	if err != nil {
		h.t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		h.t.Fatal(err)
	}
	h.lab.RevokeCertificate(leaf.SerialNumber)
}

func TestExamineReadsAThousandSecretsInAsFewCallsAsAStart(t *testing.T) {
	h := newHouse(t)
	var ids []string
	for i := range 1000 {
		ids = append(ids, fmt.Sprintf("s/%d", i))
		h.put(ids[i], "v")
	}
	if bad, _ := h.examine(h.online(h.app("one", ids...))); len(bad) > 0 {
		t.Errorf("findings %q, want none", bad[0])
	}
	if got := h.lab.Calls(); got["secretsmanager.BatchGetSecretValue"] != 51 || got["secretsmanager.GetSecretValue"] != 0 {
		t.Errorf("calls %v, want 50 batches, one more to ask for the permission, and no single read", got)
	}
}

func TestExamineTriesALoginThatAppsShareOnce(t *testing.T) {
	h := newHouse(t)
	h.put("a", "value-one")
	tries := filepath.Join(h.dir, "tries")
	script := filepath.Join(h.dir, "try")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho x >> "+tries+"\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	one := h.app("one", "a")
	one.Verify = []config.Verify{{Run: []string{script}, Timeout: time.Minute}, {Run: []string{script}, Timeout: time.Minute}}
	a := h.agent(h.online(one))
	app := a.current().apps["one"]
	app.rules[1].Name = app.rules[0].Name
	a.Examine(t.Context())
	if got, err := os.ReadFile(tries); err != nil || string(got) != "x\n" {
		t.Errorf("tried %q (%v), want once", got, err)
	}
}

func TestExamineLooksForKeysThatHideTheEndpoint(t *testing.T) {
	h := newHouse(t)
	c := h.online()
	r := c.Roles["role"]
	r.Token = &config.Token{File: filepath.Join(h.dir, "token"), Owner: "deploy"}
	r.Allow.Users = []string{"nobody-here", "clean", "ours"}
	r.CredentialsFile = &config.CredentialsFile{Path: filepath.Join(h.dir, "ours", ".aws", "credentials"), Profile: "default"}
	c.Roles["role"] = r
	for user, text := range map[string]string{
		"deploy": "[default]\naws_access_key_id = AKIAHIDES\naws_secret_access_key = value-two\n",
		"ours":   "[default]\naws_access_key_id = ASIAOURS\n",
		"clean":  "[other]\naws_access_key_id = AKIAOTHER\n",
	} {
		if err := os.MkdirAll(filepath.Join(h.dir, user, ".aws"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(h.dir, user, ".aws", "credentials"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	e := &walk{world: h.agent(c).current(), home: func(user string) string { return filepath.Join(h.dir, user) }}
	found := e.homes(t.Context())
	if len(found) != 1 || found[0].Verdict != doctor.Warn || found[0].Subject != "user deploy" || strings.Contains(found[0].String(), "AKIA") {
		t.Errorf("findings %q, want one warning, of deploy, without keys", found)
	}
}

func TestPoliciesNameTheHostsCertificate(t *testing.T) {
	h := newHouse(t)
	c := h.config(time.Hour, h.app("one", "a"), h.app("two", "b"))
	c.Watch.Queue, c.Watch.Role = "https://sqs.us-east-1.amazonaws.com/111122223333/q", "role"
	c.Watch.Place = config.QueuePlace{Region: "us-east-1", Account: "111122223333"}
	all, err := h.agent(c).Policies(t.Context(), []string{"one"})
	if err != nil {
		t.Fatal(err)
	}
	d := all["role"]
	if got := d.Trust.Statement[0].Condition["StringEquals"]["aws:PrincipalTag/x509Subject/CN"]; !slices.Equal(got, []string{"outrider-lab-host"}) {
		t.Errorf("the trust policy is for CN %q, want the certificate's", got)
	}
	if got, want := d.IAM.Statement[0].Resource, []string{"arn:aws:secretsmanager:us-east-1:111122223333:secret:a-??????"}; !slices.Equal(got, want) {
		t.Errorf("app one may read %q, want %q", got, want)
	}
	if got, want := d.QueuePolicy.Statement[0].Resource, []string{"arn:aws:sqs:us-east-1:111122223333:q"}; !slices.Equal(got, want) {
		t.Errorf("the queue is %q, want %q", got, want)
	}
	if text := fmt.Sprint(d.EventRule); !strings.Contains(text, "{a false} {b false}") {
		t.Errorf("the rule %s is not for the secrets of all apps", text)
	}
	if _, err := h.agent(c).Policies(t.Context(), []string{"nosuch"}); err == nil {
		t.Error("policies of an app that is not there")
	}
}

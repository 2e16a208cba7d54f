package policy

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"outrider/secret"
)

var update = flag.Bool("update", false, "write the golden files anew")

// current is a secret under its current label.
func current(id string) secret.Ref { return secret.Ref{ID: id, Stage: secret.Current} }

func parameter(id string) secret.Ref { return secret.Ref{Kind: secret.Parameter, ID: id} }

func below(path string) secret.Ref {
	return secret.Ref{Kind: secret.Parameters, ID: path, Recursive: true}
}

// billing is a role in Paris of account 111122223333.
func billing(refs ...secret.Ref) Role {
	return Role{
		ARN: "arn:aws:iam::111122223333:role/billing", Region: "eu-west-3",
		TrustAnchors: []string{"arn:aws:rolesanywhere:eu-west-3:111122223333:trust-anchor/a"},
		Subject:      Subject{"x509Subject/CN", "web-01"},
		Refs:         refs, Events: refs,
	}
}

// everyKind is a role that uses all there is.
func everyKind() Role {
	r := billing(
		current("prod/billing/db"),
		current("arn:aws:secretsmanager:eu-west-3:111122223333:secret:prod/billing/tls-a1b2c3"),
		current("arn:aws:secretsmanager:eu-west-3:444455556666:secret:shared/ca-d4e5f6"),
		secret.Ref{ID: "prod/billing/next", Stage: "AWSPENDING"},
		secret.Ref{ID: "prod/billing/db", Stage: "blue"},
		parameter("/prod/billing/smtp"), parameter("/prod/billing/smtp:3"), parameter("motd:live"),
		parameter("arn:aws:ssm:eu-west-3:444455556666:parameter/shared/motd"),
		below("/prod/billing/flags/"),
	)
	r.Fallback = []string{"eu-central-1"}
	r.TrustAnchors = append(r.TrustAnchors, "arn:aws:rolesanywhere:eu-central-1:111122223333:trust-anchor/b")
	r.Queue = "arn:aws:sqs:eu-west-3:111122223333:outrider-web-01"
	return r
}

func TestDocuments(t *testing.T) {
	chained := billing(current("prod/db"), parameter("/aws/reference/secretsmanager/prod/smtp"))
	chained.Assume = []string{"arn:aws:iam::444455556666:role/hub", "arn:aws:iam::777788889999:role/reader"}
	china := billing(current("prod/db"), current("prod/smtp"))
	china.ARN, china.Region = "arn:aws-cn:iam::111122223333:role/billing", "cn-north-1"
	china.TrustAnchors = []string{"arn:aws-cn:rolesanywhere:cn-north-1:111122223333:trust-anchor/a"}
	china.Subject = Subject{}
	for name, r := range map[string]Role{
		"one secret":   billing(current("prod/billing/db")),
		"every kind":   everyKind(),
		"role chain":   chained,
		"china":        china,
		"no reference": billing(),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := json.MarshalIndent(For(r), "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", strings.ReplaceAll(name, " ", "_")+".json")
			if *update {
				if err := os.WriteFile(golden, append(got, '\n'), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)+"\n"); diff != "" {
				t.Errorf("%s (-want +got); -update writes it anew:\n%s", golden, diff)
			}
			for _, fault := range faults(For(r)) {
				t.Error(fault)
			}
		})
	}
}

// faults checks documents by the grammar of IAM policies, and that nothing is
// allowed on everything but what can only be allowed so.
func faults(d Documents) []string {
	var all []string
	policies := map[string]*Policy{"iam_policy": d.IAM, "trust_policy": d.Trust, "queue_policy": d.QueuePolicy}
	for _, a := range d.Assumed {
		policies[a.Role+" iam_policy"], policies[a.Role+" trust_policy"] = a.IAM, a.Trust
	}
	for name, p := range policies {
		if p == nil {
			continue
		}
		if len(p.Statement) == 0 {
			all = append(all, name+": no statement")
		}
		sids := map[string]bool{}
		if p.Version != "2012-10-17" {
			all = append(all, name+": version "+p.Version)
		}
		for _, s := range p.Statement {
			for _, fault := range s.faults(strings.HasSuffix(name, "iam_policy"), strings.HasSuffix(name, "trust_policy")) {
				all = append(all, fmt.Sprintf("%s, statement %s: %s", name, s.Sid, fault))
			}
			if sids[s.Sid] {
				all = append(all, name+": two statements "+s.Sid)
			}
			sids[s.Sid] = true
		}
	}
	return all
}

func (s Statement) faults(identity, trust bool) []string {
	var all []string
	fault := func(bad bool, format string, args ...any) {
		if bad {
			all = append(all, fmt.Sprintf(format, args...))
		}
	}
	action := regexp.MustCompile(`^(secretsmanager|ssm|sqs|kms|sts):[A-Z][A-Za-z]+$`)
	fault(!regexp.MustCompile(`^[A-Za-z0-9]+$`).MatchString(s.Sid), "the Sid has other characters than letters and digits")
	fault(s.Effect != "Allow", "effect %s", s.Effect)
	fault(identity == (len(s.Principal) > 0), "principal %v", s.Principal)
	fault(trust == (len(s.Resource) > 0), "resources %v", s.Resource)
	fault(len(s.Action) == 0, "no action")
	for _, a := range s.Action {
		fault(!action.MatchString(a), "action %s", a)
	}
	for _, resource := range s.Resource {
		a := split(resource)
		star := resource == "*" && slices.Equal(s.Action, []string{"secretsmanager:BatchGetSecretValue"})
		fault(!star && (a.partition == "" || a.service == "" || a.account == ""), "resource %s", resource)
		fault(strings.Contains(resource, "key/*") && len(s.Condition) == 0, "%s without a condition", resource)
	}
	for operator, keys := range s.Condition {
		fault(!slices.Contains([]string{"StringEquals", "ArnEquals"}, operator), "operator %s", operator)
		for key, values := range keys {
			fault(len(values) == 0, "condition %s without values", key)
			fault(strings.ContainsAny(strings.Join(values, ""), "*?"), "condition %s has a pattern, and %s takes none", key, operator)
		}
	}
	return all
}

func TestEveryReferenceIsAllowedAndNothingElse(t *testing.T) {
	r := everyKind()
	allowed := func(action, resource string) bool {
		return slices.ContainsFunc(For(r).IAM.Statement, func(s Statement) bool {
			return slices.Contains(s.Action, action) && slices.ContainsFunc(s.Resource, func(p string) bool { return like(p, resource) })
		})
	}
	sm, ssm := "arn:aws:secretsmanager:eu-west-3:111122223333:secret:", "arn:aws:ssm:eu-west-3:111122223333:parameter"
	for _, test := range []struct {
		action, resource string
		want             bool
	}{
		{"secretsmanager:GetSecretValue", sm + "prod/billing/db-Ab12Cd", true},
		{"secretsmanager:DescribeSecret", sm + "prod/billing/db-Ab12Cd", true},
		{"secretsmanager:GetSecretValue", strings.Replace(sm, "eu-west-3", "eu-central-1", 1) + "prod/billing/db-Ab12Cd", true},
		{"secretsmanager:GetSecretValue", sm + "prod/billing/tls-a1b2c3", true},
		{"secretsmanager:GetSecretValue", sm + "prod/billing/tls-XXXXXX", false},
		{"secretsmanager:GetSecretValue", sm + "prod/billing/db", false},
		{"secretsmanager:GetSecretValue", sm + "prod/billing/db-admin-Ab12Cd", false},
		{"secretsmanager:PutSecretValue", sm + "prod/billing/db-Ab12Cd", false},
		{"ssm:GetParameters", ssm + "/prod/billing/smtp", true},
		{"ssm:GetParameters", ssm + "/motd", true},
		{"ssm:GetParameters", "arn:aws:ssm:eu-west-3:444455556666:parameter/shared/motd", true},
		{"ssm:GetParameters", ssm + "/prod/billing/smtp2", false},
		{"ssm:GetParametersByPath", ssm + "/prod/billing/flags", true},
		{"ssm:GetParametersByPath", ssm + "/prod/billing/flags/a/b", true},
		{"ssm:GetParametersByPath", ssm + "/prod/billing/flagship", false},
		{"sqs:ReceiveMessage", "arn:aws:sqs:eu-west-3:111122223333:outrider-web-01", true},
		{"sqs:SendMessage", "arn:aws:sqs:eu-west-3:111122223333:outrider-web-01", false},
	} {
		if got := allowed(test.action, test.resource); got != test.want {
			t.Errorf("%s on %s is allowed: %t, want %t", test.action, test.resource, got, test.want)
		}
	}
}

// like matches as IAM does: * is any text, ? any character.
func like(pattern, text string) bool {
	quoted := regexp.QuoteMeta(pattern)
	quoted = strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(quoted)
	return regexp.MustCompile("^" + quoted + "$").MatchString(text)
}

func TestBatchesAreAllowedOnlyToWhoMakesThem(t *testing.T) {
	for name, test := range map[string]struct {
		refs []secret.Ref
		want bool
	}{
		"two secrets":                    {[]secret.Ref{current("a"), current("b")}, true},
		"one secret":                     {[]secret.Ref{current("a")}, false},
		"one that a batch can read":      {[]secret.Ref{current("a"), {ID: "b", Stage: "AWSPENDING"}, {ID: "c", VersionID: "v"}}, false},
		"parameters, which have no such": {[]secret.Ref{parameter("a"), parameter("b")}, false},
	} {
		t.Run(name, func(t *testing.T) {
			got := slices.ContainsFunc(For(billing(test.refs...)).IAM.Statement, func(s Statement) bool {
				return slices.Contains(s.Resource, "*")
			})
			if got != test.want {
				t.Errorf("BatchGetSecretValue is allowed: %t, want %t", got, test.want)
			}
		})
	}
}

func TestMissingIsTheOneActionForTheOneReference(t *testing.T) {
	r := everyKind()
	got := r.Missing("secretsmanager:DescribeSecret", current("prod/billing/db")).String()
	want := `{"Effect":"Allow","Action":["secretsmanager:DescribeSecret"],"Resource":` +
		`["arn:aws:secretsmanager:eu-central-1:111122223333:secret:prod/billing/db-??????","arn:aws:secretsmanager:eu-west-3:111122223333:secret:prod/billing/db-??????"]}`
	if got != want {
		t.Errorf("Missing = %s, want %s", got, want)
	}
	if got := r.Missing("secretsmanager:BatchGetSecretValue", r.Refs...).Resource; !slices.Equal(got, []string{"*"}) {
		t.Errorf("BatchGetSecretValue is allowed on %v, want *", got)
	}
	if got := r.Missing("secretsmanager:BatchGetSecretValue", current("prod/billing/db")); got.Action != nil {
		t.Errorf("Missing = %s for a secret that is never read in a batch, want nothing", got)
	}
	if got := r.Missing("kms:Decrypt", parameter("/prod/billing/smtp")).Condition["StringEquals"]["kms:ViaService"]; !slices.Equal(got, []string{"ssm.eu-west-3.amazonaws.com"}) {
		t.Errorf("kms:Decrypt for a parameter is allowed through %v, want Parameter Store", got)
	}
}

// event is one event, as far as patterns look at it.
type event struct{ source, kind, label, name string }

// matches is what EventBridge does with the patterns that we write.
func (p Pattern) matches(t *testing.T, e event) bool {
	t.Helper()
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	type one struct {
		Source     []string `json:"source"`
		DetailType []string `json:"detail-type"`
		Detail     struct {
			Label []string `json:"labelUpdated"`
			Name  []any    `json:"name"`
		} `json:"detail"`
	}
	var all struct {
		Or []one `json:"$or"`
		one
	}
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(append(all.Or, all.one), func(o one) bool {
		return slices.Contains(o.Source, e.source) && slices.Contains(o.DetailType, e.kind) &&
			(o.Detail.Label == nil || slices.Contains(o.Detail.Label, e.label)) &&
			slices.ContainsFunc(o.Detail.Name, func(n any) bool {
				if m, ok := n.(map[string]any); ok {
					return strings.HasPrefix(e.name, m["prefix"].(string))
				}
				return n == e.name
			})
	})
}

func TestTheRuleMatchesTheEventsOfTheReferencesAlone(t *testing.T) {
	p := For(everyKind()).EventRule
	label := func(name, label string) event {
		return event{"aws.secretsmanager", "Secret Label Updated", label, name}
	}
	change := func(name string) event { return event{"aws.ssm", "Parameter Store Change", "", name} }
	for _, test := range []struct {
		event
		want bool
	}{
		{label("prod/billing/db", "AWSCURRENT"), true},
		{label("prod/billing/db", "blue"), true},
		{label("prod/billing/tls", "AWSCURRENT"), true},
		{label("prod/billing/tls", "blue"), false},
		{label("prod/billing/next", "AWSCURRENT"), false},
		{label("prod/billing/dbx", "AWSCURRENT"), false},
		{change("/prod/billing/smtp"), true},
		{change("motd"), true},
		{change("/prod/billing/flags/a/b"), true},
		{change("/prod/billing/flagship"), false},
		{event{"aws.ssm", "Parameter Store Policy Action", "", "motd"}, false},
	} {
		if got := p.matches(t, test.event); got != test.want {
			t.Errorf("%v is matched: %t, want %t", test.event, got, test.want)
		}
	}
}

func TestARuleForManyReferencesFitsByPrefix(t *testing.T) {
	var refs []secret.Ref
	for i := range 300 {
		refs = append(refs, current(fmt.Sprintf("prod/app%d/secret-of-some-length-%d", i%3, i)), parameter(fmt.Sprintf("/flat-%d", i)))
	}
	r := billing(refs...)
	r.Queue = "arn:aws:sqs:eu-west-3:111122223333:q"
	d := For(r)
	text, err := json.Marshal(d.EventRule)
	if err != nil || len(text) > patternLimit {
		t.Errorf("the pattern has %d characters (%v), over the limit", len(text), err)
	}
	for _, ref := range refs {
		e := event{"aws.secretsmanager", "Secret Label Updated", "AWSCURRENT", ref.ID}
		if ref.Kind == secret.Parameter {
			e = event{"aws.ssm", "Parameter Store Change", "", ref.ID}
		}
		if !d.EventRule.matches(t, e) {
			t.Errorf("the rule does not match %v", ref)
		}
	}
	if d.EventRule.matches(t, event{"aws.secretsmanager", "Secret Label Updated", "AWSCURRENT", "other/app/secret"}) {
		t.Error("the rule matches what has no prefix in common with any reference")
	}
	for _, want := range []string{"event_rule is by prefix", "IAM takes 10240 inline"} {
		if !slices.ContainsFunc(d.Notes, func(n string) bool { return strings.Contains(n, want) }) {
			t.Errorf("notes %q, want one with %q", d.Notes, want)
		}
	}
}

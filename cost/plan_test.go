package cost

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// counts are calls a day, rounded, by operation.
func counts(p Plan) map[string]int {
	all := map[string]int{}
	for _, c := range p.Foretell() {
		all[c.String()] = int(math.Round(c.PerDay))
	}
	return all
}

// one is a role whose one app reads all of it.
func one(r Refs) Role { return Role{All: r, Apps: []Refs{r}} }

func TestForetell(t *testing.T) {
	const sessions = 51 // an hour's, each renewed at 0.475 of it
	hundred := Refs{Secrets: 100}
	for name, test := range map[string]struct {
		plan Plan
		want map[string]int
	}{
		"nothing is read": {
			Plan{Interval: 5 * time.Minute, Roles: []Role{{}}},
			map[string]int{"rolesanywhere.CreateSession": sessions},
		},
		"a secret is looked at once an interval": {
			Plan{Interval: 5 * time.Minute, Roles: []Role{one(Refs{Secrets: 1})}},
			map[string]int{"rolesanywhere.CreateSession": sessions, "secretsmanager.DescribeSecret": 288},
		},
		"longer sessions and a chain": {
			Plan{Interval: time.Hour, Roles: []Role{{Session: 12 * time.Hour}, {Chain: 2}}},
			map[string]int{"rolesanywhere.CreateSession": 51 + 4, "sts.AssumeRole": 101},
		},
		"parameters go in tens, paths by page": {
			Plan{Interval: time.Hour, Roles: []Role{one(Refs{Parameters: 21, Pages: 2})}},
			map[string]int{"rolesanywhere.CreateSession": sessions, "ssm.GetParameters": 72, "ssm.GetParametersByPath": 48},
		},
		"each change is read, and the app looked at once more": {
			Plan{Interval: time.Hour, Changes: 1, Roles: []Role{{All: hundred, Apps: []Refs{{Secrets: 100}}}}},
			map[string]int{
				"rolesanywhere.CreateSession": sessions, "secretsmanager.DescribeSecret": 2400,
				"secretsmanager.GetSecretValue": 100, "secretsmanager.BatchGetSecretValue": 500,
			},
		},
		"a change of an app's only secret is read once": {
			Plan{Interval: time.Hour, Changes: 1, Roles: []Role{one(Refs{Secrets: 1})}},
			map[string]int{"rolesanywhere.CreateSession": sessions, "secretsmanager.DescribeSecret": 24, "secretsmanager.GetSecretValue": 1},
		},
		"with a queue, secrets are read over in twenties": {
			Plan{Interval: 5 * time.Minute, Queue: true, Roles: []Role{one(hundred)}},
			map[string]int{"rolesanywhere.CreateSession": sessions, "sqs.ReceiveMessage": 4320, "secretsmanager.BatchGetSecretValue": 288},
		},
		"with a queue, what no event tells of is looked at as without": {
			Plan{Interval: 5 * time.Minute, Queue: true, Roles: []Role{one(Refs{UnheraldedSecrets: 2, UnheraldedParameters: 3})}},
			map[string]int{
				"rolesanywhere.CreateSession": sessions, "sqs.ReceiveMessage": 4320,
				"secretsmanager.DescribeSecret": 576, "ssm.GetParameters": 288,
			},
		},
		"files that must not be stale are looked after sooner": {
			Plan{Interval: 5 * time.Minute, Queue: true, Stale: 10 * time.Minute, Roles: []Role{one(hundred)}},
			map[string]int{"rolesanywhere.CreateSession": sessions, "sqs.ReceiveMessage": 4320, "secretsmanager.BatchGetSecretValue": 1440},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, counts(test.plan)); diff != "" {
				t.Errorf("calls a day (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBill(t *testing.T) {
	p := Plan{Interval: time.Minute, Roles: []Role{one(Refs{Secrets: 100, Parameters: 10})}}
	b := p.Bill(1)
	// 100 a minute at $0.05 for 10,000, in 730 hours.
	if want := 100 * 60 * 730 * 0.05 / 10_000; math.Abs(b.Dollars-want) > 0.01 {
		t.Errorf("$%.2f a month, want $%.2f", b.Dollars, want)
	}
	if want := 60 * 730 * 0.05 / 10_000; math.Abs(b.SSM-want) > 0.01 {
		t.Errorf("Parameter Store at higher throughput is $%.2f, want $%.2f", b.SSM, want)
	}
	if want := 10 * 60 * 730 * 0.03 / 10_000; math.Abs(b.KMS-want) > 0.01 {
		t.Errorf("KMS is $%.2f at most, want $%.2f: no value of a secret is read", b.KMS, want)
	}
	if ten := p.Bill(10); math.Abs(ten.Dollars-10*b.Dollars) > 1e-9 || math.Abs(ten.PerDay-10*b.PerDay) > 1e-6 {
		t.Errorf("ten hosts are $%.2f and %.0f calls, want ten times $%.2f and %.0f", ten.Dollars, ten.PerDay, b.Dollars, b.PerDay)
	}
	p.Roles[0].Stored = 100
	if got := p.Stored(); got != 40 {
		t.Errorf("100 secrets cost $%.2f, want $40", got)
	}
	batches := Plan{Interval: 5 * time.Minute, Queue: true, Roles: []Role{one(Refs{Secrets: 100})}}
	for _, c := range batches.Foretell() {
		if c.Operation == "BatchGetSecretValue" && math.Abs(c.Billed-20*c.PerDay) > 1e-6 {
			t.Errorf("%.0f calls are billed for %.0f batches of twenty, want as many as secrets", c.Billed, c.PerDay)
		}
	}
}

func TestEveryCallIsPricedOrFree(t *testing.T) {
	everything := one(Refs{Secrets: 21, Labelled: 1, Parameters: 1, Pages: 1, UnheraldedSecrets: 1, UnheraldedParameters: 1})
	everything.Chain = 1
	for _, queue := range []bool{false, true} {
		for _, c := range (Plan{Interval: time.Hour, Queue: queue, Changes: 1, Roles: []Role{everything}}).Foretell() {
			free := c.Service == "rolesanywhere" || c.Service == "sts" || c.Service == "ssm"
			if got := c.Dollars(); free != (got == 0) {
				t.Errorf("%s costs $%.4f a month; is it free: %t", c, got, free)
			}
		}
	}
}

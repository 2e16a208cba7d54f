package agent

import (
	"fmt"
	"maps"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"outrider/awslab"
	"outrider/cost"
	"outrider/internal/config"
	"outrider/secret"
)

// TestQuietDayCostsWhatIsForetold counts the calls of a day in which nothing
// changes, by operation.
func TestQuietDayCostsWhatIsForetold(t *testing.T) {
	current := func(n int) []secret.Ref {
		var refs []secret.Ref
		for i := range n {
			refs = append(refs, secret.Ref{ID: fmt.Sprintf("s/%d", i), Stage: secret.Current})
		}
		return refs
	}
	parameters := func(n int) []secret.Ref {
		var refs []secret.Ref
		for i := range n {
			refs = append(refs, secret.Ref{Kind: secret.Parameter, ID: fmt.Sprintf("/p/%d", i)})
		}
		return refs
	}
	mixed := append(current(3), secret.Ref{ID: "s/0", Stage: "AWSPREVIOUS"}, secret.Ref{ID: "s/1", Stage: "blue"},
		secret.Ref{Kind: secret.Parameters, ID: "/q", Recursive: true}, secret.Ref{Kind: secret.Parameter, ID: "/p/0"})
	for name, test := range map[string]struct {
		refs  []secret.Ref
		queue bool
		apps  int
	}{
		"one secret":                   {current(1), false, 1},
		"a secret of many apps":        {current(1), false, 5},
		"parameters":                   {parameters(10), false, 1},
		"parameters that fill no call": {parameters(27), false, 3},
		"a mixture":                    {mixed, false, 2},
		"one secret with a queue":      {current(1), true, 1},
		"many secrets with a queue":    {current(90), true, 1},
		"parameters with a queue":      {parameters(27), true, 1},
		"a mixture with a queue":       {mixed, true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(_ *testing.T, h *house) { h.quietDay(test.refs, test.apps, test.queue) })
		})
	}
}

// quietDay spreads references over apps, and compares by operation.
func (h *house) quietDay(refs []secret.Ref, n int, queue bool) {
	h.t.Helper()
	for i := range 90 {
		h.put(fmt.Sprintf("s/%d", i), "first")
		h.put(fmt.Sprintf("s/%d", i), "second")
	}
	if _, err := h.lab.PutSecret("s/1", "third", "blue"); err != nil {
		h.t.Fatal(err)
	}
	for i := range 27 {
		h.putParameter(fmt.Sprintf("/p/%d", i))
	}
	for i := range 8 {
		h.putParameter(fmt.Sprintf("/q/tree/%d", i))
	}
	var apps []config.App
	for i := range n {
		app := config.App{Name: fmt.Sprintf("app%d", i), Role: "role", Secrets: map[string]secret.Ref{}}
		for j, ref := range refs {
			if j%n == i || len(refs) < n {
				app.Secrets[fmt.Sprintf("s%d", j)] = ref
			}
		}
		app.Files = []config.File{{Source: app.Name, Text: "x", Destination: h.path(app.Name)}}
		apps = append(apps, app)
	}
	c := h.config(5*time.Minute, apps...)
	if queue {
		c = h.queued(awslab.EventForm{}, apps...)
		c.Watch.Interval = 5 * time.Minute
	}
	a := h.agent(c)
	stop := h.run(a)
	time.Sleep(10 * time.Minute)
	h.lab.ResetCalls()
	time.Sleep(24 * time.Hour)
	calls := h.lab.Calls()
	stop()
	foretold := map[string]float64{}
	for _, c := range a.Costs(0).Foretell() {
		foretold[c.String()] = c.PerDay
	}
	for operation, n := range calls {
		// Five in a hundred, and one for what began the day before.
		if want := foretold[operation]; math.Abs(float64(n)-want) > 0.05*want+1 {
			h.t.Errorf("%s: %d calls in a day, %.1f foretold", operation, n, want)
		}
		delete(foretold, operation)
	}
	if len(foretold) > 0 {
		h.t.Errorf("foretold, and not called: %v", foretold)
	}
}

func (h *house) putParameter(name string) {
	h.t.Helper()
	if _, err := h.lab.PutParameter(name, "v", "SecureString"); err != nil {
		h.t.Fatal(err)
	}
}

func TestReferencesAreCountedByHowTheyAreRead(t *testing.T) {
	h := newHouse(t)
	app := h.app("one", "a", "b")
	maps.Copy(app.Secrets, map[string]secret.Ref{
		"pending": {ID: "a", Stage: "AWSPENDING"}, "labelled": {ID: "a", Stage: "blue"}, "pinned": {ID: "a", VersionID: "v"},
		"foreign":   {ID: "arn:aws:secretsmanager:us-east-1:444455556666:secret:x-a1b2c3", Stage: secret.Current},
		"own":       {ID: "arn:aws:secretsmanager:us-east-1:" + h.setup.Account + ":secret:x-a1b2c3", Stage: secret.Current},
		"parameter": {Kind: secret.Parameter, ID: "/p"}, "tree": {Kind: secret.Parameters, ID: "/q"},
		"shared": {Kind: secret.Parameter, ID: "arn:aws:ssm:us-east-1:444455556666:parameter/p"},
	})
	c := h.config(time.Hour, app)
	want := cost.Refs{Secrets: 3, Labelled: 2, UnheraldedSecrets: 2, Parameters: 1, UnheraldedParameters: 1, Pages: 1}
	if diff := cmp.Diff(want, h.agent(c).Costs(0).Roles[0].All); diff != "" {
		t.Errorf("references (-want +got):\n%s", diff)
	}
	c.Watch.Queue, c.Watch.Role = "https://sqs.eu-west-3.amazonaws.com/111122223333/q", "role"
	c.Watch.Place = config.QueuePlace{Region: "eu-west-3", Account: "111122223333"}
	want = cost.Refs{UnheraldedSecrets: 7, UnheraldedParameters: 2, UnheraldedPages: 1}
	if diff := cmp.Diff(want, h.agent(c).Costs(0).Roles[0].All); diff != "" {
		t.Errorf("references with a queue of another region (-want +got):\n%s", diff)
	}
}

func TestSecretIsPaidForOnceUnderAllItsLabelsAndSpellings(t *testing.T) {
	const arn = "arn:aws:secretsmanager:eu-west-3:111122223333:secret:prod/db"
	got := stored([]secret.Ref{
		{ID: "prod/db", Stage: secret.Current}, {ID: "prod/db", Stage: "AWSPREVIOUS"}, {ID: arn, Stage: secret.Current},
		{ID: arn + "-AbCdEf", Stage: secret.Current}, {ID: "prod/db-backup"}, {Kind: secret.Parameter, ID: "/prod/db"},
	})
	if want := 2; got != want {
		t.Errorf("%d secrets, want %d: prod/db and prod/db-backup", got, want)
	}
}

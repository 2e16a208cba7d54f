package soaktest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"outrider/agent"
	"outrider/awslab"
	"outrider/internal/config"
	"outrider/serve"
)

// An agent that has answered tens of thousands of refreshes, one in ten of which
// found something new, holds no more memory than at first. Its clock is virtual:
// nobody may ask more often than once in ten seconds for long.
func TestMemoryIsFlatOverRefreshes(t *testing.T) {
	const readings = 20
	var live []int // KiB
	synctest.Test(t, func(t *testing.T) {
		lab, err := awslab.New(awslab.Options{SessionDuration: 12 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		rotate := labels(t, lab)
		a := newAgent(t, lab)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- a.Run(ctx) }()
		for n := range *refreshes {
			if n%10 == 0 {
				rotate(n / 10)
			}
			outcomes, err := a.Refresh(ctx, serve.Self(), nil)
			if err != nil || outcomes[0].Error != "" {
				t.Fatalf("refresh %d: %+v, %v", n, outcomes, err)
			}
			a.Status(serve.Self())
			if (n+1)%(*refreshes/readings) == 0 {
				live = append(live, inUse())
			}
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Logf("%d refreshes; KiB in use after each twentieth of them: %v", *refreshes, live)
	// The first fifth is left out, while what is remembered fills up.
	middle, end := live[readings/5:readings*3/5], live[readings*3/5:]
	if grown := slices.Min(end) - slices.Min(middle); grown > 256 {
		t.Errorf("it holds %d KiB more at the end than in the middle", grown)
	}
}

// inUse returns how many KiB are reachable.
func inUse() int {
	runtime.GC()
	runtime.GC() // what pools give back at the first goes with the second
	var now runtime.MemStats
	runtime.ReadMemStats(&now)
	return int(now.HeapAlloc >> 10)
}

// labels makes a secret, and returns what makes another of its versions the
// current one.
func labels(t *testing.T, lab *awslab.Lab) (rotate func(n int)) {
	t.Helper()
	var ids []string
	for n := range versions {
		id, err := lab.PutSecret("soak", fmt.Sprint(n))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	return func(n int) {
		if err := lab.MoveLabel("soak", "AWSCURRENT", ids[n%versions]); err != nil {
			t.Fatal(err)
		}
	}
}

// newAgent returns an agent that may live in a bubble: it has neither sockets
// nor inotify.
func newAgent(t *testing.T, lab *awslab.Lab) *agent.Agent {
	t.Helper()
	dir := t.TempDir()
	setup, err := lab.Write(dir)
	if err != nil {
		t.Fatal(err)
	}
	document := filepath.Join(dir, "outrider.yaml")
	err = os.WriteFile(document, fmt.Appendf(nil, `version: 1
identities: {host: {certificate: %s, private_key: %s}}
roles: {lab: {region: %s, trust_anchor: %s, profile: %s, role: %s}}
apps: {app: {secrets: {s: {secret: soak}}, files: [{content: "{{ .s }}", destination: conf}]}}
state: state
`, setup.Certificate, setup.PrivateKey, setup.Region, setup.TrustAnchor, setup.Profile, setup.Role), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(document, func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	c.Listen = config.Listen{} // a socket would stop the bubble's clock
	a, err := agent.New(c, agent.Options{
		Transport: lab.RoundTripper(),
		Watch: func(ctx context.Context, _ []string, _ func()) error {
			<-ctx.Done()
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

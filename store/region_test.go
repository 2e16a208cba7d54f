package store

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"outrider/awslab"
	"outrider/secret"
)

// regions sends each request to the lab of the region in its host name.
type regions map[string]*awslab.Lab

func (r regions) RoundTrip(q *http.Request) (*http.Response, error) {
	for name, lab := range r {
		if strings.Contains(q.URL.Host, "."+name+".") {
			return lab.RoundTripper().RoundTrip(q)
		}
	}
	return nil, http.ErrNotSupported
}

// twoRegions runs f in a bubble with a store over a region and its fallback.
func twoRegions(t *testing.T, f func(t *testing.T, own, other *awslab.Lab, s *Store)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		own, err := awslab.New(awslab.Options{Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		other, err := own.Neighbor("eu-central-1")
		if err != nil {
			t.Fatal(err)
		}
		s := New(Options{
			Region: "us-east-1", Fallback: []string{"eu-central-1"}, Sessions: &keys{setup: own.Setup()},
			Transport: regions{"us-east-1": own, "eu-central-1": other},
		})
		f(t, own, other, s)
	})
}

func down(t *testing.T, lab *awslab.Lab) {
	t.Helper()
	if err := lab.AddFault(awslab.Fault{Kind: awslab.Drop, Service: "secretsmanager"}); err != nil {
		t.Fatal(err)
	}
}

// version reads one secret now.
func version(t *testing.T, s *Store, id string) (secret.Version, error) {
	t.Helper()
	<-time.After(time.Second)
	shot, err := s.Get(t.Context(), map[string]secret.Ref{"it": ref(id)}, time.Now(), secret.Snapshot{})
	v, _ := shot.Get("it")
	return v, err
}

func TestReplicaServesWhileTheOwnRegionIsAway(t *testing.T) {
	twoRegions(t, func(t *testing.T, own, other *awslab.Lab, s *Store) {
		put(t, own, "db", "1")
		put(t, own, "alone", "1")
		if err := own.Replicate("db", other); err != nil {
			t.Fatal(err)
		}
		before, err := version(t, s, "db")
		if err != nil || before.Region != "us-east-1" {
			t.Fatalf("read in %q, %v; want the own region", before.Region, err)
		}
		down(t, own)
		for _, id := range []string{"db", before.ARN} {
			v, err := version(t, s, id)
			if err != nil || v.Region != "eu-central-1" || v.ARN != before.ARN || v.ID != before.ID {
				t.Errorf("%s: %v, read in %q as %s; want the copy under the secret's own ARN", id, err, v.Region, v.ARN)
			}
		}
		if _, err := version(t, s, "alone"); err == nil || strings.Contains(err.Error(), "ResourceNotFound") {
			t.Errorf("a secret without a copy: %v, want why the own region does not answer", err)
		}
		// The region that is away is left alone, but not for ever.
		own.ResetCalls()
		for range 600 {
			if _, err := version(t, s, "db"); err != nil {
				t.Fatal(err)
			}
		}
		if calls := own.Calls()["secretsmanager.GetSecretValue"]; calls < 1 || calls > 60 {
			t.Errorf("%d calls in ten minutes to the region that is away, want few", calls)
		}
		own.ClearFaults()
		time.Sleep(10 * time.Minute)
		if v, err := version(t, s, "db"); err != nil || v.Region != "us-east-1" {
			t.Errorf("ten minutes after it is back: read in %q, %v; want the own region", v.Region, err)
		}
	})
}

func TestReplicaThatLagsTakesNothingBack(t *testing.T) {
	twoRegions(t, func(t *testing.T, own, other *awslab.Lab, s *Store) {
		put(t, own, "db", "1")
		if err := own.Replicate("db", other); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		other.SetReplicationLag(time.Hour)
		newer := put(t, own, "db", "2")
		if v, err := version(t, s, "db"); err != nil || v.ID != newer {
			t.Fatal("the new version is not read", err)
		}
		down(t, own)
		for range 10 {
			if v, err := version(t, s, "db"); err != nil || v.ID != newer {
				t.Fatalf("the copy took it back to version %s, %v", v.ID, err)
			}
		}
	})
}

func TestRefusalIsNoReasonToAskAnotherRegion(t *testing.T) {
	twoRegions(t, func(t *testing.T, _, other *awslab.Lab, s *Store) {
		if _, err := version(t, s, "nosuch"); err == nil || !strings.Contains(err.Error(), "ResourceNotFound") {
			t.Errorf("got %v", err)
		}
		if calls := other.Calls(); len(calls) != 0 {
			t.Errorf("the fallback was asked: %v", calls)
		}
	})
}

func TestPlannedLooksGoToTheReplicaToo(t *testing.T) {
	twoRegions(t, func(t *testing.T, own, other *awslab.Lab, s *Store) {
		put(t, own, "db", "1")
		if err := own.Replicate("db", other); err != nil {
			t.Fatal(err)
		}
		refs := []secret.Ref{ref("db")}
		s.Plan(refs, time.Minute)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s.Begin(refs)(ctx)
		down(t, own)
		var all sync.WaitGroup
		for range 60 {
			time.Sleep(20 * time.Second)
			if carryOut := s.Look(time.Now(), 0); carryOut != nil {
				all.Go(func() { carryOut(ctx) })
			}
		}
		all.Wait()
		if got := s.Standing(refs[0]); got.Region != "eu-central-1" || got.Rung != Describe {
			t.Errorf("standing %+v, want it looked at in the fallback region", got)
		}
		if seen := time.Since(s.Seen(map[string]secret.Ref{"it": refs[0]}, snapshotOf(t, s, refs[0]))); seen > 3*time.Minute {
			t.Errorf("last seen %v ago", seen)
		}
	})
}

func snapshotOf(t *testing.T, s *Store, r secret.Ref) secret.Snapshot {
	t.Helper()
	shot, err := s.Get(t.Context(), map[string]secret.Ref{"it": r}, time.Time{}, secret.Snapshot{})
	if err != nil {
		t.Fatal(err)
	}
	return shot
}

func TestOneBadMomentCountsOnce(t *testing.T) {
	twoRegions(t, func(t *testing.T, _, _ *awslab.Lab, s *Store) {
		own := s.regions[0]
		for range 200 { // calls that were under way together
			s.answered(own, false)
		}
		if left := time.Until(own.breaker.Until()); left > 30*time.Second {
			t.Errorf("the own region is not asked for %v, want half a minute at most", left)
		}
	})
}

func TestReplicaThatLagsDoesNotShowWhatIsHeldToBeCurrent(t *testing.T) {
	twoRegions(t, func(t *testing.T, own, other *awslab.Lab, s *Store) {
		put(t, own, "db", "1")
		put(t, own, "same", "1")
		for _, id := range []string{"db", "same"} {
			if err := own.Replicate(id, other); err != nil {
				t.Fatal(err)
			}
		}
		refs := []secret.Ref{ref("db"), ref("same")}
		s.Plan(refs, time.Minute)
		time.Sleep(time.Hour)
		other.SetReplicationLag(time.Hour)
		newer := put(t, own, "db", "2")
		if v, err := version(t, s, "db"); err != nil || v.ID != newer {
			t.Fatal("the new version is not read", err)
		}
		lastSeen := time.Now()
		down(t, own)
		time.Sleep(10 * time.Minute)
		both := map[string]secret.Ref{"db": refs[0], "same": refs[1]}
		began := time.Now()
		shot, err := s.Get(t.Context(), both, began, secret.Snapshot{})
		if v, _ := shot.Get("db"); err != nil || v.ID != newer {
			t.Fatalf("version %s, %v; want the newest that was ever seen", v.ID, err)
		}
		if shot.Taken().After(lastSeen) {
			t.Errorf("it counts as current %v after the newest was last seen", shot.Taken().Sub(lastSeen))
		}
		if calls := other.Calls()["secretsmanager.GetSecretValue"]; calls > 3 {
			t.Errorf("%d reads for one look, want one each", calls)
		}
		for range 40 {
			time.Sleep(20 * time.Second)
			if carryOut := s.Look(time.Now(), 0); carryOut != nil {
				carryOut(t.Context())
			}
		}
		if seen := s.Seen(map[string]secret.Ref{"db": refs[0]}, shot); seen.After(lastSeen) {
			t.Errorf("after polls it counts as current %v after the newest was last seen", seen.Sub(lastSeen))
		}
		if seen := s.Seen(map[string]secret.Ref{"same": refs[1]}, shot); time.Since(seen) > 2*time.Minute {
			t.Errorf("what the copy agrees on was last seen %v ago", time.Since(seen))
		}
	})
}

func TestPassGoesOnWhileOneReplicaLags(t *testing.T) {
	twoRegions(t, func(t *testing.T, own, other *awslab.Lab, s *Store) {
		var refs []secret.Ref
		for _, id := range []string{"a", "b", "c"} {
			refs = append(refs, secret.Ref{ID: id, Stage: "blue"}) // each by a call of its own
			put(t, own, id, "1", "blue")
			if err := own.Replicate(id, other); err != nil {
				t.Fatal(err)
			}
		}
		s.Plan(refs, time.Minute)
		time.Sleep(time.Hour)
		other.SetReplicationLag(time.Hour)
		put(t, own, "a", "2", "blue")
		s.Begin(refs)(t.Context())
		down(t, own)
		for range 110 {
			if carryOut := s.Look(time.Now(), 15*time.Minute); carryOut != nil {
				carryOut(t.Context())
			}
			time.Sleep(30 * time.Second)
		}
		for _, r := range refs[1:] {
			if seen := time.Since(s.Seen(map[string]secret.Ref{"it": r}, snapshotOf(t, s, r))); seen > 20*time.Minute {
				t.Errorf("%s was last seen %v ago, in a pass of a quarter of an hour", r.ID, seen)
			}
		}
	})
}

package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"outrider/awslab"
	"outrider/secret"
)

// TestTheBusierTheFewerCallsEachReadTakes has many apps take a second look at
// once, and many events come in.
func TestTheBusierTheFewerCallsEachReadTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const apps, each = 400, 5
		lab, _, s := newLab(t)
		lab.EnableQuotas()
		refs := make([]map[string]secret.Ref, apps)
		var all []secret.Ref
		for i := range refs {
			refs[i] = map[string]secret.Ref{}
			for j := range each {
				id := fmt.Sprintf("app%d/%d", i, j)
				put(t, lab, id, "1")
				refs[i][id] = ref(id)
				all = append(all, ref(id))
			}
		}
		s.Begin(all)(t.Context())
		time.Sleep(time.Minute)
		lab.ResetCalls()
		began := time.Now()
		var reads sync.WaitGroup
		for i := range refs {
			for id, r := range refs[i] {
				version := put(t, lab, id, "2")
				reads.Go(func() {
					s.Hinted([]secret.Ref{r}, Hint{ID: id, Version: version, Stage: secret.Current, At: began})(t.Context())
				})
			}
		}
		reads.Wait()
		for i := range refs {
			reads.Go(func() {
				got, err := get(t, s, refs[i])
				if err != nil {
					t.Errorf("app %d: %v", i, err)
				}
				for id := range refs[i] {
					if got[id] != "2" {
						t.Errorf("app %d has not what the event told of %s", i, id)
					}
				}
			})
		}
		reads.Wait()
		calls := lab.Calls()
		// A twentieth of two rounds of reads, and what went alone before it was busy.
		if n := calls["secretsmanager.BatchGetSecretValue"]; n > 2*apps*each/batchSize+apps/4 {
			t.Errorf("%d batches, want few more than %d", n, 2*apps*each/batchSize)
		}
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("took %v, want no wait for a turn for each app", took)
		}
		if n := lab.Throttled(); len(n) > 0 {
			t.Errorf("throttled: %v", n)
		}
	})
}

// TestWhoIsCalledOffTakesNobodyAlong calls off the reads of the app whose turn
// it is to read for others as well.
func TestWhoIsCalledOffTakesNobodyAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lab, _, s := newLab(t)
		var refs []secret.Ref
		for _, id := range []string{"a", "b", "c", "d"} {
			put(t, lab, id, "1")
			refs = append(refs, ref(id))
		}
		if err := lab.AddFault(awslab.Fault{Operation: "BatchGetSecretValue", Kind: awslab.Hang}); err != nil {
			t.Fatal(err)
		}
		s.mu.Lock()
		for range 200 { // so that they wait for their turn
			s.bucket("BatchGetSecretValue").Take(time.Now())
		}
		s.mu.Unlock()
		first, callOff := context.WithCancel(t.Context())
		var reads sync.WaitGroup
		reads.Go(func() { s.Begin(refs[:2])(first) })
		synctest.Wait()
		reads.Go(func() { s.Begin(refs[2:])(t.Context()) })
		time.Sleep(12 * time.Second) // the call is under way, for both
		if n := lab.Calls()["secretsmanager.BatchGetSecretValue"]; n != 1 {
			t.Errorf("%d batches, want one for both", n)
		}
		callOff()
		reads.Wait()
		for _, ref := range refs {
			s.mu.Lock()
			err := s.entry(ref).err
			s.mu.Unlock()
			if own := slices.Contains(refs[:2], ref); own != errors.Is(err, context.Canceled) || !own && err != nil {
				t.Errorf("%s: %v, want only the own reads called off", ref.ID, err)
			}
		}
	})
}

// TestEachCallOfABatchWaitsForATurn has the session refused at the first call,
// which a second one follows with another: a call like any other.
func TestEachCallOfABatchWaitsForATurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lab, _, s := newLab(t)
		refs := []secret.Ref{ref("a"), ref("b")}
		for _, r := range refs {
			put(t, lab, r.ID, "1")
		}
		fault := awslab.Fault{Operation: "BatchGetSecretValue", Kind: awslab.Fail, Status: 400, Code: "ExpiredTokenException", Count: 1}
		if err := lab.AddFault(fault); err != nil {
			t.Fatal(err)
		}
		s.mu.Lock()
		for range 100 { // as many as go at once
			s.bucket("BatchGetSecretValue").Take(time.Now())
		}
		s.mu.Unlock()
		var reads sync.WaitGroup
		reads.Go(func() { s.Begin(refs)(t.Context()) })
		for _, want := range []int{0, 1, 2} { // one in a tenth of a second
			time.Sleep(70 * time.Millisecond)
			synctest.Wait()
			if got := lab.Calls()["secretsmanager.BatchGetSecretValue"]; got != want {
				t.Errorf("%d calls, want %d", got, want)
			}
		}
		reads.Wait()
	})
}

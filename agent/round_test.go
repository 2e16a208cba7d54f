package agent

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"outrider/awslab"
	"outrider/serve"
)

// reads counts the calls that read secrets.
func (h *house) reads() int {
	calls := h.lab.Calls()
	return calls["secretsmanager.GetSecretValue"] + calls["secretsmanager.BatchGetSecretValue"] + calls["secretsmanager.DescribeSecret"]
}

func TestManyWhoAskForALookShareIt(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("a", "0")
		a := h.agent(h.config(24*time.Hour, h.app("one", "a")))
		stop := h.run(a)
		defer stop()
		time.Sleep(time.Minute)
		h.put("a", "1")
		h.lab.ResetCalls()
		var asking sync.WaitGroup
		for range 1000 {
			asking.Go(func() {
				outcomes, err := a.Refresh(t.Context(), serve.Self(), nil)
				if err != nil || len(outcomes) != 1 || outcomes[0].Error != "" || outcomes[0].Generation != 2 {
					t.Errorf("Refresh = %+v, %v", outcomes, err)
				}
			})
		}
		began := time.Now()
		asking.Wait()
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("it took %s", took)
		}
		if got := h.reads(); got > 2 {
			t.Errorf("%d reads for 1,000 who asked at once", got)
		}
	})
}

func TestWhoAsksOnAndOnIsSlowedDown(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("a", "0")
		h.put("b", "0")
		a := h.agent(h.config(24*time.Hour, h.app("one", "a"), h.app("two", "b")))
		stop := h.run(a)
		defer stop()
		time.Sleep(time.Minute)
		h.lab.ResetCalls()
		ask := func(app string) {
			if _, err := a.Refresh(t.Context(), serve.Self(), []string{app}); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		for range 5 {
			ask("one")
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("five looks took %s, want a second between them", took)
		}
		if got := h.reads(); got != 5 {
			t.Errorf("%d reads for five looks", got)
		}
		for time.Since(began) < 10*time.Minute {
			ask("one")
		}
		if got := h.reads(); got > 67 {
			t.Errorf("%d reads in ten minutes of asking, want one in ten seconds and a few at first", got)
		}
		value := h.put("b", "1")
		began = time.Now()
		ask("two")
		if h.read("two") != value+"\n" || time.Since(began) > 0 {
			t.Error("another app had to wait")
		}
	})
}

func TestARefreshAnswersWithWhatWasPutBeforeIt(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("a", "0")
		if err := h.lab.AddFault(awslab.Fault{Kind: awslab.Delay, Delay: 700 * time.Millisecond}); err != nil {
			t.Fatal(err)
		}
		a := h.agent(h.config(24*time.Hour, h.app("one", "a")))
		stop := h.run(a)
		defer stop()
		time.Sleep(time.Minute)
		var asking sync.WaitGroup
		for i := range 30 {
			h.put("a", fmt.Sprint(i+1))
			asking.Go(func() {
				_, err := a.Refresh(t.Context(), serve.Self(), nil)
				var got int
				if _, scan := fmt.Sscan(h.read("one"), &got); err != nil || scan != nil || got < i+1 {
					t.Errorf("after the refresh that was asked for at %d the file has %d: %v", i+1, got, err)
				}
			})
			time.Sleep(300 * time.Millisecond)
		}
		asking.Wait()
	})
}

func TestWhoGivesUpLeavesTheRoundToOthers(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("a", "0")
		a := h.agent(h.config(24*time.Hour, h.app("one", "a")))
		stop := h.run(a)
		defer stop()
		time.Sleep(time.Minute)
		for range 5 {
			a.LookNow(t.Context())
			time.Sleep(time.Second)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := a.Refresh(ctx, serve.Self(), nil); err == nil {
			t.Fatal("a sixth look at once")
		}
		h.put("a", "1")
		time.Sleep(time.Minute)
		began := time.Now()
		if _, err := a.Refresh(t.Context(), serve.Self(), nil); err != nil || h.read("one") != "1\n" || time.Since(began) > 0 {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
	})
}

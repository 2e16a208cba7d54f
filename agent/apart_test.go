package agent

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"outrider/awslab"
	"outrider/internal/config"
	"outrider/serve"
)

func TestSecretsThatHangDoNotDelayOtherApps(t *testing.T) {
	for _, hanging := range []int{1, 20} {
		t.Run(fmt.Sprintf("%d hanging", hanging), func(t *testing.T) {
			bubble(t, func(t *testing.T, h *house) {
				h.put("good", "0")
				apps := []config.App{h.app("good", "good")}
				for i := range hanging {
					id := fmt.Sprintf("hang/%d", i)
					h.put(id, "v")
					apps = append(apps, h.app(fmt.Sprintf("hang%d", i), id))
				}
				o := h.options()
				o.Transport = &hanger{lab: h.lab, word: "hang/"}
				a, err := New(h.config(time.Second, apps...), o)
				if err != nil {
					t.Fatal(err)
				}
				stop := h.run(a)
				defer stop()
				time.Sleep(time.Minute)
				for i := range 20 {
					value := h.put("good", fmt.Sprint(i+1))
					time.Sleep(2500 * time.Millisecond)
					if got := h.read("good"); got != value+"\n" {
						t.Fatalf("rotation %d is not delivered after 2.5s of an interval of 1s", i)
					}
				}
			})
		})
	}
}

func TestThrottlingSlowsPollsDown(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("a", "1")
		stop := h.run(h.agent(h.config(time.Second, h.app("one", "a"))))
		defer stop()
		time.Sleep(10 * time.Second)
		if err := h.lab.AddFault(awslab.Fault{Kind: awslab.Throttle, Service: "secretsmanager"}); err != nil {
			t.Fatal(err)
		}
		h.lab.ResetCalls()
		time.Sleep(10 * time.Minute)
		if got := h.lab.Calls()["secretsmanager.GetSecretValue"]; got > 100 {
			t.Errorf("%d calls in ten minutes of throttling, want a back-off", got)
		}
	})
}

func TestPollKeepsItsIntervalWhileCallsAreSlow(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		var ids []string
		for i := range 50 {
			ids = append(ids, fmt.Sprintf("s/%d", i))
			h.put(ids[i], "v")
		}
		stop := h.run(h.agent(h.config(time.Second, h.app("one", ids...))))
		defer stop()
		time.Sleep(10 * time.Second)
		if err := h.lab.AddFault(awslab.Fault{Kind: awslab.Delay, Delay: 80 * time.Millisecond}); err != nil {
			t.Fatal(err)
		}
		h.lab.ResetCalls()
		time.Sleep(100 * time.Second)
		if got := h.lab.Calls()["secretsmanager.DescribeSecret"] / 50; got < 80 || got > 125 {
			t.Errorf("%d looks in 100s of an interval of 1s", got)
		}
	})
}

func TestWaitAndRefreshGoOnAcrossAReload(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		a := h.agent(h.config(time.Hour, h.app("one", "a")))
		stop := h.run(a)
		defer stop()
		time.Sleep(time.Minute)
		var waits sync.WaitGroup
		waits.Go(func() {
			if err := a.Wait(t.Context(), serve.Self(), "one"); err != nil {
				t.Errorf("Wait = %v", err)
			}
		})
		gone := make(chan error, 2)
		waits.Go(func() { gone <- a.Wait(t.Context(), serve.Self(), "two") })
		if err := a.Reload(t.Context(), loaded(h.config(time.Hour, h.app("one", "a"), h.app("two", "b")))); err != nil {
			t.Fatal(err)
		}
		waits.Go(func() { gone <- a.Wait(t.Context(), serve.Self(), "two") })
		synctest.Wait()
		h.put("a", "1")
		if err := a.Reload(t.Context(), loaded(h.config(time.Hour, h.app("one", "a")))); err != nil {
			t.Fatal(err)
		}
		waits.Wait()
		for range 2 {
			if err := <-gone; err == nil {
				t.Error("Wait for an app that is not in the configuration returned without an error")
			}
		}
	})
}

func TestRefreshReturnsALookThatBeganAfterIt(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("a", "1")
		a := h.agent(h.config(time.Hour, h.app("one", "a")))
		stop := h.run(a)
		defer stop()
		time.Sleep(time.Second)
		if err := h.lab.AddFault(awslab.Fault{Kind: awslab.Delay, Delay: 3 * time.Second}); err != nil {
			t.Fatal(err)
		}
		var first sync.WaitGroup
		first.Go(func() { _, _ = a.Refresh(t.Context(), serve.Self(), nil) })
		time.Sleep(time.Second)
		h.put("a", "2")
		outcomes, err := a.Refresh(t.Context(), serve.Self(), nil)
		first.Wait()
		if err != nil || len(outcomes) != 1 || outcomes[0].Generation != 2 || h.read("one") != "2\n" {
			t.Errorf("Refresh = %+v, %v while another look was under way; want the value put before it", outcomes, err)
		}
	})
}

// TestStopDoesNotWaitForTheWholeList is outside a bubble: its hooks are
// processes, which only the clock on the wall moves.
func TestStopDoesNotWaitForTheWholeList(t *testing.T) {
	h := newHouse(t)
	h.put("a", "1")
	pipe := h.path("pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	told, err := os.OpenFile(pipe, os.O_RDWR, 0) // both ends, so that neither waits
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = told.Close() }()
	gate := h.path("gate") // each word takes for as long as it is there
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	slow := h.app("slow", "a")
	for range 3 {
		slow.Notify = append(slow.Notify, config.Notify{Run: []string{"/bin/sh", "-c", "echo told > " + pipe + "; while test -e " + gate + "; do sleep 0.02; done"}})
	}
	a := h.agent(h.config(time.Hour, slow))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	lines := bufio.NewScanner(told)
	lines.Scan() // the first word has begun
	cancel()
	if err := os.Remove(gate); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := told.WriteString("end\n"); err != nil {
		t.Fatal(err)
	}
	words := 1
	for lines.Scan() && lines.Text() == "told" {
		words++
	}
	if words > 1 {
		t.Errorf("%d words were told, want the one under way at the end and no more", words)
	}
	if !strings.Contains(h.log.String(), "application still owed a notification") {
		t.Error("what is left owed is not said")
	}
}

func TestRoleWithoutAppsHasASession(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		a := h.agent(h.config(time.Hour))
		stop := h.run(a)
		defer stop()
		if c, err := a.Credentials(t.Context(), serve.Self(), "role"); err != nil || c.AccessKeyID == "" {
			t.Errorf("Credentials = %v, %v at once after the start", c, err)
		}
	})
}

func TestReadyIsSentOnceFilesAreThereAndNotTakenBack(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("a", "1")
		var mu sync.Mutex
		var sent []string
		o := h.options()
		o.Notify = func(state string) {
			mu.Lock()
			defer mu.Unlock()
			if strings.HasPrefix(state, "READY") || strings.HasPrefix(state, "RELOADING") {
				word, _, _ := strings.Cut(state, "\n")
				sent = append(sent, fmt.Sprintf("%s at %v", word, time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).Round(time.Second)))
			}
		}
		a, err := New(h.config(time.Hour, h.app("one", "a"), h.app("two", "nosuch")), o)
		if err != nil {
			t.Fatal(err)
		}
		stop := h.run(a)
		defer stop()
		time.Sleep(30 * time.Second)
		if err := a.Reload(t.Context(), loaded(h.config(time.Hour, h.app("one", "a"), h.app("two", "nosuch")))); err != nil {
			t.Fatal(err)
		}
		time.Sleep(29 * time.Second)
		mu.Lock()
		early := len(sent)
		mu.Unlock()
		if early != 0 {
			t.Errorf("sent %v before the files were there or a minute had passed", sent)
		}
		time.Sleep(2 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		if want := "READY=1 at 1m0s"; len(sent) != 1 || sent[0] != want {
			t.Errorf("sent %v, want %s", sent, want)
		}
		if h.read("one") != "1\n" {
			t.Error("the good app has no file")
		}
	})
}

func TestStopBeforeTheStateIsUsableIsNoError(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		c := h.config(time.Hour, h.app("one", "a"))
		c.State = h.dir + "/no/such/folder"
		stop := h.run(h.agent(c))
		time.Sleep(10 * time.Minute)
		stop()
		if got := strings.Count(h.log.String(), "state not usable"); got != 1 {
			t.Errorf("said %d times that the state is not usable, want once", got)
		}
	})
}

func TestFailureIsLoggedOnceWhateverItsRequestID(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("a", "1")
		h.renewCertificate(awslab.LeafOptions{NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)})
		stop := h.run(h.agent(h.config(time.Minute, h.app("one", "a"), h.app("two", "a"))))
		defer stop()
		time.Sleep(6 * time.Hour)
		for message, want := range map[string]int{"session not opened": 1, "app failing": 2} {
			if got := strings.Count(h.log.String(), `"msg":"`+message+`"`); got != want {
				t.Errorf("%q was logged %d times in six hours, want %d", message, got, want)
			}
		}
	})
}

package store

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"outrider/awslab"
	"outrider/secret"
)

// lagging runs f in a bubble beside a store that events are told to, and that
// reads one secret, "s/0", where everything comes a settable time late.
func lagging(t *testing.T, f func(l *lagger)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		own, err := awslab.New(awslab.Options{Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		late, err := own.Neighbor("eu-central-1")
		if err != nil {
			t.Fatal(err)
		}
		put(t, own, "s/0", "0")
		if err := own.Replicate("s/0", late); err != nil {
			t.Fatal(err)
		}
		l := &lagger{own: own, looker: looker{t: t, lab: late, keys: &keys{setup: own.Setup()}, wake: make(chan struct{}, 1)}}
		l.Store = New(Options{Region: "eu-central-1", Transport: &l.looker, Sessions: l.keys, Ended: l.ended})
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		l.Plan(secrets(1), 5*time.Minute)
		l.Begin(secrets(1))(ctx)
		all.Go(func() { l.run(ctx, &all) })
		l.push(4 * time.Hour)
		time.Sleep(time.Minute)
		f(l)
		l.hints.Wait()
		cancel()
		all.Wait()
	})
}

type lagger struct {
	looker
	own   *awslab.Lab // where the changes are made
	hints sync.WaitGroup
}

func (l *lagger) lag(d time.Duration) {
	l.own.SetReplicationLag(d)
	l.lab.SetReplicationLag(d)
}

// put makes a version the current one and tells of it.
func (l *lagger) put(value string) (id string) {
	l.t.Helper()
	id = put(l.t, l.own, "s/0", value)
	l.hint(id)
	return id
}

func (l *lagger) hint(id string) {
	carryOut := l.Hinted(secrets(1), Hint{ID: "s/0", Stage: secret.Current, Version: id})
	l.hints.Go(func() { carryOut(l.t.Context()) })
}

func (l *lagger) await(value string, within time.Duration) {
	l.t.Helper()
	for end := time.Now().Add(within); l.held(secrets(1)[0]) != value; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			l.t.Fatalf("version %s is not held within %v", value, within)
		}
	}
}

// has reports whether a value is held, and asks for nothing.
func (l *lagger) has(value string) bool {
	l.Store.mu.Lock()
	defer l.Store.mu.Unlock()
	return string(l.entry(secrets(1)[0]).held.Value.Reveal()) == value
}

func TestLabelThatGoesBackIsFollowedThoughTheReadLags(t *testing.T) {
	lagging(t, func(l *lagger) {
		one := l.put("1")
		l.await("1", time.Second)
		time.Sleep(time.Minute)
		l.put("2")
		l.await("2", time.Second)
		time.Sleep(time.Minute)
		l.lag(500 * time.Millisecond)
		if err := l.own.MoveLabel("s/0", secret.Current, one); err != nil {
			l.t.Fatal(err)
		}
		l.hint(one)
		l.await("1", 5*time.Second)
	})
}

func TestHintsThatOvertakeReadsAreAllFollowed(t *testing.T) {
	for _, between := range []time.Duration{0, 300 * time.Millisecond, time.Second} {
		lagging(t, func(l *lagger) {
			l.lag(1200 * time.Millisecond)
			for i := range 3 {
				l.put(fmt.Sprint(i + 1))
				time.Sleep(between)
			}
			l.await("3", 5*time.Second)
		})
	}
}

func TestVersionThatTakesLongToBeThereIsNotLeftToThePass(t *testing.T) {
	for lag, within := range map[time.Duration]time.Duration{6 * time.Second: 30 * time.Second, time.Minute: 7 * time.Minute} {
		lagging(t, func(l *lagger) {
			l.lag(lag)
			l.put("1")
			l.await("1", within)
			// In the end it costs no more than before.
			time.Sleep(20 * time.Minute)
			if calls := l.over(time.Hour); calls["secretsmanager.DescribeSecret"] > 1 || len(calls) > 1 {
				l.t.Errorf("%v in an hour in which nothing happens", calls)
			}
		})
	}
}

func TestHintIsOwedUntilAReadShowsWhatItTold(t *testing.T) {
	for name, away := range map[string]time.Duration{
		"reads go well and are stale":            0,
		"reads fail first and are stale then":    20 * time.Second,
		"reads fail for minutes, and then stale": 5 * time.Minute,
	} {
		t.Run(name, func(t *testing.T) {
			lagging(t, func(l *lagger) {
				time.Sleep(time.Hour)
				l.lag(away + 75*time.Second)
				if away > 0 {
					l.fault(awslab.Fault{Kind: awslab.Fail, Operation: "GetSecretValue"})
				}
				id := l.put("1")
				time.Sleep(away)
				l.lab.ClearFaults()
				for end := time.Now().Add(75*time.Second + 80*time.Second); !l.has("1"); time.Sleep(time.Second) {
					if time.Now().After(end) {
						l.t.Fatal("what the event told of is not held soon after reads show it")
					}
				}
				if got := l.lab.Calls()["secretsmanager.DescribeSecret"]; got > 1 {
					l.t.Errorf("%d times DescribeSecret, want the value read", got)
				}
				// An event that comes again asks for nothing.
				l.lab.ResetCalls()
				l.hint(id)
				if calls := l.over(2 * time.Hour); calls["secretsmanager.GetSecretValue"] > 0 {
					l.t.Errorf("%v once it was shown", calls)
				}
			})
		})
	}
}

func TestHintThatNoReadEverShowsIsLeftToThePass(t *testing.T) {
	lagging(t, func(l *lagger) {
		l.hint("00000000-0000-0000-0000-000000000000")
		calls := l.over(25 * time.Minute)
		if n := calls["secretsmanager.GetSecretValue"]; n < 8 || n > 14 {
			l.t.Errorf("%v, want four reads at once and some with ever longer waits", calls)
		}
		if got := l.Standing(secrets(1)[0]).Rung; got != Push {
			l.t.Errorf("rung %s in the end, want %s", got, Push)
		}
		if calls := l.over(3 * time.Hour); calls["secretsmanager.GetSecretValue"] > 0 {
			l.t.Errorf("%v in three hours afterwards", calls)
		}
	})
}

func TestLateHintDoesNotUndoANewerOne(t *testing.T) {
	lagging(t, func(l *lagger) {
		time.Sleep(time.Hour)
		l.lag(30 * time.Second)
		l.put("1")
		time.Sleep(time.Second)
		l.put("2") // what the first one told of has gone by when reads show anything
		l.await("2", 75*time.Second)
		calls := l.over(20 * time.Minute)
		if n := calls["secretsmanager.GetSecretValue"]; n > 0 {
			l.t.Errorf("%v once the newer one is held", calls)
		}
	})
}

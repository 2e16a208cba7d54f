package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"outrider/awslab"
	"outrider/refresher"
	"outrider/secret"
	"outrider/store"
)

// sidecar is a real lease and a real store, wired as a role of one app wires
// them. It is the transport to a lab, and counts what comes.
type sidecar struct {
	lab     *awslab.Lab
	outage  span
	began   time.Time
	lease   refresher.Lease[int]
	waited  bool
	store   *store.Store
	started sync.WaitGroup

	mu    sync.Mutex
	calls map[string][]int // by operation, in each minute
}

// count counts a call, and reports whether the region answers.
func (s *sidecar) count(operation string) bool {
	at := time.Since(s.began)
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.calls[operation]) <= int(at/time.Minute) {
		s.calls[operation] = append(s.calls[operation], 0)
	}
	s.calls[operation][at/time.Minute]++
	return !s.outage.holds(at)
}

func (s *sidecar) RoundTrip(r *http.Request) (*http.Response, error) {
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	answers := s.count(operation)
	time.Sleep(20 * time.Millisecond)
	if answers {
		return s.lab.RoundTripper().RoundTrip(r)
	}
	return &http.Response{StatusCode: http.StatusServiceUnavailable, Header: http.Header{}, Body: io.NopCloser(&bytes.Reader{}), Request: r}, nil
}

func (s *sidecar) open(context.Context) (refresher.Term[int], error) {
	if !s.count("CreateSession") {
		s.waited = true
		return refresher.Term[int]{}, errors.New("away")
	}
	return refresher.Term[int]{From: time.Now(), Until: time.Now().Add(time.Hour)}, nil
}

func (s *sidecar) Retrieve(ctx context.Context) (aws.Credentials, error) {
	if _, _, err := s.lease.Get(ctx); err != nil {
		return aws.Credentials{}, err
	}
	setup := s.lab.Setup()
	return aws.Credentials{AccessKeyID: setup.AccessKeyID, SecretAccessKey: setup.SecretAccessKey}, nil
}

// Spent is for keys that the lab refused: it refuses none.
func (s *sidecar) Spent(aws.Credentials) {}

// refs puts ten secrets and five parameters into the lab.
func refs(t *testing.T, lab *awslab.Lab) (named map[string]secret.Ref, list []secret.Ref) {
	t.Helper()
	named = map[string]secret.Ref{}
	for i := range secrets + 5 {
		ref := secret.Ref{ID: fmt.Sprintf("/fleet/%d", i), Stage: secret.Current}
		var err error
		if i < secrets {
			_, err = lab.PutSecret(ref.ID, "s")
		} else {
			ref.Kind, ref.Stage = secret.Parameter, ""
			_, err = lab.PutParameter(ref.ID, "p", "String")
		}
		if err != nil {
			t.Fatal(err)
		}
		named[fmt.Sprint(i)] = ref
		list = append(list, ref)
	}
	return named, list
}

// run runs the sidecar for so long.
func (s *sidecar) run(t *testing.T, length time.Duration, roll func() float64) {
	s.began = time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	time.Sleep(time.Duration(roll() * float64(time.Minute)))
	start := time.Now()
	named, list := refs(t, s.lab)
	var app, poll refresher.Loop
	spawn := func(f func(context.Context)) {
		s.started.Go(func() { f(ctx) })
	}
	s.store = store.New(store.Options{
		Region: s.lab.Setup().Region, Transport: s, Sessions: s, Roll: roll,
		Ended: func(_ secret.Ref, news bool) {
			if news {
				app.Wake()
			}
			poll.Wake()
		},
	})
	s.store.Plan(list, interval)
	s.lease = refresher.Lease[int]{Create: s.open, Roll: roll, Granted: func() {
		if s.waited {
			s.waited = false
			spawn(s.store.Begin(s.store.Failing()))
			app.Wake()
		}
	}}
	var last secret.Snapshot
	app = refresher.Loop{Asleep: true, Roll: roll, Look: func(ctx context.Context) error {
		now, err := s.store.Get(ctx, named, start, last)
		if err == nil {
			last = now
		}
		return err
	}}
	poll = refresher.Loop{Roll: roll, Plan: s.store.Next, Look: func(context.Context) error {
		if look := s.store.Look(time.Now(), 0); look != nil {
			spawn(look)
		}
		return nil
	}}
	spawn(s.store.Begin(list))
	app.Wake()
	for _, run := range []func(context.Context) error{s.lease.Run, app.Run, poll.Run} {
		spawn(func(ctx context.Context) { _ = run(ctx) })
	}
	s.started.Wait()
}

// TestHostsAskAsMuchAsARealSidecar compares the calls of a real store with the
// average of many hosts, in the phases of an outage.
func TestHostsAskAsMuchAsARealSidecar(t *testing.T) {
	const many = 400
	sc := thousand()["cold start"]
	sc.hosts, sc.length, sc.outage, sc.splay = many, 200*time.Minute, span{20 * time.Minute, 80 * time.Minute}, 0
	for o := range sc.rates {
		sc.rates[o] = 1e6
	}
	model := sc.play(seeded())
	const sidecars = 8
	real := make([]*sidecar, sidecars)
	roll := seeded()
	for i := range real {
		synctest.Test(t, func(t *testing.T) {
			lab, err := awslab.New(awslab.Options{})
			if err != nil {
				t.Fatal(err)
			}
			var mu sync.Mutex
			real[i] = &sidecar{lab: lab, outage: sc.outage, calls: map[string][]int{}}
			real[i].run(t, sc.length, func() float64 {
				mu.Lock()
				defer mu.Unlock()
				return roll()
			})
		})
	}
	for _, phase := range []struct {
		name        string
		from, until int // minutes
	}{
		{"cold start", 0, 1}, {"steady", 1, 20}, {"outage", 20, 80}, {"recovery", 80, 90}, {"steady again", 90, 200},
	} {
		for o := range operation(operations) {
			got, want := 0.0, 0.0
			for _, s := range real {
				for minute, n := range s.calls[o.String()] {
					if phase.from <= minute && minute < phase.until {
						got += float64(n) / sidecars
					}
				}
			}
			for second, n := range model.account.asked[o] {
				if minute := second / 60; phase.from <= minute && minute < phase.until {
					want += float64(n) / many
				}
			}
			if math.Abs(got-want) > 0.15*want+1 {
				t.Errorf("%s: %v: a real sidecar makes %.1f calls, a host of the model %.1f", phase.name, o, got, want)
			}
		}
	}
}

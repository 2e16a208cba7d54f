package main

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"outrider/refresher"
)

// thousand are the scenes of the small fleet, by name.
func thousand() map[string]scene {
	named := map[string]scene{}
	for _, s := range sizes()[0].scenes() {
		named[s.name] = s
	}
	return named
}

func seeded() func() float64 { return rand.New(rand.NewPCG(7, 7)).Float64 }

func TestTheDocumentTellsOfThisCode(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("other processors round otherwise")
	}
	text, err := os.ReadFile(filepath.Join("../..", document))
	if err != nil {
		t.Fatal(err)
	}
	s := sizes()[0]
	_, got, _, err := s.between(string(text))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(table(s.play()), got); diff != "" {
		t.Errorf("%s; make fleet mends it (-code +document):\n%s", document, diff)
	}
}

func TestTheSameRollsMakeTheSameRun(t *testing.T) {
	s := thousand()["outage of an hour"]
	if diff := cmp.Diff(s.play(seeded()).plot(), s.play(seeded()).plot()); diff != "" {
		t.Errorf("a second run differs:\n%s", diff)
	}
}

// TestAFleetComesBackWithoutAStampede asserts what docs/scale.md calls none.
func TestAFleetComesBackWithoutAStampede(t *testing.T) {
	for _, name := range []string{"cold start", "outage of an hour"} {
		s := thousand()[name]
		f := s.play(seeded())
		queue := time.Duration(float64(s.hosts)/s.rates[createSession]) * time.Second
		last, all := f.fresh(1)
		if bound := queue + 3*time.Minute; !all || last > bound {
			t.Errorf("%s: all are fresh (%v) after %v, want %v: one session after the other and three back-offs", name, all, last, bound)
		}
		for o := range operation(operations) {
			if second, most, mean := f.bunched(o); most > 0 {
				t.Errorf("%s: %d of %v in second %d of a minute that has %.0f a second", name, most, o, second, mean)
			}
		}
		after := int((s.mark()+last)/time.Second) + 1
		for o := range operation(operations) {
			for second := after; second < len(f.account.asked[o]); second++ {
				if asked, taken := f.account.asked[o][second], f.account.taken[o][second]; asked > taken {
					t.Fatalf("%s: %d of %d %v refused in second %d, when all are fresh since %d", name, asked-taken, asked, o, second, after)
				}
			}
		}
	}
}

// bunched returns a second after the first minute since the mark that has twice
// the calls of the average second around it, and more than chance makes of it.
func (f *fleet) bunched(o operation) (second, most int, mean float64) {
	for second := int(f.mark()/time.Second) + 90; second+30 < len(f.account.asked[o]); second++ {
		sum := 0
		for _, n := range f.account.asked[o][second-30 : second+30] {
			sum += n
		}
		mean := float64(sum) / 60
		if n := f.account.asked[o][second]; float64(n) > 2*mean+20 {
			return second, n, mean
		}
	}
	return 0, 0, 0
}

func TestASteadyFleetIsThrottledByNothing(t *testing.T) {
	for _, name := range []string{"steady state", "steady state with push"} {
		s := thousand()[name]
		s.length = 6 * time.Hour
		f := s.play(seeded())
		if diff := cmp.Diff([operations]int{}, f.account.missed); diff != "" || f.lapsed() > 0 {
			t.Errorf("%s: throttled (-want +got), and %d hosts lost their session:\n%s", name, f.lapsed(), diff)
		}
	}
}

// TestAHostRenewsWhenTheRealLeaseDoes runs both through an outage.
func TestAHostRenewsWhenTheRealLeaseDoes(t *testing.T) {
	s := thousand()["cold start"]
	s.hosts, s.length, s.outage = 1, 12*time.Hour, span{3 * time.Hour, 6 * time.Hour}
	for _, roll := range []float64{0.07, 0.5, 0.99} {
		rolls := func() float64 { return roll }
		var real []int
		synctest.Test(t, func(t *testing.T) {
			real = make([]int, s.length/time.Second+1)
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), s.length)
			defer cancel()
			lease := refresher.Lease[int]{Splay: time.Minute + s.splay, Roll: rolls, Create: func(context.Context) (refresher.Term[int], error) {
				now := time.Now()
				real[now.Sub(began)/time.Second]++
				if s.outage.holds(now.Sub(began)) {
					return refresher.Term[int]{}, errors.New("away")
				}
				return refresher.Term[int]{From: now, Until: now.Add(s.session)}, nil
			}}
			if err := lease.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		})
		if diff := cmp.Diff(real, s.play(rolls).account.asked[createSession]); diff != "" {
			t.Errorf("calls in each second with rolls of %v (-lease +model):\n%s", roll, diff)
		}
	}
}

func TestEventsComeInTheirOrder(t *testing.T) {
	var q events
	roll := seeded()
	var want, got []time.Duration
	for range 1000 {
		for range 1 + int(3*roll()) {
			at := time.Duration(100 * roll())
			want = append(want, at)
			q.add(event{at: at})
		}
	}
	slices.Sort(want)
	last := event{}
	for len(q.heap) > 0 {
		e := q.next()
		if e.before(last) {
			t.Fatalf("%+v comes after %+v", e, last)
		}
		last, got = e, append(got, e.at)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestAPlotIsOneDocument(t *testing.T) {
	s := thousand()["cold start"]
	s.hosts = 50
	d := xml.NewDecoder(strings.NewReader(s.play(seeded()).plot()))
	panels := 0
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "g" {
			panels++
		}
	}
	if panels != 5 {
		t.Errorf("%d panels, want one each for four operations and the hosts that are fresh", panels)
	}
}

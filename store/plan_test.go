package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"outrider/awslab"
	"outrider/secret"
)

// looker keeps a store at its plan, as a role does.
type looker struct {
	*Store
	t    *testing.T
	lab  *awslab.Lab
	keys *keys
	wake chan struct{}

	mu     sync.Mutex
	pass   time.Duration
	news   []secret.Ref
	denied []string       // operation and id with a space between
	asked  map[string]int // what was denied
}

// RoundTrip denies, since to the lab's own keys the lab denies nothing.
func (l *looker) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range l.denied {
		denied, id, _ := strings.Cut(d, " ")
		if operation == denied && bytes.Contains(body, []byte(`"`+id+`"`)) {
			l.asked[d]++
			return script{400, "application/x-amz-json-1.1", `{"__type":"AccessDeniedException","Message":"not authorized to perform ` + operation + `"}`}.RoundTrip(r)
		}
	}
	return l.lab.RoundTripper().RoundTrip(r)
}

func (l *looker) deny(denied ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.denied, l.asked = denied, map[string]int{}
}

func (l *looker) askedFor(denied string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asked[denied]
}

// looking runs f in a bubble beside a store that looks at refs every interval,
// after they were read once.
func looking(t *testing.T, interval time.Duration, refs []secret.Ref, prepare func(l *looker), f func(l *looker)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		lab, err := awslab.New(awslab.Options{Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		l := &looker{t: t, lab: lab, keys: &keys{setup: lab.Setup()}, wake: make(chan struct{}, 1)}
		o := Options{Region: "us-east-1", Transport: l, Sessions: l.keys, Ended: l.ended}
		l.Store = New(o)
		prepare(l)
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		l.Plan(refs, interval)
		l.Begin(refs)(ctx)
		all.Go(func() { l.run(ctx, &all) })
		f(l)
		cancel()
		all.Wait()
	})
}

func (l *looker) ended(ref secret.Ref, news bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if news {
		l.news = append(l.news, ref)
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *looker) run(ctx context.Context, all *sync.WaitGroup) {
	for ctx.Err() == nil {
		l.mu.Lock()
		pass := l.pass
		l.mu.Unlock()
		if carryOut := l.Look(time.Now(), pass); carryOut != nil {
			all.Go(func() { carryOut(ctx) })
		}
		var at <-chan time.Time
		if next := l.Next(); !next.IsZero() {
			at = time.After(max(time.Until(next), 1))
		}
		select {
		case <-at:
		case <-l.wake:
		case <-ctx.Done():
		}
	}
}

// push says whether events come in.
func (l *looker) push(pass time.Duration) {
	l.mu.Lock()
	l.pass = pass
	l.mu.Unlock()
	l.wake <- struct{}{}
	synctest.Wait()
}

func (l *looker) newsOf() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.news)
}

// over returns what calls are made in a time.
func (l *looker) over(d time.Duration) map[string]int {
	synctest.Wait()
	l.lab.ResetCalls()
	time.Sleep(d)
	synctest.Wait()
	return l.lab.Calls()
}

// held returns the value that is held, without a call.
func (l *looker) held(ref secret.Ref) string {
	l.t.Helper()
	shot, err := l.Get(l.t.Context(), map[string]secret.Ref{"it": ref}, time.Time{}, secret.Snapshot{})
	if err != nil {
		l.t.Fatal(err)
	}
	v, _ := shot.Get("it")
	return string(v.Value.Reveal())
}

func (l *looker) fault(f awslab.Fault) {
	l.t.Helper()
	if err := l.lab.AddFault(f); err != nil {
		l.t.Fatal(err)
	}
}

func secrets(n int) []secret.Ref {
	refs := make([]secret.Ref, n)
	for i := range refs {
		refs[i] = ref(fmt.Sprintf("s/%d", i))
	}
	return refs
}

func putAll(l *looker, refs []secret.Ref) {
	for _, r := range refs {
		put(l.t, l.lab, r.ID, "0")
	}
}

func TestPollsCostOneDescribeSecretEach(t *testing.T) {
	for _, n := range []int{1, 20, 200} {
		refs := secrets(n)
		looking(t, 5*time.Minute, refs, func(l *looker) { putAll(l, refs) }, func(l *looker) {
			time.Sleep(10 * time.Minute)
			hours := max(2, 24/n)
			calls := l.over(time.Duration(hours) * time.Hour)
			looks, want := calls["secretsmanager.DescribeSecret"], 12*hours*n
			if len(calls) != 1 || looks < want*95/100 || looks > want*105/100 {
				l.t.Errorf("%d secrets: %v in %d hours, want %d times DescribeSecret and nothing else", n, calls, hours, want)
			}
			if l.newsOf() != 0 {
				l.t.Errorf("%d secrets: news of what has not changed", n)
			}
		})
	}
}

func TestPollsOfManySecretsDoNotBunch(t *testing.T) {
	refs := secrets(200)
	looking(t, 5*time.Minute, refs, func(l *looker) { putAll(l, refs) }, func(l *looker) {
		for range 60 {
			if n := l.over(10 * time.Second)["secretsmanager.DescribeSecret"]; n > 30 {
				l.t.Errorf("%d looks within ten seconds, of 200 in five minutes", n)
			}
		}
	})
}

func TestPollReadsTheValueOnlyWhenItsLabelMoved(t *testing.T) {
	refs := secrets(3)
	looking(t, time.Minute, refs, func(l *looker) { putAll(l, refs) }, func(l *looker) {
		time.Sleep(10 * time.Minute)
		before := time.Now()
		put(l.t, l.lab, "s/1", "pending", "AWSPENDING")
		put(l.t, l.lab, "s/1", "1")
		calls := l.over(2 * time.Minute)
		if got := l.held(refs[1]); got != "1" {
			l.t.Error("the new value is not held")
		}
		if reads := calls["secretsmanager.GetSecretValue"]; reads != 1 || l.newsOf() != 1 {
			l.t.Errorf("%v and news %d times, want one read and news once", calls, l.newsOf())
		}
		all := map[string]secret.Ref{"a": refs[0], "b": refs[1], "c": refs[2]}
		shot, err := l.Get(l.t.Context(), all, before, secret.Snapshot{})
		if err != nil || !shot.Taken().After(before) {
			l.t.Errorf("taken %v, %v: looks that find nothing do not count as seen", shot.Taken(), err)
		}
		if seen := l.Seen(all, shot); !seen.After(before) {
			l.t.Errorf("Seen = %v, want later than %v", seen, before)
		}
	})
}

func TestDescribeThatIsNotAllowedFallsBackToTheValue(t *testing.T) {
	refs := secrets(2)
	const denied = "DescribeSecret s/0"
	looking(t, time.Minute, refs, func(l *looker) {
		putAll(l, refs)
		l.deny(denied)
	}, func(l *looker) {
		time.Sleep(2 * time.Minute)
		if a, b := l.Standing(refs[0]).Rung, l.Standing(refs[1]).Rung; a != Value || b != Describe {
			l.t.Errorf("rungs %s and %s, want %s and %s", a, b, Value, Describe)
		}
		calls := l.over(10 * time.Hour)
		reads, looks, tries := calls["secretsmanager.GetSecretValue"], calls["secretsmanager.DescribeSecret"], l.askedFor(denied)
		if reads < 570 || reads > 630 || looks < 570 || looks > 630 || tries < 9 || tries > 12 {
			l.t.Errorf("%v and %d denials in ten hours, want about 600 of each and a try an hour", calls, tries)
		}
		put(l.t, l.lab, "s/0", "1")
		time.Sleep(2 * time.Minute)
		if l.held(refs[0]) != "1" {
			l.t.Error("the new value is not held")
		}
		l.deny()
		time.Sleep(2 * time.Hour)
		if got := l.Standing(refs[0]).Rung; got != Describe {
			l.t.Errorf("rung %s after it was allowed, want %s", got, Describe)
		}
	})
}

func TestRotationUnderWayIsNoticedWithinSeconds(t *testing.T) {
	refs := secrets(1)
	looking(t, 5*time.Minute, refs, func(l *looker) { putAll(l, refs) }, func(l *looker) {
		for i := range 20 {
			id := put(l.t, l.lab, "s/0", fmt.Sprint(i+1), "AWSPENDING")
			time.Sleep(6*time.Minute + 30*time.Second) // the longest look, and as much of a rotation
			if err := l.lab.MoveLabel("s/0", secret.Current, id); err != nil {
				l.t.Fatal(err)
			}
			began := time.Now()
			for l.held(refs[0]) != fmt.Sprint(i+1) {
				time.Sleep(time.Second)
			}
			if lag := time.Since(began); lag > 48*time.Second {
				l.t.Errorf("noticed after %v, want a tenth of what the rotation took", lag)
			}
			time.Sleep(time.Hour)
		}
	})
}

func TestAbandonedRotationIsNotLookedAtForEver(t *testing.T) {
	refs := secrets(1)
	looking(t, 5*time.Minute, refs, func(l *looker) { putAll(l, refs) }, func(l *looker) {
		put(l.t, l.lab, "s/0", "never", "AWSPENDING")
		first := l.over(24 * time.Hour)["secretsmanager.DescribeSecret"]
		later := l.over(24 * time.Hour)["secretsmanager.DescribeSecret"]
		if first > 288+75 || later < 270 || later > 306 {
			l.t.Errorf("%d looks in the first day and %d in the second, want at most 363 and about 288", first, later)
		}
	})
}

func TestScheduledRotationIsLookedForAroundItsDate(t *testing.T) {
	refs := secrets(1)
	looking(t, time.Hour, refs, func(l *looker) {
		putAll(l, refs)
		if err := l.lab.SetRotation("s/0", time.Now().Add(20*time.Hour)); err != nil {
			l.t.Fatal(err)
		}
	}, func(l *looker) {
		time.Sleep(20*time.Hour + 10*time.Second)
		put(l.t, l.lab, "s/0", "1")
		time.Sleep(time.Minute)
		if l.held(refs[0]) != "1" {
			l.t.Error("a rotation on time is not noticed within a minute of an interval of an hour")
		}
	})
}

func TestOlderVersionIsBelievedOnlyWhenSeenTwice(t *testing.T) {
	refs := secrets(1)
	first := ""
	looking(t, time.Minute, refs, func(l *looker) {
		first = put(l.t, l.lab, "s/0", "old")
		time.Sleep(time.Second)
		put(l.t, l.lab, "s/0", "new")
	}, func(l *looker) {
		time.Sleep(time.Minute)
		if err := l.lab.MoveLabel("s/0", secret.Current, first); err != nil {
			l.t.Fatal(err)
		}
		shot, err := l.Get(l.t.Context(), map[string]secret.Ref{"it": refs[0]}, time.Now().Add(time.Nanosecond), secret.Snapshot{})
		v, _ := shot.Get("it")
		if err != nil || string(v.Value.Reveal()) != "new" {
			l.t.Errorf("%v: the first sight of an older version took the value back", err)
		}
		time.Sleep(2 * time.Second)
		if l.held(refs[0]) != "old" || l.newsOf() != 1 {
			l.t.Errorf("two seconds later the label that was moved back is not followed (news %d times)", l.newsOf())
		}
	})
}

func TestOlderVersionIsNotBelievedWhileReadsMayLag(t *testing.T) {
	now := time.Now()
	older := secret.Version{Ref: ref("s"), ID: "1", ARN: "arn", Created: now.Add(-time.Hour)}
	newer := secret.Version{Ref: ref("s"), ID: "2", ARN: "arn", Created: now.Add(-time.Second)}
	e := &entry{ref: ref("s")}
	e.believe(older, now.Add(-time.Minute), true)
	e.believe(newer, now, true)
	for _, step := range []struct {
		at   time.Duration
		want string
	}{{time.Second, "2"}, {3 * time.Second, "2"}, {9 * time.Second, "2"}, {11 * time.Second, "1"}} {
		e.believe(older, now.Add(step.at), true)
		if e.held.ID != step.want {
			t.Errorf("%s after the newer one was found: version %s is held, want %s", step.at, e.held.ID, step.want)
		}
	}
}

func TestStaleReadsNeverTakeAValueBack(t *testing.T) {
	refs := secrets(2)
	looking(t, time.Second, refs, func(l *looker) { putAll(l, refs) }, func(l *looker) {
		time.Sleep(time.Minute) // what is new is not there at first
		l.lab.SetStaleness(4 * time.Second)
		for i := 1; i < 90; i++ {
			put(l.t, l.lab, "s/0", fmt.Sprint(i))
			seen := false
			for range 50 {
				time.Sleep(100 * time.Millisecond)
				shot, err := l.Get(l.t.Context(), map[string]secret.Ref{"it": refs[0]}, time.Now(), secret.Snapshot{})
				if err != nil {
					l.t.Fatal(err)
				}
				v, _ := shot.Get("it")
				now := string(v.Value.Reveal()) == fmt.Sprint(i)
				if seen && !now {
					l.t.Fatalf("version %d was taken back", i)
				}
				seen = now
			}
			if !seen {
				l.t.Fatalf("version %d is not held after five seconds", i)
			}
		}
	})
}

func TestDeniedSecretIsApartFromOthersAndNotAskedEverySecond(t *testing.T) {
	refs := secrets(3)
	const denied = "GetSecretValue s/0"
	looking(t, 5*time.Minute, refs, func(l *looker) {
		putAll(l, refs)
		l.deny(denied, "DescribeSecret s/0", "BatchGetSecretValue s/0")
	}, func(l *looker) {
		app := map[string]secret.Ref{"a": refs[0], "b": refs[1]}
		asOf := time.Now()
		for range 3600 { // an app that looks every second
			time.Sleep(time.Second)
			_, err := l.Get(l.t.Context(), app, asOf, secret.Snapshot{})
			if err == nil || !strings.Contains(err.Error(), "secret s/0: AccessDeniedException") || strings.Contains(err.Error(), "s/1") {
				l.t.Fatalf("Get = %v, want the one denial", err)
			}
		}
		if reads := l.askedFor(denied); reads < 60 || reads > 240 {
			l.t.Errorf("%d reads in an hour of a denied secret, want two or so a minute", reads)
		}
		// Who is asked for it now, asks.
		was := l.askedFor(denied)
		_, _ = l.Get(l.t.Context(), app, time.Now().Add(1), secret.Snapshot{})
		if reads := l.askedFor(denied) - was; reads != 1 {
			l.t.Errorf("%d reads on demand, want one", reads)
		}
		l.deny()
		time.Sleep(time.Minute)
		if _, err := l.Get(l.t.Context(), app, asOf, secret.Snapshot{}); err != nil {
			l.t.Errorf("a minute after it was allowed: %v", err)
		}
	})
}

func TestThrottlingMakesFewerCallsNotMore(t *testing.T) {
	refs := secrets(200)
	looking(t, 10*time.Second, refs, func(l *looker) { putAll(l, refs) }, func(l *looker) {
		time.Sleep(time.Minute)
		for name, f := range map[string]awslab.Fault{
			"throttling": {Kind: awslab.Throttle, Service: "secretsmanager"},
			"an outage":  {Kind: awslab.Fail, Service: "secretsmanager"},
		} {
			l.fault(f)
			total := 0
			for _, n := range l.over(time.Hour) {
				total += n
			}
			// A round of at most a few calls, every half minute on average.
			if total > 3600 {
				l.t.Errorf("%d calls in an hour of %s, want fewer than one a second; 72000 were due", total, name)
			}
			l.lab.ClearFaults()
			put(l.t, l.lab, "s/7", name)
			time.Sleep(90 * time.Second)
			if l.held(refs[7]) != name {
				l.t.Errorf("not fresh 90s after the end of %s", name)
			}
		}
	})
}

func TestQuotaIsNotTakenForThrottling(t *testing.T) {
	refs := secrets(1)
	looking(t, time.Minute, refs, func(l *looker) { putAll(l, refs) }, func(l *looker) {
		l.fault(awslab.Fault{Kind: awslab.Fail, Status: 400, Code: "LimitExceededException", Message: "limit"})
		calls := l.over(10 * time.Hour)
		if total := calls["secretsmanager.DescribeSecret"] + calls["secretsmanager.GetSecretValue"]; total > 60 {
			l.t.Errorf("%v in ten hours, want a long pause after each", calls)
		}
	})
}

func TestReconcilingCostsTwelveCallsAnHourWhateverTheNumber(t *testing.T) {
	for _, n := range []int{1, 20, 1000} {
		refs := secrets(n)
		looking(t, 5*time.Minute, refs, func(l *looker) { putAll(l, refs) }, func(l *looker) {
			pass := max(5*time.Minute, time.Duration(l.Calls())*5*time.Minute)
			l.push(pass)
			most := 0
			for range 12 {
				total := 0
				for _, calls := range l.over(time.Hour) {
					total += calls
				}
				most = max(most, total)
			}
			if most > 15 {
				l.t.Errorf("%d secrets: %d calls in an hour, want 15 at most", n, most)
			}
			put(l.t, l.lab, refs[n-1].ID, "missed") // and no event comes
			time.Sleep(pass * 13 / 10)
			if l.held(refs[n-1]) != "missed" {
				l.t.Errorf("%d secrets: what an event did not tell is not found in a pass of %v", n, pass)
			}
			if got := l.Standing(refs[0]); got.Rung != Push || got.Next.IsZero() {
				l.t.Errorf("standing %+v, want push and the time of the next look", got)
			}
			l.push(0)
			calls := l.over(15 * time.Minute)
			if looks := calls["secretsmanager.DescribeSecret"]; looks < 2*n || looks > 4*n {
				l.t.Errorf("%d secrets: %v in a quarter of an hour without events, want 3 looks each", n, calls)
			}
		})
	}
}

func TestLabelsThatNoEventCoversKeepTheirInterval(t *testing.T) {
	refs := []secret.Ref{{ID: "s/0", Stage: "AWSPREVIOUS"}, ref("arn:aws:secretsmanager:us-east-1:999999999999:secret:x-abcdef")}
	s := New(Options{Region: "us-east-1", Account: "111122223333", Sessions: &keys{}})
	for _, r := range refs {
		if !s.uncovered(&entry{ref: r}) {
			t.Errorf("%v counts as covered by events", r)
		}
	}
	for _, r := range []secret.Ref{ref("s/0"), {ID: "s/0", Stage: "blue"}, ref("arn:aws:secretsmanager:us-east-1:111122223333:secret:x-abcdef")} {
		if s.uncovered(&entry{ref: r}) {
			t.Errorf("%v counts as not covered by events", r)
		}
	}
}

func TestHintIsReadAtOnceAndAgainWhileItIsNewerThanTheRead(t *testing.T) {
	refs := secrets(1)
	looking(t, time.Hour, refs, func(l *looker) { putAll(l, refs) }, func(l *looker) {
		l.lab.ResetCalls()
		id := put(l.t, l.lab, "s/0", "1")
		l.Hinted(refs, Hint{ID: "s/0", Version: id})(l.t.Context())
		if calls := l.lab.Calls(); l.held(refs[0]) != "1" || calls["secretsmanager.GetSecretValue"] != 1 || len(calls) != 1 {
			l.t.Errorf("%v, want the value by one read", calls)
		}
		l.lab.ResetCalls()
		l.Hinted(refs, Hint{ID: "s/0", Version: id})(l.t.Context())
		if calls := l.lab.Calls(); len(calls) != 0 {
			l.t.Errorf("%v for a version that is held already", calls)
		}
		time.Sleep(time.Minute)
		l.lab.SetStaleness(2 * time.Second)
		began := time.Now()
		id = put(l.t, l.lab, "s/0", "2")
		l.Hinted(refs, Hint{ID: "s/0", Version: id})(l.t.Context())
		if l.held(refs[0]) != "2" || time.Since(began) > 300*time.Millisecond {
			l.t.Errorf("after %v of stale reads the version of the hint is not held", time.Since(began))
		}
		l.lab.SetStaleness(0)
		l.lab.ResetCalls()
		l.Hinted(refs, Hint{ID: "s/0", Version: "00000000-0000-0000-0000-000000000000"})(l.t.Context())
		if calls := l.lab.Calls()["secretsmanager.GetSecretValue"]; calls != 4 {
			l.t.Errorf("%d reads for a version that never comes, want four", calls)
		}
	})
}

func TestHintIsAboutEverySpellingOfItsSecret(t *testing.T) {
	const arn, whole = "arn:aws:secretsmanager:us-east-1:111122223333:secret:prod/db", "-a1b2c3"
	const parameter = "arn:aws:ssm:us-east-1:111122223333:parameter/prod/db"
	for _, tc := range []struct {
		hint Hint
		ref  secret.Ref
		want bool
	}{
		{Hint{ID: "prod/db"}, ref("prod/db"), true},
		{Hint{ID: arn + whole}, ref("prod/db"), true},
		{Hint{ID: arn}, ref("prod/db"), true},
		{Hint{ID: "prod/db"}, ref(arn + whole), true},
		{Hint{ID: arn + whole}, ref(arn + whole), true},
		{Hint{ID: arn}, ref(arn + whole), true},
		{Hint{ID: arn + whole}, ref("prod/other"), false},
		{Hint{ID: arn + whole}, ref("arn:aws:secretsmanager:us-east-1:999999999999:secret:prod/db-a1b2c3"), false},
		{Hint{ID: "prod/db", Stage: "blue"}, ref("prod/db"), false},
		{Hint{ID: "prod/db", Stage: "blue"}, secret.Ref{ID: "prod/db", Stage: "blue"}, true},
		{Hint{ID: "prod/db", Parameter: true}, ref("prod/db"), false},
		{Hint{ID: ""}, ref("prod/db"), false},
		{Hint{ID: "/prod/db", Parameter: true}, secret.Ref{Kind: secret.Parameter, ID: "/prod/db"}, true},
		{Hint{ID: "/prod/db", Parameter: true}, secret.Ref{Kind: secret.Parameter, ID: "/prod/db:3"}, true},
		{Hint{ID: "/prod/db", Parameter: true}, secret.Ref{Kind: secret.Parameter, ID: parameter + ":live"}, true},
		{Hint{ID: parameter, Parameter: true}, secret.Ref{Kind: secret.Parameter, ID: "/prod/db:live"}, true},
		{Hint{ID: "plain", Parameter: true}, secret.Ref{Kind: secret.Parameter, ID: "plain"}, true},
		{Hint{ID: "/prod/db", Parameter: true}, secret.Ref{Kind: secret.Parameters, ID: "/prod/"}, true},
		{Hint{ID: "/prod/db", Parameter: true}, secret.Ref{Kind: secret.Parameters, ID: "/prod"}, true},
		{Hint{ID: "/prod/a/db", Parameter: true}, secret.Ref{Kind: secret.Parameters, ID: "/prod"}, false},
		{Hint{ID: "/prod/a/db", Parameter: true}, secret.Ref{Kind: secret.Parameters, ID: "/prod", Recursive: true}, true},
		{Hint{ID: "/production", Parameter: true}, secret.Ref{Kind: secret.Parameters, ID: "/prod", Recursive: true}, false},
		{Hint{ID: parameter, Parameter: true}, secret.Ref{Kind: secret.Parameters, ID: "/", Recursive: true}, true},
	} {
		if got := tc.hint.About(tc.ref); got != tc.want {
			t.Errorf("hint of %+v is about %v: %v, want %v", tc.hint, tc.ref, got, tc.want)
		}
	}
}

func TestPlanForgetsWhatItDoesNotName(t *testing.T) {
	refs := secrets(3)
	looking(t, time.Minute, refs, func(l *looker) { putAll(l, refs) }, func(l *looker) {
		l.Plan(refs[:1], time.Minute)
		calls := l.over(time.Hour)
		if looks := calls["secretsmanager.DescribeSecret"]; looks < 55 || looks > 65 {
			l.t.Errorf("%v in an hour after two of three were taken out, want 60 looks", maps.Clone(calls))
		}
	})
}

func TestAfterASuspendEverythingIsLookedAtWithinMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lab, err := awslab.New(awslab.Options{Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		refs, all := secrets(200), map[string]secret.Ref{}
		for _, r := range refs {
			put(t, lab, r.ID, "0")
			all[r.ID] = r
		}
		s := New(Options{Region: "us-east-1", Transport: lab.RoundTripper(), Sessions: &keys{setup: lab.Setup()}})
		s.Plan(refs, 5*time.Minute)
		s.Begin(refs)(t.Context())
		shot, err := s.Get(t.Context(), all, time.Time{}, secret.Snapshot{})
		if err != nil {
			t.Fatal(err)
		}
		step := func() {
			if carryOut := s.Look(time.Now(), 50*time.Minute); carryOut != nil {
				carryOut(t.Context())
			}
		}
		step()
		time.Sleep(48 * time.Hour) // nothing runs
		woken := time.Now()
		for s.Seen(all, shot).Before(woken) {
			step()
			time.Sleep(time.Second)
		}
		if took := time.Since(woken); took > 5*time.Minute {
			t.Errorf("all are known to be current only %v after the machine woke", took)
		}
	})
}

func TestLabelSeenToMoveDuringAnOlderReadIsLookedAtAgainAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lab, err := awslab.New(awslab.Options{Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		refs := secrets(1)
		put(t, lab, "s/0", "0")
		way := &slow{next: lab.RoundTripper()}
		s := New(Options{Region: "us-east-1", Transport: way, Sessions: &keys{setup: lab.Setup()}})
		s.Plan(refs, 5*time.Minute)
		s.Begin(refs)(t.Context())
		time.Sleep(10 * time.Minute)
		way.late = 2 * time.Second
		var l look
		s.mu.Lock()
		s.addLook(&l, s.entry(refs[0]), time.Now())
		s.mu.Unlock()
		var read sync.WaitGroup
		carryOut := s.Begin(refs)
		read.Go(func() { carryOut(t.Context()) })
		synctest.Wait() // the answer is made, and under way
		put(t, lab, "s/0", "1")
		s.lookAt(t.Context(), l)
		read.Wait()
		if next := time.Until(s.Next()); next > 0 {
			t.Errorf("the next look is in %v, want at once", next)
		}
	})
}

// slow hands on the answers to GetSecretValue late.
type slow struct {
	next http.RoundTripper
	late time.Duration
}

func (s *slow) RoundTrip(r *http.Request) (*http.Response, error) {
	out, err := s.next.RoundTrip(r)
	if strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".GetSecretValue") {
		time.Sleep(s.late)
	}
	return out, err
}

func TestBatchesThatFailAloneGiveWayToSingleReadsForAWhile(t *testing.T) {
	const batch = "BatchGetSecretValue"
	for name, fault := range map[string]awslab.Fault{
		"a failure":  {Kind: awslab.Fail, Operation: batch},
		"a reset":    {Kind: awslab.Drop, Operation: batch},
		"a 503":      {Kind: awslab.Fail, Operation: batch, Status: 503, Code: "ServiceUnavailable"},
		"throttling": {Kind: awslab.Throttle, Operation: batch},
	} {
		t.Run(name, func(t *testing.T) {
			refs := secrets(45)
			looking(t, time.Hour, refs, func(l *looker) { putAll(l, refs) }, func(l *looker) {
				all := map[string]secret.Ref{}
				for _, r := range refs {
					all[r.ID] = r
				}
				time.Sleep(time.Minute)
				l.fault(fault)
				l.lab.ResetCalls()
				look := func() error { // at all of them, and once more since one has moved
					put(l.t, l.lab, refs[0].ID, time.Now().String())
					_, err := l.Get(l.t.Context(), all, time.Now(), secret.Snapshot{})
					return err
				}
				err := look()
				if throttled := fault.Kind == awslab.Throttle; (err != nil) != throttled {
					l.t.Errorf("the first look: %v, want an error only where AWS wants fewer calls", err)
				}
				for range 5 {
					time.Sleep(time.Second)
					err = look()
				}
				if calls := l.lab.Calls(); err != nil || calls["secretsmanager."+batch] > 3 || calls["secretsmanager.GetSecretValue"] > 13*45 {
					l.t.Errorf("%v after a few seconds, with %v; want single reads", err, calls)
				}
				l.lab.ClearFaults()
				time.Sleep(2 * time.Minute)
				l.lab.ResetCalls()
				if err := look(); err != nil || l.lab.Calls()["secretsmanager."+batch] == 0 {
					l.t.Errorf("%v with %v two minutes after the end, want batches again", err, l.lab.Calls())
				}
			})
		})
	}
}

func TestOutageDoesNotLeaveWavesBehind(t *testing.T) {
	refs := secrets(200)
	looking(t, 5*time.Minute, refs, func(l *looker) { putAll(l, refs) }, func(l *looker) {
		time.Sleep(10 * time.Minute)
		l.fault(awslab.Fault{Kind: awslab.Fail, Service: "secretsmanager"})
		time.Sleep(20 * time.Minute)
		l.lab.ClearFaults()
		time.Sleep(90 * time.Second) // until all have recovered
		for minute := range 15 {
			if n := l.over(time.Minute)["secretsmanager.DescribeSecret"]; n < 15 || n > 80 {
				l.t.Errorf("%d looks in minute %d after the outage, want about the 40 of any other", n, minute)
			}
		}
	})
}

// TestDarknessEndsAlthoughWhereItBeganCannotBeRead has DescribeSecret fail, then
// the secret that showed it first, and DescribeSecret work again.
func TestDarknessEndsAlthoughWhereItBeganCannotBeRead(t *testing.T) {
	refs := secrets(6)
	looking(t, time.Minute, refs, func(l *looker) { putAll(l, refs) }, func(l *looker) {
		l.fault(awslab.Fault{Kind: awslab.Fail, Operation: "DescribeSecret"})
		time.Sleep(5 * time.Minute)
		told, ok := errors.AsType[*Error](l.Dark())
		if !ok {
			t.Fatalf("Dark = %v, want the secret where DescribeSecret failed first", l.Dark())
		}
		l.deny("GetSecretValue " + told.Ref.ID)
		time.Sleep(3 * time.Minute)
		if l.Dark() == nil {
			t.Error("not dark any more, although DescribeSecret fails")
		}
		l.lab.ClearFaults()
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if err := l.Dark(); err != nil {
			t.Errorf("DescribeSecret works again, and Dark says %v", err)
		}
	})
}

// TestDarknessEndsWhileEventsComeIn has batches and DescribeSecret fail during a
// pass, which then goes on in batches alone.
func TestDarknessEndsWhileEventsComeIn(t *testing.T) {
	refs := secrets(60)
	looking(t, time.Minute, refs, func(l *looker) { putAll(l, refs) }, func(l *looker) {
		l.push(2 * time.Minute)
		l.fault(awslab.Fault{Kind: awslab.Fail, Operation: "BatchGetSecretValue"})
		l.fault(awslab.Fault{Kind: awslab.Fail, Operation: "DescribeSecret"})
		time.Sleep(20 * time.Minute)
		if l.Dark() == nil {
			t.Error("not dark, although DescribeSecret fails")
		}
		l.lab.ClearFaults()
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if err := l.Dark(); err != nil {
			t.Errorf("DescribeSecret works again, and Dark says %v", err)
		}
	})
}

// hanging is the lab, whose DescribeSecret gives no answer once it is told to.
type hanging struct {
	lab *awslab.Lab
	is  atomic.Bool
	n   atomic.Int32 // how often
}

func (h *hanging) RoundTrip(r *http.Request) (*http.Response, error) {
	if h.is.Load() && strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".DescribeSecret") {
		h.n.Add(1)
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	return h.lab.RoundTripper().RoundTrip(r)
}

// TestLooksThatHangTakeNoPlaceOfReads has so many secrets that looks which each
// hang for ten seconds would take all slots.
func TestLooksThatHangTakeNoPlaceOfReads(t *testing.T) {
	refs := secrets(300)
	h := &hanging{}
	looking(t, time.Minute, refs, func(l *looker) {
		putAll(l, refs)
		h.lab = l.lab
		l.regions[0].manager = New(Options{Region: "us-east-1", Transport: h, Sessions: l.keys}).regions[0].manager
	}, func(l *looker) {
		time.Sleep(5 * time.Minute)
		h.is.Store(true)
		time.Sleep(2 * time.Minute)
		h.n.Store(0)
		for range 10 {
			time.Sleep(time.Minute)
			synctest.Wait()
			for _, ref := range refs {
				if age := time.Since(l.Seen(map[string]secret.Ref{"it": ref}, l.shot(ref))); age > 90*time.Second {
					t.Fatalf("%s was last looked at %v ago, want a minute", ref, age)
				}
			}
		}
		if n := h.n.Load(); n > 30 {
			t.Errorf("%d looks in ten minutes, want one in a while", n)
		}
	})
}

// shot returns what is held, without a call.
func (l *looker) shot(ref secret.Ref) secret.Snapshot {
	l.t.Helper()
	shot, err := l.Get(l.t.Context(), map[string]secret.Ref{"it": ref}, time.Time{}, secret.Snapshot{})
	if err != nil {
		l.t.Fatal(err)
	}
	return shot
}

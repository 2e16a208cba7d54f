package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"outrider/secret"
)

// named is a check that is never asked: the tests answer for it.
type named string

func (n named) String() string                       { return string(n) }
func (n named) Verify(context.Context, Trial) Result { return Result{} }

// version is a candidate of one secret.
func version(id string) Versions { return Versions{"db": "arn " + id} }

// epoch is when the stories begin.
func epoch() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

// story plays an app's looks against a ledger, from now on for a while, and
// tells what happens. The answers say what trying each version gives at each
// moment.
type story struct {
	ledger    *Ledger
	situation Situation // what a look finds; Pending and Previous once surveyed
	answer    func(id string, after time.Duration) Verdict
	now       time.Time
	told      []string
}

func (s *story) play(t *testing.T, until time.Duration) {
	t.Helper()
	end := epoch().Add(until)
	for !s.now.After(end) {
		wait := s.look(t)
		if wait.IsZero() {
			return // delivered
		}
		if !wait.After(s.now) {
			t.Fatalf("%s: it waits for a time that has passed", s.now.Sub(epoch()))
		}
		s.now = wait
	}
}

// look is one look; it returns when the next is, or zero after a delivery.
func (s *story) look(t *testing.T) time.Time {
	t.Helper()
	seen := s.situation
	seen.Pending, seen.Previous = nil, nil
	for range 20 {
		step := s.ledger.Next(seen, s.now)
		switch step.Do {
		case Try:
			id := strings.TrimPrefix(seen.versions(step.Candidate)["db"], "arn ")
			verdict := s.answer(id, s.now.Sub(epoch()))
			r := Result{Verdict: verdict}
			if verdict != OK {
				r.Err = errors.New("because")
			}
			s.tell("try %s: %s", step.Candidate, verdict)
			s.ledger.Note(step, r, s.now)
		case Survey:
			s.tell("survey")
			seen = s.situation
			seen.Surveyed = true
		case Deliver:
			s.tell("deliver %s%s", step.Candidate, reason(step))
			s.situation.Delivered = seen.versions(step.Candidate)
			return time.Time{}
		case Wait:
			s.tell("wait %s%s", step.At.Sub(s.now), reason(step))
			return step.At
		}
	}
	t.Fatalf("a look without end: %v", s.told)
	return time.Time{}
}

func (s *story) tell(format string, args ...any) {
	s.told = append(s.told, fmt.Sprintf("%s ", s.now.Sub(epoch()))+fmt.Sprintf(format, args...))
}

// reason is the short form of a step's error, with ! for an alarm.
func reason(step Step) string {
	var s string
	for short, text := range map[string]string{
		"unverified": "delivered unverified", "gap": "under way and waited for", "stuck": "does not end",
		"no rotation": "no rotation is under way", "substitute": "is delivered in its place",
	} {
		if step.Err != nil && strings.Contains(step.Err.Error(), text) {
			s = " (" + short + ")"
		}
	}
	if step.Alarm {
		s += "!"
	}
	return s
}

// answers gives each version the same verdict all the time.
func answers(verdicts map[string]Verdict) func(string, time.Duration) Verdict {
	return func(id string, _ time.Duration) Verdict { return verdicts[id] }
}

// changing gives a version one verdict, and from a moment on another.
func changing(id string, before Verdict, at time.Duration, after Verdict, others map[string]Verdict) func(string, time.Duration) Verdict {
	return func(asked string, now time.Duration) Verdict {
		switch {
		case asked != id:
			return others[asked]
		case now < at:
			return before
		}
		return after
	}
}

func TestWhatIsDelivered(t *testing.T) {
	rule := func(change func(*Rule)) []Rule {
		r := Rule{Check: named("mysql db"), Name: "mysql", Secrets: []string{"db"}}
		if change != nil {
			change(&r)
		}
		return []Rule{r}
	}
	early := rule(func(r *Rule) { r.EarlyPending = true })
	hold := rule(func(r *Rule) { r.Hold = true })
	v1, v2, v3 := version("v1"), version("v2"), version("v3")
	always := func(v1, v2, v3 Verdict) func(string, time.Duration) Verdict {
		return answers(map[string]Verdict{"v1": v1, "v2": v2, "v3": v3})
	}
	// In all stories v1 is what was current last, v2 what is, v3 what is
	// being rotated in.
	tests := []struct {
		name   string
		s      Situation
		answer func(string, time.Duration) Verdict
		until  time.Duration
		want   []string
	}{
		{"before createSecret the current version works and is delivered",
			Situation{Rules: early, Current: v2, Delivered: v1}, always(Wrong, OK, Wrong), 0,
			[]string{"0s try current: ok", "0s deliver current"}},
		{"after createSecret the current version works, and the pending one is not even tried",
			Situation{Rules: early, Current: v2, Delivered: v1, Pending: v3}, always(Wrong, OK, Wrong), 0,
			[]string{"0s try current: ok", "0s deliver current"}},
		{"after setSecret the end of the rotation is waited for",
			Situation{Rules: rule(nil), Current: v2, Delivered: v1, Pending: v3}, always(Wrong, Wrong, OK), 4 * time.Second,
			[]string{"0s try current: wrong", "0s survey", "0s wait 2s (gap)", "2s survey", "2s wait 2s (gap)", "4s survey", "4s wait 2s (gap)"}},
		{"after setSecret the pending version is delivered early where that is allowed",
			Situation{Rules: early, Current: v2, Delivered: v1, Pending: v3}, always(Wrong, Wrong, OK), 0,
			[]string{"0s try current: wrong", "0s survey", "0s try pending: ok", "0s deliver pending (substitute)"}},
		{"after setSecret, at the first start, the previous version is tried as well and does not work",
			Situation{Rules: rule(nil), Current: v2, Pending: v3, Previous: v1}, always(Wrong, Wrong, OK), 2 * time.Second,
			[]string{"0s try current: wrong", "0s survey", "0s try previous: wrong", "0s wait 2s (gap)", "2s survey", "2s wait 2s (gap)"}},
		{"when testSecret fails for good, the version that works is delivered early where that is allowed",
			Situation{Rules: early, Current: v2, Delivered: v1, Pending: v3}, changing("v3", Inconclusive, 20*time.Second, OK, map[string]Verdict{"v2": Wrong}), time.Minute,
			[]string{"0s try current: wrong", "0s survey", "0s try pending: inconclusive", "0s wait 1s (gap)",
				"1s survey", "1s try pending: inconclusive", "1s wait 2s (gap)",
				"3s survey", "3s try pending: inconclusive", "3s wait 2s (gap)", "5s survey", "5s wait 2s (gap)",
				"7s survey", "7s try pending: inconclusive", "7s wait 2s (gap)", "9s survey", "9s wait 2s (gap)", "11s survey", "11s wait 2s (gap)",
				"13s survey", "13s wait 2s (gap)", "15s survey", "15s try pending: inconclusive", "15s wait 2s (gap)",
				"17s survey", "17s wait 2s (gap)", "19s survey", "19s wait 2s (gap)", "21s survey", "21s wait 2s (gap)", "23s survey", "23s wait 2s (gap)",
				"25s survey", "25s wait 2s (gap)", "27s survey", "27s wait 2s (gap)", "29s survey", "29s wait 2s (gap)",
				"31s survey", "31s try pending: ok", "31s deliver pending (substitute)"}},
		{"a refused current version is not logged in with again while a rotation is under way, and after a minute somebody is told",
			Situation{Rules: rule(nil), Current: v2, Delivered: v1, Pending: v3}, always(Wrong, Wrong, Wrong), 2 * time.Minute,
			append(append([]string{"0s try current: wrong"}, gap(0, 58*time.Second)...),
				"1m0s survey", "1m0s wait 30s (stuck)!", "1m30s survey", "1m30s wait 30s (stuck)!", "2m0s survey", "2m0s wait 30s (stuck)!")},
		{"after finishSecret the version that was pending is delivered",
			Situation{Rules: early, Current: v3, Delivered: v2}, always(Wrong, Wrong, OK), 0,
			[]string{"0s try current: ok", "0s deliver current"}},
		{"after finishSecret what was delivered early is not tried again",
			Situation{Rules: early, Current: v3, Delivered: v3}, always(Wrong, Wrong, Wrong), 0,
			[]string{"0s deliver current"}},
		{"what was delivered early stays while the rotation goes on",
			Situation{Rules: early, Current: v2, Delivered: v3, Pending: v3}, always(Wrong, Wrong, OK), 2 * time.Second,
			[]string{"0s try current: wrong", "0s survey", "0s wait 2s (gap)", "2s survey", "2s wait 2s (gap)"}},
		{"a refused version without a rotation is tried again after ever longer pauses, and the delivered one stays",
			Situation{Rules: early, Current: v2, Delivered: v1}, changing("v2", Wrong, 10*time.Minute, OK, nil), time.Hour,
			[]string{"0s try current: wrong", "0s survey", "0s wait 1s (no rotation)!",
				"1s survey", "1s try current: wrong", "1s wait 2s (no rotation)!", "3s survey", "3s try current: wrong", "3s wait 4s (no rotation)!",
				"7s survey", "7s try current: wrong", "7s wait 8s (no rotation)!", "15s survey", "15s try current: wrong", "15s wait 16s (no rotation)!",
				"31s survey", "31s try current: wrong", "31s wait 32s (no rotation)!", "1m3s survey", "1m3s try current: wrong", "1m3s wait 1m4s (no rotation)!",
				"2m7s survey", "2m7s try current: wrong", "2m7s wait 2m8s (no rotation)!", "4m15s survey", "4m15s try current: wrong", "4m15s wait 4m16s (no rotation)!",
				"8m31s survey", "8m31s try current: wrong", "8m31s wait 5m0s (no rotation)!",
				"13m31s survey", "13m31s try current: ok", "13m31s deliver current"}},
		{"a label that moves before the database does is followed when the database has",
			Situation{Rules: rule(nil), Current: v2, Delivered: v1}, changing("v2", Wrong, time.Second, OK, nil), time.Hour,
			[]string{"0s try current: wrong", "0s survey", "0s wait 1s (no rotation)!", "1s survey", "1s try current: ok", "1s deliver current"}},
		{"at the first start a working previous version is delivered in place of a refused one",
			Situation{Rules: rule(nil), Current: v2, Previous: v1}, always(OK, Wrong, Wrong), 0,
			[]string{"0s try current: wrong", "0s survey", "0s try previous: ok", "0s deliver previous (substitute)"}},
		{"at the first start the pending version goes before the previous one",
			Situation{Rules: early, Current: v2, Pending: v3, Previous: v1}, always(OK, Wrong, Wrong), 0,
			[]string{"0s try current: wrong", "0s survey", "0s try pending: wrong", "0s try previous: ok", "0s deliver previous (substitute)"}},
		{"later a previous version is not asked for",
			Situation{Rules: rule(nil), Current: v3, Delivered: v1, Previous: v2}, always(OK, OK, Wrong), 0,
			[]string{"0s try current: wrong", "0s survey", "0s wait 1s (no rotation)!"}},
		{"an inconclusive version is delivered after half a minute",
			Situation{Rules: rule(nil), Current: v2, Delivered: v1, Pending: v3}, always(OK, Inconclusive, OK), time.Hour,
			[]string{"0s try current: inconclusive", "0s wait 1s", "1s try current: inconclusive", "1s wait 2s", "3s try current: inconclusive", "3s wait 4s",
				"7s try current: inconclusive", "7s wait 8s", "15s try current: inconclusive", "15s wait 15s", "30s deliver current (unverified)"}},
		{"an inconclusive version is delivered at once when its login works",
			Situation{Rules: rule(nil), Current: v2, Delivered: v1}, changing("v2", Inconclusive, 2*time.Second, OK, nil), time.Hour,
			[]string{"0s try current: inconclusive", "0s wait 1s", "1s try current: inconclusive", "1s wait 2s", "3s try current: ok", "3s deliver current"}},
		{"with hold an inconclusive version waits, and after half a minute somebody is told",
			Situation{Rules: hold, Current: v2}, changing("v2", Inconclusive, time.Minute, OK, nil), time.Hour,
			[]string{"0s try current: inconclusive", "0s wait 1s", "1s try current: inconclusive", "1s wait 2s", "3s try current: inconclusive", "3s wait 4s",
				"7s try current: inconclusive", "7s wait 8s", "15s try current: inconclusive", "15s wait 16s",
				"31s try current: inconclusive", "31s wait 32s!", "1m3s try current: ok", "1m3s deliver current"}},
		{"a refused version is not delivered because the server is away later",
			Situation{Rules: rule(nil), Current: v2, Delivered: v1}, changing("v2", Wrong, time.Second, Inconclusive, nil), 4 * time.Second,
			[]string{"0s try current: wrong", "0s survey", "0s wait 1s (no rotation)!", "1s survey", "1s try current: inconclusive", "1s wait 2s (no rotation)!",
				"3s survey", "3s try current: inconclusive", "3s wait 4s (no rotation)!"}},
		{"a version that was inconclusive first may still be refused",
			Situation{Rules: rule(nil), Current: v2, Delivered: v1}, changing("v2", Inconclusive, time.Second, Wrong, nil), time.Second,
			[]string{"0s try current: inconclusive", "0s wait 1s", "1s try current: wrong", "1s survey", "1s wait 2s (no rotation)!"}},
		{"without a rule nothing is tried",
			Situation{Current: v2, Delivered: v1}, nil, 0, []string{"0s deliver current"}},
		{"what is delivered is not tried",
			Situation{Rules: rule(nil), Current: v1, Delivered: v1}, nil, 0, []string{"0s deliver current"}},
		{"a label that was moved back is tried like any other",
			Situation{Rules: rule(nil), Current: v1, Delivered: v2}, always(OK, Wrong, Wrong), 0, []string{"0s try current: ok", "0s deliver current"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &story{ledger: &Ledger{}, situation: tt.s, answer: tt.answer, now: epoch()}
			s.play(t, tt.until)
			if diff := cmp.Diff(s.told, tt.want); diff != "" {
				t.Errorf("got -, want +:\n%s", diff)
			}
		})
	}
}

// gap is what is told while a rotation is waited for.
func gap(from, to time.Duration) []string {
	var told []string
	for at := from; at <= to; at += 2 * time.Second {
		told = append(told, fmt.Sprintf("%s survey", at), fmt.Sprintf("%s wait 2s (gap)", at))
	}
	return told
}

func TestVersionsAreTheSameByWhicheverLabelTheyWereRead(t *testing.T) {
	read := func(stage, id string) Versions {
		ref := secret.Ref{ID: "prod/db", Stage: stage}
		return VersionsOf(secret.NewSnapshot(epoch(), map[string]secret.Version{"db": {Ref: ref, ID: id, ARN: "arn"}}))
	}
	if diff := cmp.Diff(read("AWSPENDING", "v3"), read("AWSCURRENT", "v3")); diff != "" {
		t.Errorf("got -, want +:\n%s", diff)
	}
	if diff := cmp.Diff(read("AWSCURRENT", "v2"), version("v2")); diff != "" {
		t.Errorf("got -, want +:\n%s", diff)
	}
}

func TestARotationThatIsUndoneIsFollowedAtOnce(t *testing.T) {
	s := &story{ledger: &Ledger{}, now: epoch(), situation: Situation{
		Rules:   []Rule{{Check: named("mysql db"), Name: "mysql", EarlyPending: true}},
		Current: version("v2"), Delivered: version("v1"), Pending: version("v3"),
	}}
	s.answer = answers(map[string]Verdict{"v2": Wrong, "v3": OK})
	s.look(t)
	s.now = s.now.Add(time.Minute)
	s.answer = answers(map[string]Verdict{"v2": OK, "v3": Wrong})
	s.situation.Pending = nil
	s.look(t)
	want := []string{"0s try current: wrong", "0s survey", "0s try pending: ok", "0s deliver pending (substitute)",
		"1m0s survey", "1m0s try current: ok", "1m0s deliver current"}
	if diff := cmp.Diff(s.told, want); diff != "" {
		t.Errorf("got -, want +:\n%s", diff)
	}
}

func TestNothingIsTriedAgainBeforeItsTimeAfterARestart(t *testing.T) {
	s := &story{ledger: &Ledger{}, now: epoch(), answer: answers(map[string]Verdict{"v2": Wrong}), situation: Situation{
		Rules:   []Rule{{Check: named("mysql db"), Name: "mysql"}},
		Current: version("v2"), Delivered: version("v1"),
	}}
	s.play(t, 10*time.Second)
	before := len(s.told)
	kept, err := json.Marshal(s.ledger.Attempts())
	if err != nil {
		t.Fatal(err)
	}
	var restored map[string]Attempt
	if err := json.Unmarshal(kept, &restored); err != nil {
		t.Fatal(err)
	}
	s.ledger = &Ledger{}
	s.ledger.Restore(restored)
	s.now = epoch().Add(12 * time.Second)
	s.play(t, 15*time.Second)
	want := []string{"12s survey", "12s wait 3s (no rotation)!", "15s survey", "15s try current: wrong", "15s wait 16s (no rotation)!"}
	if diff := cmp.Diff(s.told[before:], want); diff != "" {
		t.Errorf("got -, want +:\n%s", diff)
	}
}

func TestATryThatWasCutOffIsNotRepeatedAtOnce(t *testing.T) {
	l := &Ledger{}
	s := Situation{Rules: []Rule{{Check: named("mysql db"), Name: "mysql"}}, Current: version("v2")}
	if got := l.Next(s, epoch()); got.Do != Try {
		t.Fatalf("got %s, want a try", got.Do)
	}
	for after, want := range map[time.Duration]Action{0: Wait, 9 * time.Second: Wait} {
		if got := l.Next(s, epoch().Add(after)); got.Do != want || got.At != epoch().Add(after+time.Second) {
			t.Errorf("after %s: got %s until %s, want %s for a second", after, got.Do, got.At, want)
		}
	}
	if got := l.Next(s, epoch().Add(10*time.Second)); got.Do != Try {
		t.Errorf("after 10s: got %s, want a try", got.Do)
	}
}

func TestAppsThatShareALedgerTryAVersionOnceBetweenThem(t *testing.T) {
	l := &Ledger{}
	now := epoch()
	for app := range 5 {
		// Each calls the secret by another name.
		name := fmt.Sprintf("secret%d", app)
		s := Situation{
			Rules:   []Rule{{Check: named("mysql"), Name: "mysql", Secrets: []string{name}}},
			Current: Versions{name: "arn v2"}, Delivered: Versions{name: "arn v1"}, Surveyed: true,
		}
		step := l.Next(s, now)
		switch {
		case app == 0 && step.Do == Try:
			l.Note(step, Result{Wrong, errors.New("refused")}, now)
		case app == 0 || step.Do != Wait:
			t.Errorf("app %d: got %s", app, step.Do)
		}
		now = now.Add(time.Millisecond)
	}
	if got := l.Attempts()["mysql\narn v2"].Tries; got != 1 {
		t.Errorf("got %d tries, want 1", got)
	}
}

func TestSeveralRules(t *testing.T) {
	db := Rule{Check: named("mysql db"), Name: "db", Secrets: []string{"db"}}
	queue := Rule{Check: named("run queue"), Name: "queue", Secrets: []string{"queue"}, Hold: true, EarlyPending: true}
	whole := Rule{Check: named("run all"), Name: "all"}
	two := func(db, queue string) Versions { return Versions{"db": db, "queue": queue} }
	// tried answers the rules' tries at the same moment and returns them with
	// what follows.
	tried := func(s Situation, answers map[string]Verdict) (asked []string, last Step) {
		l := &Ledger{}
		for {
			step := l.Next(s, epoch())
			if step.Do != Try {
				return asked, step
			}
			name := s.Rules[step.Rule].Name
			asked = append(asked, name)
			r := Result{Verdict: answers[name]}
			if r.Verdict != OK {
				r.Err = errors.New("because")
			}
			l.Note(step, r, epoch())
		}
	}
	tests := []struct {
		name    string
		s       Situation
		answers map[string]Verdict
		asked   []string
		want    Step
	}{
		{"all are asked, and all must agree",
			Situation{Rules: []Rule{db, queue, whole}, Current: two("2", "2"), Delivered: two("1", "1")},
			map[string]Verdict{"db": OK, "queue": OK, "all": OK}, []string{"db", "queue", "all"}, Step{Do: Deliver, Candidate: Current}},
		{"a secret that has not changed is not tried, though it may be refused by now",
			Situation{Rules: []Rule{db, queue, whole}, Current: two("1", "2"), Delivered: two("1", "1")},
			map[string]Verdict{"db": Wrong, "queue": OK, "all": OK}, []string{"queue", "all"}, Step{Do: Deliver, Candidate: Current}},
		{"after one that is wrong the others are not asked, and its secrets are surveyed",
			Situation{Rules: []Rule{db, queue, whole}, Current: two("2", "2"), Delivered: two("1", "1")},
			map[string]Verdict{"db": Wrong}, []string{"db"}, Step{Do: Survey, Secrets: []string{"db"}}},
		{"a rule about all secrets has all of them surveyed",
			Situation{Rules: []Rule{whole, db}, Current: two("2", "2"), Delivered: two("1", "1")},
			map[string]Verdict{"all": Wrong}, []string{"all"}, Step{Do: Survey}},
		{"one that is wrong outweighs one that is inconclusive",
			Situation{Rules: []Rule{db, queue}, Current: two("2", "2"), Delivered: two("1", "1")},
			map[string]Verdict{"db": Inconclusive, "queue": Wrong}, []string{"db", "queue"}, Step{Do: Survey, Secrets: []string{"queue"}}},
		{"an inconclusive one is waited for, whatever the others say",
			Situation{Rules: []Rule{db, queue}, Current: two("2", "2"), Delivered: two("1", "1")},
			map[string]Verdict{"db": OK, "queue": Inconclusive}, []string{"db", "queue"}, Step{Do: Wait, At: epoch().Add(time.Second)}},
		{"the pending version is not tried when the rule that refuses does not allow it",
			Situation{Rules: []Rule{db, queue}, Current: two("2", "2"), Delivered: two("1", "1"), Surveyed: true, Pending: two("3", "2")},
			map[string]Verdict{"db": Wrong}, []string{"db"}, Step{Do: Wait, At: epoch().Add(2 * time.Second)}},
		{"a pending version must satisfy every rule",
			Situation{Rules: []Rule{queue, whole}, Current: two("1", "2"), Delivered: two("1", "1"), Surveyed: true, Pending: two("1", "3")},
			map[string]Verdict{"queue": Wrong, "all": OK}, []string{"queue", "queue"}, Step{Do: Wait, At: epoch().Add(time.Second)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			asked, got := tried(tt.s, tt.answers)
			got.Err = nil
			if diff := cmp.Diff(asked, tt.asked); diff != "" {
				t.Errorf("asked, got -, want +:\n%s", diff)
			}
			if diff := cmp.Diff(got, tt.want, cmp.AllowUnexported(Step{})); diff != "" {
				t.Errorf("step, got -, want +:\n%s", diff)
			}
		})
	}
}

func TestAClockThatIsSetBackStopsNothing(t *testing.T) {
	l := &Ledger{}
	s := Situation{Rules: []Rule{{Check: named("mysql db"), Name: "mysql"}}, Current: version("v2")}
	later := epoch().Add(100 * time.Hour)
	l.Note(l.Next(s, later), Result{Inconclusive, errors.New("because")}, later)
	step := l.Next(s, epoch())
	if step.Do != Try {
		t.Fatalf("got %s, want a try", step.Do)
	}
	l.Note(step, Result{Inconclusive, errors.New("because")}, epoch())
	if got := l.Next(s, epoch().Add(31*time.Second)).Do; got != Try {
		t.Fatalf("got %s, want a last try", got)
	}
	l.Note(step, Result{Inconclusive, errors.New("because")}, epoch().Add(31*time.Second))
	if got := l.Next(s, epoch().Add(31*time.Second)).Do; got != Deliver {
		t.Errorf("got %s, want it delivered", got)
	}
}

func TestAVerdictIsGoodForFiveMinutes(t *testing.T) {
	s := Situation{Rules: []Rule{{Check: named("mysql db"), Name: "mysql"}}, Current: version("v2")}
	// It could not be committed all the while.
	for after, want := range map[time.Duration]Action{time.Second: Deliver, 299 * time.Second: Deliver, 5 * time.Minute: Try} {
		l := &Ledger{}
		l.Note(l.Next(s, epoch()), Result{Verdict: OK}, epoch())
		if got := l.Next(s, epoch().Add(after)).Do; got != want {
			t.Errorf("after %s: got %s, want %s", after, got, want)
		}
	}
}

func TestAfterASuccessThePausesBeginAnew(t *testing.T) {
	l := &Ledger{}
	s := Situation{Rules: []Rule{{Check: named("mysql db"), Name: "mysql"}}, Current: version("v2"), Surveyed: true}
	now := epoch()
	for _, verdict := range []Verdict{Wrong, Wrong, Wrong, OK, Wrong} {
		now = now.Add(longestPause)
		l.Note(l.Next(s, now), Result{verdict, errors.New("because")}, now)
	}
	if got := l.Next(s, now); got.Do != Wait || got.At.Sub(now) != time.Second {
		t.Errorf("got %s for %s, want it to wait for 1s", got.Do, got.At.Sub(now))
	}
}

func TestTheLedgerForgetsWhatNobodyAsksFor(t *testing.T) {
	l := &Ledger{}
	for n := range 1000 {
		now := epoch().Add(time.Duration(n) * time.Minute)
		s := Situation{Rules: []Rule{{Check: named("mysql db"), Name: "mysql"}}, Current: version(fmt.Sprint(n))}
		l.Note(l.Next(s, now), Result{Verdict: OK}, now)
	}
	if got := len(l.Attempts()); got != 61 {
		t.Errorf("got %d attempts, want those of an hour, 61", got)
	}
}

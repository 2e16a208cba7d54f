package store

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"outrider/awslab"
	"outrider/secret"
)

func parameter(id string) secret.Ref { return secret.Ref{Kind: secret.Parameter, ID: id} }

func putParameter(t *testing.T, lab *awslab.Lab, name, value, kind string) int64 {
	t.Helper()
	n, err := lab.PutParameter(name, value, kind)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestGetReadsParametersOfEveryTypeAndSpelling(t *testing.T) {
	lab, _, s := newLab(t)
	putParameter(t, lab, "/prod/db", "one", awslab.TypeSecureString)
	putParameter(t, lab, "/prod/db", "two", awslab.TypeSecureString)
	putParameter(t, lab, "/prod/db", "three", awslab.TypeSecureString)
	putParameter(t, lab, "plain", "text", awslab.TypeString)
	putParameter(t, lab, "/list", "a,b", awslab.TypeStringList)
	if err := lab.LabelParameter("/prod/db", "live", 2); err != nil {
		t.Fatal(err)
	}
	refs := map[string]secret.Ref{
		"newest": parameter("/prod/db"), "second": parameter("/prod/db:1"), "live": parameter("/prod/db:live"),
		"plain": parameter("plain"), "list": parameter("/list"),
		"arn":     parameter("arn:aws:ssm:us-east-1:" + account(lab) + ":parameter/prod/db"),
		"arnlive": parameter("arn:aws:ssm:us-east-1:" + account(lab) + ":parameter/prod/db:live"),
	}
	got, err := get(t, s, refs)
	want := map[string]string{
		"newest": "three", "second": "one", "live": "two", "plain": "text", "list": "a,b", "arn": "three", "arnlive": "two",
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("Get: %v (-want +got):\n%s", err, diff)
	}
	if calls := lab.Calls()["ssm.GetParameters"]; calls != 2 {
		t.Errorf("%d calls for seven names and a second look, want two", calls)
	}
	shot, err := s.Get(t.Context(), refs, time.Time{}, secret.Snapshot{})
	if v, _ := shot.Get("live"); err != nil || v.ID != "2" || !strings.HasSuffix(v.ARN, ":parameter/prod/db") || v.Created.IsZero() || v.Region != "us-east-1" {
		t.Errorf("%v: version %+v lacks something", err, v)
	}
}

func account(lab *awslab.Lab) string { return lab.Setup().Account }

func TestGetNamesEachParameterThatIsNotThere(t *testing.T) {
	lab, _, s := newLab(t)
	putParameter(t, lab, "/a", "1", awslab.TypeString)
	_, err := get(t, s, map[string]secret.Ref{"a": parameter("/a"), "b": parameter("/b"), "c": parameter("/a:9"), "d": {Kind: secret.Parameters, ID: "/none/"}})
	if err == nil {
		t.Fatal("no error for parameters that are not there")
	}
	lines := strings.Split(err.Error(), "\n")
	for i, want := range []string{"parameter /b: ParameterNotFound: ", "parameter /a:9: ParameterNotFound: ", "parameters /none/: ParameterNotFound: "} {
		if len(lines) != 3 || !strings.HasPrefix(lines[i], want) || !strings.Contains(lines[i], "check the name") {
			t.Errorf("line %d of %q, want %q and the remedy", i, lines, want)
		}
	}
}

func TestPathIsReadPageByPage(t *testing.T) {
	for _, short := range []bool{false, true} {
		lab, _, s := newLab(t)
		lab.SetShortPages(short)
		want := map[string]string{}
		for i := range 25 {
			name := fmt.Sprintf("p%02d", i)
			putParameter(t, lab, "/app/"+name, name, awslab.TypeSecureString)
			want[name] = name
		}
		putParameter(t, lab, "/app/deep/er", "down", awslab.TypeString)
		putParameter(t, lab, "/application", "beside", awslab.TypeString)
		refs := map[string]secret.Ref{
			"flat": {Kind: secret.Parameters, ID: "/app/"}, "deep": {Kind: secret.Parameters, ID: "/app", Recursive: true},
		}
		shot, err := s.Get(t.Context(), refs, time.Now(), secret.Snapshot{})
		if err != nil {
			t.Fatal(err)
		}
		flat, _ := shot.Get("flat")
		deep, _ := shot.Get("deep")
		if diff := cmp.Diff(want, values(flat.Below)); diff != "" {
			t.Errorf("short pages %v: (-want +got):\n%s", short, diff)
		}
		want["deep/er"] = "down"
		if diff := cmp.Diff(want, values(deep.Below)); diff != "" {
			t.Errorf("short pages %v, the whole tree: (-want +got):\n%s", short, diff)
		}
		again, err := s.Get(t.Context(), refs, time.Now(), secret.Snapshot{})
		if err != nil || !again.SameVersions(shot) {
			t.Errorf("%v: the version of a path is another although nothing changed", err)
		}
		putParameter(t, lab, "/app/p07", "new", awslab.TypeSecureString)
		again, err = s.Get(t.Context(), refs, time.Now(), shot)
		if v, _ := again.Get("flat"); err != nil || v.ID == flat.ID || values(v.Below)["p07"] != "new" {
			t.Errorf("%v: a change below a path does not show", err)
		}
	}
}

func values(below map[string]secret.Version) map[string]string {
	all := map[string]string{}
	for name, v := range below {
		all[name] = string(v.Value.Reveal())
	}
	return all
}

func parameters(n int) []secret.Ref {
	refs := make([]secret.Ref, n)
	for i := range refs {
		refs[i] = parameter(fmt.Sprintf("/p/%d", i))
	}
	return refs
}

func putParameters(l *looker, refs []secret.Ref) {
	for _, r := range refs {
		putParameter(l.t, l.lab, r.ID, "0", awslab.TypeString)
	}
}

func TestParametersArePolledInTens(t *testing.T) {
	for _, tc := range []struct{ parameters, calls int }{{1, 1}, {10, 1}, {15, 2}, {30, 3}} {
		refs := parameters(tc.parameters)
		looking(t, 5*time.Minute, refs, func(l *looker) { putParameters(l, refs) }, func(l *looker) {
			time.Sleep(time.Hour)
			calls := l.over(12 * time.Hour)
			got, want := calls["ssm.GetParameters"], 144*tc.calls
			if len(calls) != 1 || got < want*94/100 || got > want*106/100 {
				l.t.Errorf("%d parameters: %v in twelve hours, want %d calls", tc.parameters, calls, want)
			}
			// An outage takes the ten apart; they find together again.
			l.fault(awslab.Fault{Kind: awslab.Drop, Service: "ssm"})
			time.Sleep(time.Hour)
			l.lab.ClearFaults()
			time.Sleep(time.Hour)
			if got := l.over(12 * time.Hour)["ssm.GetParameters"]; got > want*125/100 {
				l.t.Errorf("%d parameters: %d calls in the twelve hours after an outage, want about %d", tc.parameters, got, want)
			}
			putParameter(l.t, l.lab, refs[0].ID, "1", awslab.TypeString)
			time.Sleep(6*time.Minute + time.Second)
			if l.held(refs[0]) != "1" || l.newsOf() < 1 {
				l.t.Error("the new value is not held")
			}
		})
	}
}

func TestOneDeniedParameterDoesNotTakeTheOthersAlong(t *testing.T) {
	refs := parameters(10)
	const denied = "GetParameters /p/3"
	looking(t, time.Minute, refs, func(l *looker) {
		putParameters(l, refs)
		l.deny(denied)
	}, func(l *looker) {
		for i, r := range refs {
			_, err := l.Get(l.t.Context(), map[string]secret.Ref{"it": r}, time.Time{}, secret.Snapshot{})
			if (err != nil) != (i == 3) {
				l.t.Errorf("%v: %v", r, err)
			}
			if err != nil && !strings.Contains(err.Error(), "allow ssm:GetParameters on it to the role") {
				l.t.Errorf("%v lacks its remedy", err)
			}
		}
		time.Sleep(10 * time.Minute)
		calls := l.over(time.Hour)["ssm.GetParameters"]
		if calls < 55 || calls > 66 || l.askedFor(denied) > 200 {
			l.t.Errorf("%d calls in an hour for the nine others, and %d for the denied one in all; want 60 and two or so a minute", calls, l.askedFor(denied))
		}
		l.deny()
		time.Sleep(10 * time.Minute)
		if calls := l.over(time.Hour)["ssm.GetParameters"]; calls < 55 || calls > 75 || l.held(refs[3]) != "0" {
			l.t.Errorf("%d calls in an hour after it was allowed, want 60", calls)
		}
	})
}

func TestLowerNumberIsBelievedOnlyWhenSeenTwice(t *testing.T) {
	held := secret.Version{Ref: parameter("/p"), ID: "10", ARN: "arn"}
	path := func(versions ...string) secret.Version {
		below := map[string]secret.Version{}
		for i, id := range versions {
			if id != "" {
				below[fmt.Sprint(i)] = secret.Version{ID: id}
			}
		}
		return ofPath(secret.Ref{Kind: secret.Parameters, ID: "/p"}, "us-east-1", below)
	}
	for _, tc := range []struct {
		name      string
		held, now secret.Version
		want      bool
	}{
		{"a lower number", held, secret.Version{Ref: held.Ref, ID: "9", ARN: "arn"}, true},
		{"a higher number of more digits", secret.Version{Ref: held.Ref, ID: "9", ARN: "arn"}, held, false},
		{"nothing is held", secret.Version{}, held, false},
		{"a path with a lower number", path("3", "4"), path("3", "2"), true},
		{"a path with a parameter less", path("3", "4"), path("3"), true},
		{"a path with a parameter more", path("3"), path("3", "1"), false},
		{"a path with a higher number", path("3", "4"), path("3", "5"), false},
	} {
		if got := older(tc.now, tc.held); got != tc.want {
			t.Errorf("%s is older: %v, want %v", tc.name, got, tc.want)
		}
	}
	e := &entry{ref: held.Ref, held: held}
	now := time.Now()
	lower := secret.Version{Ref: held.Ref, ID: "9", ARN: "arn"}
	for i, step := range []struct {
		v    secret.Version
		at   time.Duration
		own  bool
		want string
	}{
		{lower, 0, true, "10"},
		{lower, 500 * time.Millisecond, true, "10"},
		{held, 600 * time.Millisecond, true, "10"},   // a newer sight clears the doubt
		{lower, 1700 * time.Millisecond, true, "10"}, // so that this is the first again
		{lower, 3 * time.Second, false, "10"},        // a copy elsewhere says nothing
		{lower, 4 * time.Second, true, "9"},
	} {
		e.believe(step.v, now.Add(step.at), step.own)
		if e.held.ID != step.want {
			t.Errorf("step %d: version %s is held, want %s", i, e.held.ID, step.want)
		}
	}
}

func TestLowerNumberOfAnEarlierDateIsNeverBelieved(t *testing.T) {
	now := time.Now()
	at := func(id, number string, age time.Duration) secret.Version {
		return secret.Version{Ref: parameter(id), ID: number, ARN: "arn", Created: now.Add(-age)}
	}
	path := func(v secret.Version) secret.Version {
		return ofPath(secret.Ref{Kind: secret.Parameters, ID: "/"}, "us-east-1", map[string]secret.Version{"p": v})
	}
	for _, tc := range []struct {
		name       string
		held, late secret.Version
		believed   bool
	}{
		{"a parameter", at("/p", "10", time.Hour), at("/p", "9", 2*time.Hour), false},
		{"a parameter made anew", at("/p", "10", time.Hour), at("/p", "1", 0), true},
		{"a label, which moves back", at("/p:gold", "10", time.Hour), at("/p:gold", "9", 2*time.Hour), true},
		{"a path", path(at("/p", "10", time.Hour)), path(at("/p", "9", 2*time.Hour)), false},
		{"a path with a parameter made anew", path(at("/p", "10", time.Hour)), path(at("/p", "1", 0)), true},
	} {
		e := &entry{ref: tc.held.Ref, held: tc.held}
		for i := range 5 {
			e.believe(tc.late, now.Add(time.Duration(i)*time.Minute), true)
		}
		if got := e.held.ID == tc.late.ID; got != tc.believed {
			t.Errorf("%s: believed %v, want %v", tc.name, got, tc.believed)
		}
	}
}

func TestHintOfAParameterIsReadAgainWhileItsDateIsOlder(t *testing.T) {
	refs := []secret.Ref{parameter("/p/0"), {Kind: secret.Parameters, ID: "/p"}}
	looking(t, time.Hour, refs, func(l *looker) { putParameters(l, refs[:1]) }, func(l *looker) {
		time.Sleep(time.Minute)
		l.lab.SetStaleness(2 * time.Second)
		l.lab.ResetCalls()
		putParameter(l.t, l.lab, "/p/0", "1", awslab.TypeString)
		l.Hinted(refs, Hint{ID: "/p/0", Parameter: true, At: time.Now().Truncate(time.Second)})(l.t.Context())
		if l.held(refs[0]) != "1" {
			l.t.Error("stale reads are believed over the date of the event")
		}
		shot, err := l.Get(l.t.Context(), map[string]secret.Ref{"it": refs[1]}, time.Time{}, secret.Snapshot{})
		if v, _ := shot.Get("it"); err != nil || values(v.Below)["0"] != "1" {
			l.t.Errorf("%v: the path does not hold the new value", err)
		}
		l.lab.SetStaleness(0)
		l.lab.ResetCalls()
		l.Hinted(refs[:1], Hint{ID: "/p/0", Parameter: true})(l.t.Context())
		if calls := l.lab.Calls()["ssm.GetParameters"]; calls != 1 {
			l.t.Errorf("%d calls for an event without a date, want one", calls)
		}
	})
}

func TestParameterMadeAnewUnderTheSameNumberIsNews(t *testing.T) {
	refs := parameters(1)
	looking(t, time.Minute, refs, func(l *looker) { putParameters(l, refs) }, func(l *looker) {
		time.Sleep(10 * time.Minute)
		l.lab.DeleteParameter(refs[0].ID)
		putParameter(l.t, l.lab, refs[0].ID, "1", awslab.TypeString)
		time.Sleep(2 * time.Minute)
		if l.held(refs[0]) != "1" || l.newsOf() != 1 {
			l.t.Errorf("news %d times, want once, and the new value held", l.newsOf())
		}
	})
}

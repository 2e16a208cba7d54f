package store

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"

	"outrider/awslab"
	"outrider/secret"
)

// keys hands out the lab's own keys, at first under a wrong secret if told to.
type keys struct {
	setup awslab.Setup

	mu    sync.Mutex
	wrong int // how many to hand out that AWS refuses
	spent int
}

func (k *keys) Retrieve(context.Context) (aws.Credentials, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c := aws.Credentials{AccessKeyID: k.setup.AccessKeyID, SecretAccessKey: k.setup.SecretAccessKey}
	if k.wrong > 0 {
		k.wrong--
		c.SessionToken = "spent"
	}
	return c, nil
}

func (k *keys) Spent(aws.Credentials) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.spent++
}

func newLab(t *testing.T) (*awslab.Lab, *keys, *Store) {
	t.Helper()
	lab, err := awslab.New(awslab.Options{})
	if err != nil {
		t.Fatal(err)
	}
	k := &keys{setup: lab.Setup()}
	return lab, k, New(Options{Region: lab.Setup().Region, Transport: lab.RoundTripper(), Sessions: k})
}

func put(t *testing.T, lab *awslab.Lab, name, value string, stages ...string) string {
	t.Helper()
	id, err := lab.PutSecret(name, value, stages...)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func ref(id string) secret.Ref { return secret.Ref{ID: id, Stage: secret.Current} }

// get reads and returns the values by name.
func get(t *testing.T, s *Store, refs map[string]secret.Ref) (map[string]string, error) {
	t.Helper()
	shot, err := s.Get(t.Context(), refs, time.Now(), secret.Snapshot{})
	values := map[string]string{}
	for _, name := range shot.Names() {
		v, _ := shot.Get(name)
		values[name] = string(v.Value.Reveal())
	}
	return values, err
}

func TestGetReadsStagesVersionsAndBytes(t *testing.T) {
	lab, _, s := newLab(t)
	first := put(t, lab, "db", "one")
	put(t, lab, "db", "two")
	put(t, lab, "db", "three", "AWSPENDING")
	if _, err := lab.PutSecretBinary("raw", []byte{0, 0xff}); err != nil {
		t.Fatal(err)
	}
	arn := ""
	if shot, err := s.Get(t.Context(), map[string]secret.Ref{"db": ref("db")}, time.Now(), secret.Snapshot{}); err == nil {
		v, _ := shot.Get("db")
		arn = v.ARN
		if v.ID == "" || v.Region != "us-east-1" || v.Created.IsZero() || v.Binary {
			t.Errorf("version %+v lacks something", v)
		}
	}
	got, err := get(t, s, map[string]secret.Ref{
		"current":  ref("db"),
		"arn":      ref(arn),
		"pending":  {ID: "db", Stage: "AWSPENDING"},
		"previous": {ID: "db", Stage: "AWSPREVIOUS"},
		"pinned":   {ID: "db", VersionID: first},
		"raw":      ref("raw"),
	})
	want := map[string]string{"current": "two", "arn": "two", "pending": "three", "previous": "one", "pinned": "one", "raw": "\x00\xff"}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("Get: %v (-want +got):\n%s", err, diff)
	}
}

func TestGetNamesEachReferenceThatFailed(t *testing.T) {
	lab, _, s := newLab(t)
	put(t, lab, "good", "1")
	put(t, lab, "gone", "2")
	lab.DeleteSecret("gone")
	_, err := get(t, s, map[string]secret.Ref{"good": ref("good"), "gone": ref("gone"), "stage": {ID: "good", Stage: "nosuch"}})
	if err == nil {
		t.Fatal("no error for a secret that is gone")
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != 2 ||
		!strings.HasPrefix(lines[0], "secret gone: ResourceNotFoundException: ") ||
		!strings.HasPrefix(lines[1], "secret good (nosuch): ResourceNotFoundException: ") || !strings.Contains(lines[1], "request id ") {
		t.Errorf("got %q", lines)
	}
	var e *Error
	if !errors.As(err, &e) || e.Code != "ResourceNotFoundException" {
		t.Errorf("no *Error in %v", err)
	}
}

func TestGetReplacesARefusedSessionOnceForEachCall(t *testing.T) {
	lab, k, s := newLab(t)
	put(t, lab, "db", "one")
	k.wrong = 1
	if got, err := get(t, s, map[string]secret.Ref{"db": ref("db")}); err != nil || got["db"] != "one" || k.spent != 1 {
		t.Errorf("one refusal: %v, %d sessions spent; want the value and one", err, k.spent)
	}
	k.wrong = 5
	_, err := get(t, s, map[string]secret.Ref{"db": ref("db")})
	if err == nil || !strings.Contains(err.Error(), "UnrecognizedClientException") || k.spent != 2 {
		t.Errorf("refusals without end: %v, %d sessions spent; want the error, and one more", err, k.spent)
	}
}

func TestGetCorrectsAClockThatIsOff(t *testing.T) {
	for _, skew := range []time.Duration{time.Hour, -time.Hour} {
		lab, k, s := newLab(t)
		put(t, lab, "db", "one")
		lab.SetSkew(skew)
		if got, err := get(t, s, map[string]secret.Ref{"db": ref("db")}); err != nil || got["db"] != "one" || k.spent != 0 {
			t.Errorf("skew %v: %v, %d sessions spent; want the value, and none", skew, err, k.spent)
		}
	}
}

// mover moves a version each time that a secret is read, for a while.
type mover struct {
	lab   *awslab.Lab
	mu    sync.Mutex
	left  int
	moved int
}

func (m *mover) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := m.lab.RoundTripper().RoundTrip(r)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.left > 0 {
		m.left--
		m.moved++
		_, putErr := m.lab.PutSecret("b", fmt.Sprint(m.moved))
		err = errors.Join(err, putErr)
	}
	return res, err
}

func TestGetTakesTheSnapshotAnewWhenAVersionMoved(t *testing.T) {
	for _, tc := range []struct {
		moves int
		fails bool
	}{{0, false}, {1, false}, {4, false}, {100, true}} {
		lab, k, _ := newLab(t)
		put(t, lab, "a", "x")
		put(t, lab, "b", "0")
		m := &mover{lab: lab, left: tc.moves}
		s := New(Options{Region: "us-east-1", Transport: m, Sessions: k})
		got, err := get(t, s, map[string]secret.Ref{"a": ref("a"), "b": ref("b")})
		if tc.fails {
			if err == nil || !strings.Contains(err.Error(), "a version moved") {
				t.Errorf("%d moves: %v, want an error that says so", tc.moves, err)
			}
			continue
		}
		if want := fmt.Sprint(tc.moves); err != nil || got["b"] != want {
			t.Errorf("%d moves: %v, want the newest version", tc.moves, err)
		}
	}
}

func TestGetSharesWhatIsReadAtTheSameTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lab, err := awslab.New(awslab.Options{Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		k := &keys{setup: lab.Setup()}
		s := New(Options{Region: "us-east-1", Transport: lab.RoundTripper(), Sessions: k})
		put(t, lab, "db", "one")
		if err := lab.AddFault(awslab.Fault{Kind: awslab.Delay, Delay: time.Second}); err != nil {
			t.Fatal(err)
		}
		asOf := time.Now()
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				if _, err := s.Get(t.Context(), map[string]secret.Ref{"db": ref("db")}, asOf, secret.Snapshot{}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if got := lab.Calls()["secretsmanager.GetSecretValue"]; got != 1 {
			t.Errorf("fifty at once made %d reads, want 1", got)
		}
		put(t, lab, "db", "two")
		if got, err := get(t, s, map[string]secret.Ref{"db": ref("db")}); err != nil || got["db"] != "two" {
			t.Errorf("a later Get got an earlier read: %v", err)
		}
	})
}

func TestGetIsCalledOffWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lab, err := awslab.New(awslab.Options{Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		s := New(Options{Region: "us-east-1", Transport: lab.RoundTripper(), Sessions: &keys{setup: lab.Setup()}})
		put(t, lab, "db", "one")
		if err := lab.AddFault(awslab.Fault{Kind: awslab.Hang}); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_, err = s.Get(t.Context(), map[string]secret.Ref{"db": ref("db")}, began, secret.Snapshot{})
		if err == nil || time.Since(began) != 10*time.Second || !strings.Contains(err.Error(), "no answer in time") {
			t.Errorf("a call that hangs: %v after %v, want its timeout", err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began = time.Now()
		if _, err := s.Get(ctx, map[string]secret.Ref{"db": ref("db")}, began, secret.Snapshot{}); err == nil || time.Since(began) != time.Second {
			t.Errorf("Get = %v after %v, want the end of its context", err, time.Since(began))
		}
	})
}

// script answers everything with one answer.
type script struct {
	status int
	kind   string
	body   string
}

func (s script) RoundTrip(r *http.Request) (*http.Response, error) {
	recorder := &http.Response{
		StatusCode: s.status, Header: http.Header{"Content-Type": {s.kind}, "Location": {"http://portal.example/"}},
		Body: http.NoBody, Request: r,
	}
	if s.body != "" {
		recorder.Body = readCloser{strings.NewReader(s.body)}
	}
	return recorder, nil
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }

func TestGetTellsWrongAnswersWithoutQuotingThem(t *testing.T) {
	const canary = "CANARY-77aa"
	for _, tc := range []struct {
		name   string
		answer script
		want   string
	}{
		{"a captive portal's page", script{200, "text/html", "<html>" + canary}, "not Secrets Manager's JSON"},
		{"a redirect, which is not followed", script{302, "text/html", canary}, "secret db: "},
		{"an answer that is a bare string", script{200, "application/x-amz-json-1.1", `"` + canary + `"`}, "not Secrets Manager's JSON"},
		{"an answer without a value", script{200, "application/x-amz-json-1.1", `{"VersionId":"v","Name":"` + canary + `"}`}, "the answer holds no value"},
		{"an answer without a version", script{200, "application/x-amz-json-1.1", `{"SecretString":"` + canary + `"}`}, "the answer holds no version id"},
	} {
		s := New(Options{Region: "us-east-1", Transport: tc.answer, Sessions: &keys{setup: awslab.Setup{AccessKeyID: "AKIA", SecretAccessKey: "x"}}})
		_, err := get(t, s, map[string]secret.Ref{"db": ref("db")})
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
			continue
		}
		if strings.Contains(fmt.Sprintf("%v %+v", err, err), canary) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: the error quotes the answer", tc.name)
		}
	}
}

func TestBeginLeavesAReadUnderWayAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lab, err := awslab.New(awslab.Options{Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		s := New(Options{Region: "us-east-1", Transport: lab.RoundTripper(), Sessions: &keys{setup: lab.Setup()}})
		put(t, lab, "db", "one")
		if err := lab.AddFault(awslab.Fault{Kind: awslab.Hang}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for range 8 {
			carryOut := s.Begin([]secret.Ref{ref("db")})
			all.Go(func() { carryOut(ctx) })
			time.Sleep(time.Second)
		}
		if got := lab.Calls()["secretsmanager.GetSecretValue"]; got != 1 {
			t.Errorf("%d reads of a secret that hangs, want one at a time", got)
		}
		cancel()
		all.Wait()
	})
}

// TestGetNeverTakesAReadForEndedThatIsNot has many readers of one secret that
// always fails: whatever one of them begins, no other may take for a value.
func TestGetNeverTakesAReadForEndedThatIsNot(t *testing.T) {
	lab, _, s := newLab(t)
	put(t, lab, "db", "one")
	if err := lab.AddFault(awslab.Fault{Kind: awslab.Fail}); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 300 {
				shot, err := s.Get(t.Context(), map[string]secret.Ref{"db": ref("db")}, time.Now(), secret.Snapshot{})
				if err == nil {
					v, _ := shot.Get("db")
					t.Errorf("a value of %d bytes, version %q, out of nothing but failures", v.Value.Len(), v.ID)
					return
				}
			}
		})
	}
	all.Wait()
}

func TestBatchThatIsRefusedAsAWholeIsReadSingly(t *testing.T) {
	for _, code := range []string{"UnknownOperationException", "DecryptionFailure", "InvalidParameterException"} {
		lab, _, s := newLab(t)
		put(t, lab, "a", "1")
		put(t, lab, "b", "2")
		if err := lab.AddFault(awslab.Fault{Kind: awslab.Fail, Operation: "BatchGetSecretValue", Status: 400, Code: code}); err != nil {
			t.Fatal(err)
		}
		got, err := get(t, s, map[string]secret.Ref{"a": ref("a"), "b": ref("b")})
		if err != nil || len(got) != 2 {
			t.Errorf("%s: %d values, %v", code, len(got), err)
		}
	}
}

func TestGetSurvivesAPlanThatForgetsWhatItReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lab, err := awslab.New(awslab.Options{Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		put(t, lab, "a", "1")
		way := &slow{lab.RoundTripper(), time.Second}
		s := New(Options{Region: "us-east-1", Transport: way, Sessions: &keys{setup: lab.Setup()}})
		var read sync.WaitGroup
		read.Go(func() {
			shot, err := s.Get(t.Context(), map[string]secret.Ref{"it": ref("a")}, time.Now(), secret.Snapshot{})
			if v, _ := shot.Get("it"); err == nil && string(v.Value.Reveal()) != "1" {
				t.Error("neither the value nor an error")
			}
		})
		synctest.Wait()
		s.Plan(nil, time.Minute)
		read.Wait()
	})
}

package agent

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"outrider/awslab"
	"outrider/internal/config"
	"outrider/secret"
	"outrider/serve"
)

// queueName is the queue that the tests' lab feeds.
const queueName = "outrider-web-01"

// queued is a configuration whose changes come through a queue of the lab, in
// that form. Nothing else would bring them within a test's time.
func (h *house) queued(form awslab.EventForm, apps ...config.App) *config.Config {
	h.t.Helper()
	path, err := h.lab.CreateQueue(queueName)
	if err == nil {
		err = h.lab.Subscribe(queueName, form)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	c := h.config(24*time.Hour, apps...)
	host := "https://sqs." + h.setup.Region + ".amazonaws.com"
	c.Watch.Queue, c.Watch.Role = host+path, "role"
	c.Watch.Place = config.QueuePlace{Region: h.setup.Region, Account: h.setup.Account, Endpoint: host}
	return c
}

// await waits for an app's file to hold a text, in a bubble.
func (h *house) await(app, text string, within time.Duration) {
	h.t.Helper()
	for end := time.Now().Add(within); h.read(app) != text; {
		if !time.Now().Before(end) {
			h.t.Fatalf("%s is not %q within %s", app, text, within)
		}
		time.Sleep(time.Millisecond)
	}
}

// emptied fails the test unless the queue holds nothing.
func (h *house) emptied() {
	h.t.Helper()
	synctest.Wait()
	if left := h.lab.Messages(queueName); len(left) > 0 {
		h.t.Errorf("%d messages are left, the first: %s", len(left), left[0])
	}
}

func TestAnEventBringsAChangeWithoutAPoll(t *testing.T) {
	for name, form := range map[string]awslab.EventForm{
		"native":             {},
		"through SNS":        {SNS: true},
		"CloudTrail's":       {NoNative: true},
		"CloudTrail's, SNS":  {NoNative: true, SNS: true},
		"each change in two": {CloudTrail: true},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, h *house) {
				h.put("a", "0")
				a := h.agent(h.queued(form, h.app("one", "a")))
				stop := h.run(a)
				defer stop()
				h.await("one", "0\n", time.Second)
				for i := range 5 {
					time.Sleep(time.Minute)
					value := h.put("a", fmt.Sprint(i+1))
					h.await("one", value+"\n", 10*time.Millisecond)
				}
				h.emptied()
				if w := a.Status(serve.Self()).Watch; w.State != serve.Receiving || w.Error != "" || time.Since(*w.LastMessage) > time.Second {
					t.Errorf("watch is %+v", w)
				}
			})
		})
	}
}

func TestAnEventBringsAParameterAndOneBelowAPath(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		put := func(name, value string) {
			t.Helper()
			if _, err := h.lab.PutParameter(name, value, "SecureString"); err != nil {
				t.Fatal(err)
			}
		}
		put("/prod/smtp", "0")
		put("/prod/flags/a/b", "0")
		one, two, green := h.app("one"), h.app("two"), h.app("green")
		one.Secrets["p"] = secret.Ref{Kind: secret.Parameter, ID: "/prod/smtp"}
		one.Files[0].Text = "{{ .p }}\n"
		two.Secrets["p"] = secret.Ref{Kind: secret.Parameters, ID: "/prod/flags/", Recursive: true}
		two.Files[0].Text = "{{ index .p \"a/b\" }}\n"
		green.Secrets["p"] = secret.Ref{Kind: secret.Parameter, ID: "/prod/smtp:green"}
		green.Files[0].Text = "{{ .p }}\n"
		label := func(version int64) {
			t.Helper()
			if err := h.lab.LabelParameter("/prod/smtp", "green", version); err != nil {
				t.Fatal(err)
			}
		}
		label(1)
		stop := h.run(h.agent(h.queued(awslab.EventForm{}, one, two, green)))
		defer stop()
		for _, app := range []string{"one", "two", "green"} {
			h.await(app, "0\n", time.Second)
		}
		time.Sleep(time.Minute)
		put("/prod/smtp", "1")
		h.await("one", "1\n", 10*time.Millisecond)
		time.Sleep(time.Minute)
		put("/prod/flags/a/b", "1")
		h.await("two", "1\n", 10*time.Millisecond)
		time.Sleep(time.Minute)
		if h.read("green") != "0\n" {
			t.Error("a label moved by itself")
		}
		label(2)
		h.await("green", "1\n", 10*time.Millisecond)
		h.emptied()
	})
}

func TestAnEventIsBelievedOverAReadThatLags(t *testing.T) {
	bubble(t, func(_ *testing.T, h *house) {
		h.put("a", "0")
		stop := h.run(h.agent(h.queued(awslab.EventForm{}, h.app("one", "a"))))
		defer stop()
		h.await("one", "0\n", time.Second)
		h.lab.SetStaleness(2 * time.Second)
		for i := range 10 {
			time.Sleep(10 * time.Minute)
			value := h.put("a", fmt.Sprint(i+1))
			h.await("one", value+"\n", 5*time.Second)
			time.Sleep(time.Minute)
			h.await("one", value+"\n", 0)
		}
		h.emptied()
	})
}

func TestALabelOfAParameterIsFollowedThoughTheReadLags(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		for _, v := range []string{"0", "1"} {
			if _, err := h.lab.PutParameter("/p", v, awslab.TypeSecureString); err != nil {
				t.Fatal(err)
			}
		}
		if err := h.lab.LabelParameter("/p", "green", 1); err != nil {
			t.Fatal(err)
		}
		one := h.app("one")
		one.Secrets["p"] = secret.Ref{Kind: secret.Parameter, ID: "/p:green"}
		one.Files[0].Text = "{{ .p }}\n"
		stop := h.run(h.agent(h.queued(awslab.EventForm{}, one)))
		defer stop()
		h.await("one", "0\n", time.Second)
		time.Sleep(time.Minute)
		h.lab.SetStaleness(2 * time.Second)
		if err := h.lab.LabelParameter("/p", "green", 2); err != nil { // the event says neither version nor date
			t.Fatal(err)
		}
		h.await("one", "1\n", 15*time.Second)
	})
}

func TestAnEventConcernsTheRoleThatReads(t *testing.T) {
	r := &role{Role: config.Role{
		Region: "eu-west-1", Role: "arn:aws:iam::111122223333:role/a",
		Fallback: []config.Fallback{{Region: "eu-west-3"}},
	}}
	chained := &role{Role: config.Role{
		Region: "eu-west-1", Role: "arn:aws:iam::111122223333:role/a",
		Assume: []string{"arn:aws:iam::222233334444:role/b", "arn:aws:iam::333344445555:role/c"},
	}, refs: []secret.Ref{{ID: "arn:aws:secretsmanager:us-east-1:444455556666:secret:x-a1b2c3"}}}
	for name, tc := range map[string]struct {
		role            *role
		region, account string
		want            bool
	}{
		"its own account and region":     {r, "eu-west-1", "111122223333", true},
		"its fallback":                   {r, "eu-west-3", "111122223333", true},
		"another region":                 {r, "us-east-1", "111122223333", false},
		"another account":                {r, "eu-west-1", "444455556666", false},
		"the account that it goes on to": {chained, "eu-west-1", "333344445555", true},
		"but not that of the first role": {chained, "eu-west-1", "111122223333", false},
		"the place of an ARN":            {chained, "us-east-1", "444455556666", true},
		"but not that account elsewhere": {chained, "eu-west-1", "444455556666", false},
		"nowhere":                        {chained, "", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tc.role.reads(tc.region, tc.account); got != tc.want {
				t.Errorf("reads(%s, %s) = %v", tc.region, tc.account, got)
			}
		})
	}
}

func TestARoleInAnotherAccountThanTheQueueGoesOnLooking(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("a", "0")
		c := h.queued(awslab.EventForm{}, h.app("one", "a"))
		c.Watch.Interval = time.Minute
		c.Watch.Place.Account = "999999999999"
		stop := h.run(h.agent(c))
		defer stop()
		time.Sleep(time.Minute)
		h.lab.ResetCalls()
		time.Sleep(time.Hour)
		if got := h.lab.Calls()["secretsmanager.DescribeSecret"]; got < 55 {
			t.Errorf("%d looks in an hour at an interval of a minute", got)
		}
		value := h.put("a", "1")
		h.await("one", value+"\n", 10*time.Millisecond) // what comes through the queue counts all the same
	})
}

func TestMessagesThatAreNoEventsDoNoHarmAndAreDeleted(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("a", "0")
		h.put("b", "0")
		stop := h.run(h.agent(h.queued(awslab.EventForm{}, h.app("one", "a"))))
		defer stop()
		h.await("one", "0\n", time.Second)
		time.Sleep(time.Minute)
		h.lab.ResetCalls()
		foreign := `{"detail-type":"Secret Label Updated","source":"aws.secretsmanager","account":"999999999999","region":"eu-west-1",` +
			`"time":"2026-01-02T03:04:05Z","resources":[],"detail":{"name":"a","labelUpdated":"AWSCURRENT","versionId":"v"}}`
		for _, body := range []string{"hello", "{}", "[]", `{"Type":"Notification","Message":"hello"}`, foreign} {
			if err := h.lab.SendMessage(queueName, body); err != nil {
				t.Fatal(err)
			}
		}
		h.put("b", "1") // another application's
		time.Sleep(time.Minute)
		h.emptied()
		if calls := h.lab.Calls(); calls["secretsmanager.GetSecretValue"]+calls["secretsmanager.DescribeSecret"]+calls["secretsmanager.BatchGetSecretValue"] > 0 {
			t.Errorf("calls %v, want none that reads", calls)
		}
		h.put("a", "1")
		h.await("one", "1\n", 10*time.Millisecond)
	})
}

// Messages that stay cost calls, and hold nothing up; status says why.
func TestAQueueThatCannotBeEmptiedIsSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.put("db", "one")
		c := h.queued(awslab.EventForm{}, h.app("billing", "db"))
		a := h.agent(c)
		stop := h.run(a)
		defer stop()
		time.Sleep(time.Minute)
		if err := h.lab.AddFault(awslab.Fault{Kind: awslab.Fail, Operation: "sqs.DeleteMessageBatch"}); err != nil {
			t.Fatal(err)
		}
		h.put("db", "two")
		h.await("billing", "two\n", 10*time.Second)
		time.Sleep(time.Hour)
		synctest.Wait()
		queue := a.Status(serve.Self()).Watch.Queue
		if queue.State != serve.Receiving || !strings.Contains(queue.Error, "DeleteMessage") {
			t.Errorf("the queue is %s, error %q; want it to receive, and to say what it cannot delete", queue.State, queue.Error)
		}
		if got := strings.Count(h.log.String(), `"msg":"queue not emptied"`); got != 1 {
			t.Errorf("it is said %d times in an hour, want once", got)
		}
		h.lab.ClearFaults()
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if queue := a.Status(serve.Self()).Watch.Queue; queue.Error != "" {
			t.Errorf("mended, and it says %q", queue.Error)
		}
	})
}

func TestRepeatedMessagesCostNoReads(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("a", "0")
		c := h.queued(awslab.EventForm{}, h.app("one", "a"))
		stop := h.run(h.agent(c))
		defer stop()
		h.await("one", "0\n", time.Second)
		synctest.Wait()
		// What came in while nobody received is gone through at once.
		if err := h.lab.AddFault(awslab.Fault{Kind: awslab.Drop, Service: "sqs"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		for i := range 90 { // a secret has room for a hundred versions a day
			h.put("a", fmt.Sprint(i))
			time.Sleep(10 * time.Second)
		}
		h.lab.ClearFaults()
		h.lab.ResetCalls()
		h.await("one", "89\n", 70*time.Second)
		time.Sleep(10 * time.Second)
		h.emptied()
		calls := h.lab.Calls()
		if reads := calls["secretsmanager.GetSecretValue"]; reads > 3 {
			t.Errorf("%d reads of one secret for 90 messages", reads)
		}
		if receives := calls["sqs.ReceiveMessage"]; receives > 15 {
			t.Errorf("%d calls to receive 90 messages", receives)
		}
	})
}

func TestWithoutItsQueueTheSidecarPollsAndSaysSo(t *testing.T) {
	for name, tc := range map[string]struct {
		fault awslab.Fault
		want  string
	}{
		"away":          {awslab.Fault{Kind: awslab.Drop, Service: "sqs"}, "connection reset by peer"},
		"throttled":     {awslab.Fault{Kind: awslab.Throttle, Service: "sqs"}, "RequestThrottled: Rate exceeded"},
		"not allowed":   {awslab.Fault{Kind: awslab.Fail, Service: "sqs", Status: 403, Code: "AccessDenied", Message: "no"}, "allow sqs:ReceiveMessage and sqs:DeleteMessage on this queue to the role"},
		"not there":     {awslab.Fault{Kind: awslab.Fail, Service: "sqs", Status: 400, Code: "AWS.SimpleQueueService.NonExistentQueue", Message: "no"}, "check watch.queue: the region, the account and the name in it"},
		"its key's":     {awslab.Fault{Kind: awslab.Fail, Service: "sqs", Status: 400, Code: "KMS.AccessDeniedException", Message: "no"}, "allow kms:Decrypt on the queue's key to the role"},
		"never answers": {awslab.Fault{Kind: awslab.Hang, Service: "sqs"}, "no answer in time"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, h *house) {
				h.put("a", "0")
				c := h.queued(awslab.EventForm{}, h.app("one", "a"))
				c.Watch.Interval = time.Minute
				a := h.agent(c)
				stop := h.run(a)
				defer stop()
				time.Sleep(time.Minute)
				if err := h.lab.AddFault(tc.fault); err != nil {
					t.Fatal(err)
				}
				time.Sleep(5 * time.Minute)
				w := a.Status(serve.Self()).Watch
				if w.State != serve.NotReceiving || !strings.Contains(w.Error, tc.want) {
					t.Errorf("watch is %+v, want failing with %q", w, tc.want)
				}
				for i := range 3 {
					value := h.put("a", fmt.Sprint(i+1))
					h.await("one", value+"\n", 73*time.Second)
				}
				if got := strings.Count(h.log.String(), "queue failing"); got != 1 {
					t.Errorf("said %d times that the queue fails, want once", got)
				}
				h.lab.ClearFaults()
				time.Sleep(2 * time.Minute)
				if w := a.Status(serve.Self()).Watch; w.State != serve.Receiving || w.Error != "" {
					t.Errorf("watch is %+v after the end of the fault", w)
				}
				h.emptied()
			})
		})
	}
}

// counted counts calls to receive. On an impatient way none waits for a
// message.
type counted struct {
	next      http.RoundTripper
	impatient bool
	calls     atomic.Int64
}

func (c *counted) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".ReceiveMessage") {
		return c.next.RoundTrip(r)
	}
	c.calls.Add(1)
	if !c.impatient {
		return c.next.RoundTrip(r)
	}
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/x-amz-json-1.0"}},
		Body: io.NopCloser(strings.NewReader("{}")), Request: r,
	}, nil
}

func TestAQueueIsAskedSeldom(t *testing.T) {
	for name, tc := range map[string]struct {
		impatient bool
		want      int64
	}{
		"which waits":      {false, 185},
		"which never does": {true, 4600},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, h *house) {
				h.put("a", "0")
				o := h.options()
				way := &counted{next: o.Transport, impatient: tc.impatient}
				o.Transport = way
				a, err := New(h.queued(awslab.EventForm{}, h.app("one", "a")), o)
				if err != nil {
					t.Fatal(err)
				}
				stop := h.run(a)
				defer stop()
				time.Sleep(time.Minute)
				before := way.calls.Load()
				time.Sleep(time.Hour)
				if got := way.calls.Load() - before; got > tc.want {
					t.Errorf("%d calls in an hour, want at most %d", got, tc.want)
				}
			})
		})
	}
}

func TestAQueueGoesOnAcrossAReload(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("a", "0")
		h.put("b", "0")
		c := h.queued(awslab.EventForm{}, h.app("one", "a"))
		a := h.agent(c)
		stop := h.run(a)
		defer stop()
		time.Sleep(time.Minute)
		more := *c
		more.Apps = map[string]config.App{"one": c.Apps["one"], "two": h.app("two", "b")}
		if err := a.Reload(t.Context(), loaded(&more)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if state := a.Status(serve.Self()).Watch.State; state != serve.Receiving {
			t.Errorf("the queue is %q right after a reload", state)
		}
		h.await("two", "0\n", time.Second)
		time.Sleep(time.Second)
		h.put("b", "1")
		// A call under way at the reload holds its messages back for 30s.
		h.await("two", "1\n", 31*time.Second)
		if err := a.Reload(t.Context(), loaded(h.config(24*time.Hour, h.app("one", "a")))); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if q := a.Status(serve.Self()).Watch.Queue; q != (serve.Queue{}) {
			t.Errorf("watch has %+v without a queue", q)
		}
		if got := strings.Count(h.log.String(), "queue receiving"); got != 1 {
			t.Errorf("said %d times that the queue receives, want once", got)
		}
	})
}

// trickle gives the answers to ReceiveMessage at a byte a second while it is on.
type trickle struct {
	next http.RoundTripper
	on   atomic.Bool
}

func (d *trickle) RoundTrip(r *http.Request) (*http.Response, error) {
	out, err := d.next.RoundTrip(r)
	if err == nil && d.on.Load() && strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".ReceiveMessage") {
		out.Body = &drops{out.Body, r.Context()}
	}
	return out, err
}

type drops struct {
	io.ReadCloser
	ctx context.Context //nolint:containedctx // of the request, which io.Reader does not take
}

func (d *drops) Read(p []byte) (int, error) {
	select {
	case <-time.After(time.Second):
		return d.ReadCloser.Read(p[:1])
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	}
}

func TestAQueueWhoseMessagesDoNotComeThroughIsNoQueue(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("a", "0")
		c := h.queued(awslab.EventForm{}, h.app("one", "a"))
		c.Watch.Interval = time.Minute
		o := h.options()
		way := &trickle{next: o.Transport}
		o.Transport = way
		a, err := New(c, o)
		if err != nil {
			t.Fatal(err)
		}
		stop := h.run(a)
		defer stop()
		time.Sleep(time.Minute)
		way.on.Store(true)
		h.put("a", "1")
		time.Sleep(31 * time.Second)
		for range 20 { // answers without a message come in time all the while
			if w := a.Status(serve.Self()).Watch; w.State != serve.NotReceiving || !strings.Contains(w.Error, "no answer in time") {
				t.Fatalf("watch is %+v though no message comes through", w)
			}
			time.Sleep(30 * time.Second)
		}
		value := h.put("a", "2")
		h.await("one", value+"\n", 73*time.Second)
		if got := strings.Count(h.log.String(), "queue failing"); got != 1 {
			t.Errorf("said %d times that the queue fails, want once", got)
		}
		way.on.Store(false)
		time.Sleep(2 * time.Minute)
		if w := a.Status(serve.Self()).Watch; w.State != serve.Receiving || w.Error != "" {
			t.Errorf("watch is %+v after the end", w)
		}
		h.emptied()
	})
}

func TestAQueueThatHangsIsFoundOutSoon(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.put("a", "0")
		a := h.agent(h.queued(awslab.EventForm{}, h.app("one", "a")))
		stop := h.run(a)
		defer stop()
		time.Sleep(time.Minute)
		if err := h.lab.AddFault(awslab.Fault{Kind: awslab.Hang, Operation: "ReceiveMessage"}); err != nil {
			t.Fatal(err)
		}
		h.put("a", "1") // ends the wait that is under way
		time.Sleep(43 * time.Second)
		if w := a.Status(serve.Self()).Watch; w.State != serve.NotReceiving {
			t.Errorf("watch is %+v, want it failing after one wait, a back-off and a short one", w)
		}
	})
}

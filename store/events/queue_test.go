package events

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"

	"outrider/awslab"
)

// keys hands out the lab's own keys, at first under a wrong secret if told to.
type keys struct {
	setup awslab.Setup
	err   error

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
	return c, k.err
}

func (k *keys) Spent(aws.Credentials) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.spent++
}

// newQueue returns a lab with a queue q, and the queue.
func newQueue(t *testing.T) (*awslab.Lab, *keys, *Queue) {
	t.Helper()
	lab, err := awslab.New(awslab.Options{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	path, err := lab.CreateQueue("q")
	if err != nil {
		t.Fatal(err)
	}
	k := &keys{setup: lab.Setup()}
	return lab, k, New(Options{
		URL: "https://sqs.us-east-1.amazonaws.com" + path, Region: "us-east-1", Transport: lab.RoundTripper(), Sessions: k,
	})
}

func send(t *testing.T, lab *awslab.Lab, body string) {
	t.Helper()
	if err := lab.SendMessage("q", body); err != nil {
		t.Fatal(err)
	}
}

func TestReceiveWaitsForAMessageAndDeleteEndsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lab, _, q := newQueue(t)
		began := time.Now()
		if b, err := q.Receive(t.Context(), LongestWait); err != nil || len(b.Bodies) > 0 || time.Since(began) != LongestWait {
			t.Fatalf("Receive = %v, %v after %s of nothing", b, err, time.Since(began))
		}
		time.AfterFunc(3*time.Second, func() { send(t, lab, "one") })
		began = time.Now()
		b, err := q.Receive(t.Context(), LongestWait)
		if diff := cmp.Diff(b.Bodies, []string{"one"}); err != nil || diff != "" || time.Since(began) != 3*time.Second {
			t.Fatalf("Receive: %v after %s, got -, want +:\n%s", err, time.Since(began), diff)
		}
		if age := time.Since(b.At); age < 0 || age > time.Second {
			t.Errorf("AWS's clock shows %s", b.At)
		}
		for range 2 { // the second time there is nothing to delete, which is no error
			if err := q.Delete(t.Context(), b); err != nil {
				t.Errorf("Delete = %v", err)
			}
		}
		if left := lab.Messages("q"); len(left) > 0 {
			t.Errorf("left are %q", left)
		}
	})
}

func TestWhatIsNotDeletedComesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lab, _, q := newQueue(t)
		for i := range 25 {
			send(t, lab, fmt.Sprint(i))
		}
		seen := map[string]int{}
		for range 2 {
			for _, want := range []int{10, 10, 5} {
				b, err := q.Receive(t.Context(), time.Second)
				if err != nil || len(b.Bodies) != want {
					t.Fatalf("Receive = %d messages, %v; want %d", len(b.Bodies), err, want)
				}
				for _, body := range b.Bodies {
					seen[body]++
				}
			}
			time.Sleep(31 * time.Second) // longer than the queue hides them
		}
		if len(seen) != 25 || seen["0"] != 2 {
			t.Errorf("seen are %v", seen)
		}
	})
}

func TestACallIsMadeAgainWithAnotherSession(t *testing.T) {
	_, k, q := newQueue(t)
	k.wrong = 1
	if _, err := q.Receive(t.Context(), 0); err != nil || k.spent != 1 {
		t.Errorf("Receive = %v, %d sessions spent", err, k.spent)
	}
	k.wrong = 2
	if _, err := q.Receive(t.Context(), 0); err == nil || k.spent != 2 {
		t.Errorf("Receive = %v, %d sessions spent; want the second refusal to stand", err, k.spent)
	}
}

func TestACallIsMadeAgainByAWSsClock(t *testing.T) {
	lab, k, q := newQueue(t)
	lab.SetSkew(20 * time.Minute)
	if _, err := q.Receive(t.Context(), 0); err != nil || k.spent != 0 {
		t.Errorf("Receive = %v, %d sessions spent", err, k.spent)
	}
}

func TestErrorsNameTheQueueAndTheRemedy(t *testing.T) {
	queue := "queue https://sqs.us-east-1.amazonaws.com/111122223333/q: "
	for name, tc := range map[string]struct {
		fault awslab.Fault
		want  string // with the request id left out
	}{
		"not allowed": {awslab.Fault{Kind: awslab.Fail, Status: 403, Code: "AccessDenied", Message: "no"},
			"ReceiveMessage: AccessDenied: no; allow sqs:ReceiveMessage and sqs:DeleteMessage on this queue to the role"},
		"its key is not allowed": {awslab.Fault{Kind: awslab.Fail, Status: 400, Code: "KmsAccessDenied", Message: "no"},
			"ReceiveMessage: KmsAccessDenied: no; allow kms:Decrypt on the queue's key to the role"},
		"not there": {awslab.Fault{Kind: awslab.Fail, Status: 400, Code: "AWS.SimpleQueueService.NonExistentQueue", Message: "no"},
			"ReceiveMessage: AWS.SimpleQueueService.NonExistentQueue: no; check watch.queue: the region, the account and the name in it"},
		"elsewhere": {awslab.Fault{Kind: awslab.Fail, Status: 403, Code: "SignatureDoesNotMatch", Message: "Credential should be scoped to a valid region."},
			"ReceiveMessage: SignatureDoesNotMatch: Credential should be scoped to a valid region.; the queue must be asked in its own region; check watch.queue and roles.NAME.endpoints.sqs"},
		"away": {awslab.Fault{Kind: awslab.Drop}, "ReceiveMessage: read tcp: connection reset by peer; check the route, the firewall and HTTPS_PROXY"},
	} {
		t.Run(name, func(t *testing.T) {
			lab, k, q := newQueue(t)
			if err := lab.AddFault(tc.fault); err != nil {
				t.Fatal(err)
			}
			_, err := q.Receive(t.Context(), 0)
			told, ok := errors.AsType[*Error](err)
			if !ok {
				t.Fatalf("Receive = %v, want an *Error", err)
			}
			if told.Code != "" && told.RequestID == "" {
				t.Error("the request id is missing")
			}
			got := strings.Replace(told.Error(), " (request id "+told.RequestID+")", "", 1)
			if want := queue + tc.want; got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			if k.spent > 0 {
				t.Error("the session was given up")
			}
		})
	}
}

func TestASessionsErrorStaysWhatItIs(t *testing.T) {
	_, k, q := newQueue(t)
	k.err = errors.New("role billing: no session")
	if _, err := q.Receive(t.Context(), 0); !errors.Is(err, k.err) || err.Error() != k.err.Error() {
		t.Errorf("Receive = %v", err)
	}
}

// portal answers whatever it is asked with a page.
type portal struct{}

func (portal) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("<html>")), Request: r}, nil
}

func TestAnAnswerThatIsNotSQSsIsNotQuoted(t *testing.T) {
	q := New(Options{URL: "https://sqs.us-east-1.amazonaws.com/111122223333/q", Region: "us-east-1", Transport: portal{}, Sessions: &keys{setup: awslab.Setup{AccessKeyID: "a", SecretAccessKey: "b"}}})
	_, err := q.Receive(t.Context(), 0)
	if want := "queue https://sqs.us-east-1.amazonaws.com/111122223333/q: ReceiveMessage: the answer, HTTP 200, is not SQS's JSON; look for a proxy or a captive portal in between"; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

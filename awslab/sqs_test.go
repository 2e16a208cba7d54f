package awslab

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/go-cmp/cmp"
)

func queues(lab *Lab, keys aws.Credentials) *sqs.Client {
	return sqs.New(sqs.Options{
		Region:      lab.setup.Region,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return keys, nil }),
		HTTPClient:  &http.Client{Transport: lab.RoundTripper()},
		Retryer:     aws.NopRetryer{},
	})
}

// newQueue makes a queue q and returns its URL.
func newQueue(t *testing.T, lab *Lab) *string {
	t.Helper()
	path, err := lab.CreateQueue("q")
	if err != nil {
		t.Fatal(err)
	}
	return aws.String("https://sqs.us-east-1.amazonaws.com" + path)
}

// receive asks for ten messages and waits up to 20 s.
func receive(t *testing.T, client *sqs.Client, url *string) []types.Message {
	t.Helper()
	out, err := client.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: url, MaxNumberOfMessages: 10, WaitTimeSeconds: 20})
	if err != nil {
		t.Fatal(err)
	}
	return out.Messages
}

func bodies(messages []types.Message) (list []string) {
	for _, m := range messages {
		list = append(list, *m.Body)
	}
	return list
}

func TestALongPollReturnsWithTheMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lab := newLab(t, Options{})
		url := newQueue(t, lab)
		client := queues(lab, adminKeys(lab))
		start := time.Now()
		if got := receive(t, client, url); len(got) != 0 || time.Since(start) != 20*time.Second {
			t.Errorf("an empty queue gave %d messages after %v, want none after 20s", len(got), time.Since(start))
		}

		start = time.Now()
		time.AfterFunc(7*time.Second, func() {
			if err := lab.SendMessage("q", "hello"); err != nil {
				t.Error(err)
			}
		})
		if got := bodies(receive(t, client, url)); !slices.Equal(got, []string{"hello"}) || time.Since(start) != 7*time.Second {
			t.Errorf("got %q after %v, want hello after 7s", got, time.Since(start))
		}

		start = time.Now() // its visibility timeout is 30 s
		if got := receive(t, client, url); len(got) != 0 || time.Since(start) != 20*time.Second {
			t.Errorf("a hidden message: got %d after %v, want none after 20s", len(got), time.Since(start))
		}
		if got := receive(t, client, url); len(got) != 1 || time.Since(start) != 30*time.Second {
			t.Errorf("a message not deleted: got %d after %v, want it after 30s", len(got), time.Since(start))
		}

		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		start = time.Now()
		_, err := client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: url, WaitTimeSeconds: 20})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 5*time.Second {
			t.Errorf("got %v after %v, want the deadline's error after 5s", err, time.Since(start))
		}
	})
}

func TestOneMessageGoesToOneOfTwoWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lab := newLab(t, Options{})
		url := newQueue(t, lab)
		got := make(chan int, 2)
		for range 2 {
			client := queues(lab, adminKeys(lab))
			go func() {
				out, err := client.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: url, WaitTimeSeconds: 20})
				if err != nil {
					t.Error(err)
					out = &sqs.ReceiveMessageOutput{}
				}
				got <- len(out.Messages)
			}()
		}
		synctest.Wait()
		if err := lab.SendMessage("q", "x"); err != nil {
			t.Fatal(err)
		}
		if first, second := <-got, <-got; first != 1 || second != 0 {
			t.Errorf("got %d and %d messages, want 1 and then 0", first, second)
		}
	})
}

func TestWhoWaitsAtADeletedQueueIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lab := newLab(t, Options{})
		url := newQueue(t, lab)
		start := time.Now()
		time.AfterFunc(time.Second, func() { lab.DeleteQueue("q") })
		_, err := queues(lab, adminKeys(lab)).ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: url, WaitTimeSeconds: 20})
		if _, ok := errors.AsType[*types.QueueDoesNotExist](err); !ok || codeOf(err) != "AWS.SimpleQueueService.NonExistentQueue" || time.Since(start) != time.Second {
			t.Errorf("got %v after %v, want QueueDoesNotExist after 1s", err, time.Since(start))
		}
	})
}

func TestADeletedMessageStaysAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lab := newLab(t, Options{})
		url := newQueue(t, lab)
		client := queues(lab, adminKeys(lab))
		for i := range 12 {
			if err := lab.SendMessage("q", fmt.Sprint(i)); err != nil {
				t.Fatal(err)
			}
		}
		first := receive(t, client, url)
		if len(first) != 10 {
			t.Fatalf("got %d messages, want 10", len(first))
		}
		time.Sleep(31 * time.Second)
		again := receive(t, client, url)
		remove := func(handle *string) string {
			_, err := client.DeleteMessage(t.Context(), &sqs.DeleteMessageInput{QueueUrl: url, ReceiptHandle: handle})
			return codeOf(err)
		}
		if got := remove(first[0].ReceiptHandle); got != "" || len(lab.Messages("q")) != 12 {
			t.Errorf("an outdated receipt: got %q and %d messages, want success and 12", got, len(lab.Messages("q")))
		}
		for range 2 {
			if got := remove(again[0].ReceiptHandle); got != "" || len(lab.Messages("q")) != 11 {
				t.Errorf("a receipt: got %q and %d messages, want success and 11", got, len(lab.Messages("q")))
			}
		}
		if got, want := remove(aws.String("nonsense")), "ReceiptHandleIsInvalid"; got != want {
			t.Errorf("no receipt: got %q, want %q", got, want)
		}
		entries := []types.DeleteMessageBatchRequestEntry{
			{Id: aws.String("a"), ReceiptHandle: again[1].ReceiptHandle}, {Id: aws.String("b"), ReceiptHandle: aws.String("nonsense")},
		}
		out, err := client.DeleteMessageBatch(t.Context(), &sqs.DeleteMessageBatchInput{QueueUrl: url, Entries: entries})
		if err != nil {
			t.Fatal(err)
		}
		if len(out.Successful) != 1 || *out.Successful[0].Id != "a" || len(out.Failed) != 1 || *out.Failed[0].Code != "ReceiptHandleIsInvalid" || !out.Failed[0].SenderFault {
			t.Errorf("the batch came to %+v, want one success and one failure", out)
		}
		purge := func() string {
			_, err := client.PurgeQueue(t.Context(), &sqs.PurgeQueueInput{QueueUrl: url})
			return codeOf(err)
		}
		if got := purge(); got != "" || len(lab.Messages("q")) != 0 {
			t.Errorf("purge: got %q and %d messages, want none", got, len(lab.Messages("q")))
		}
		if got, want := purge(), "AWS.SimpleQueueService.PurgeQueueInProgress"; got != want {
			t.Errorf("purge at once again: got %q, want %q", got, want)
		}
		if err := lab.SendMessage("q", "old"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(4*24*time.Hour + time.Second)
		if got := lab.Messages("q"); len(got) != 0 {
			t.Errorf("after the retention period: %q, want none", got)
		}
	})
}

func TestQueuesKeepTheirLimits(t *testing.T) {
	lab := newLab(t, Options{})
	url := newQueue(t, lab)
	client := queues(lab, adminKeys(lab))
	receive := func(in sqs.ReceiveMessageInput) func(ctx context.Context) error {
		in.QueueUrl = url
		return func(ctx context.Context) error { _, err := client.ReceiveMessage(ctx, &in); return err }
	}
	create := func(name string, attributes map[string]string) func(ctx context.Context) error {
		return func(ctx context.Context) error {
			_, err := client.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes})
			return err
		}
	}
	send := func(body string, delay int32) func(ctx context.Context) error {
		return func(ctx context.Context) error {
			_, err := client.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: url, MessageBody: &body, DelaySeconds: delay})
			return err
		}
	}
	batch := func(ids ...string) func(ctx context.Context) error {
		entries := []types.DeleteMessageBatchRequestEntry{}
		for _, id := range ids {
			entries = append(entries, types.DeleteMessageBatchRequestEntry{Id: &id, ReceiptHandle: aws.String("x")})
		}
		return func(ctx context.Context) error {
			_, err := client.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: url, Entries: entries})
			return err
		}
	}
	const simple = "AWS.SimpleQueueService."
	tests := []struct {
		name string
		do   func(context.Context) error
		want string
	}{
		{"ten messages", receive(sqs.ReceiveMessageInput{MaxNumberOfMessages: 10}), ""},
		{"eleven messages", receive(sqs.ReceiveMessageInput{MaxNumberOfMessages: 11}), "InvalidParameterValue"},
		{"a wait too long", receive(sqs.ReceiveMessageInput{WaitTimeSeconds: 21}), "InvalidParameterValue"},
		{"hidden too long", receive(sqs.ReceiveMessageInput{VisibilityTimeout: 43201}), "InvalidParameterValue"},
		{"a delay too long", send("x", 901), "InvalidParameterValue"},
		{"an empty message", send("", 0), "InvalidParameterValue"},
		{"256 KB", send(strings.Repeat("x", 262144), 0), ""},
		{"more than 256 KB", send(strings.Repeat("x", 262145), 0), "InvalidParameterValue"},
		{"the same queue again", create("q", nil), ""},
		{"the same queue, other attributes", create("q", map[string]string{"VisibilityTimeout": "5"}), "QueueAlreadyExists"},
		{"a name that is none", create("q.fifo", nil), "InvalidParameterValue"},
		{"an attribute that is none", create("r", map[string]string{"Colour": "5"}), "InvalidAttributeName"},
		{"an attribute out of range", create("r", map[string]string{"MessageRetentionPeriod": "59"}), "InvalidAttributeValue"},
		{"an empty batch", batch(), simple + "EmptyBatchRequest"},
		{"a batch of eleven", batch("0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"), simple + "TooManyEntriesInBatchRequest"},
		{"a batch with one id twice", batch("0", "0"), simple + "BatchEntryIdsNotDistinct"},
		{"a batch with an id that is none", batch("a b"), simple + "InvalidBatchEntryId"},
		{"a queue of another account", func(ctx context.Context) error {
			_, err := client.PurgeQueue(ctx, &sqs.PurgeQueueInput{QueueUrl: aws.String("https://sqs.us-east-1.amazonaws.com/444455556666/q")})
			return err
		}, simple + "NonExistentQueue"},
	}
	for _, test := range tests {
		if got := codeOf(test.do(t.Context())); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

func TestAQueuesURLAndAttributes(t *testing.T) {
	lab := newLab(t, Options{})
	url := newQueue(t, lab)
	client := queues(lab, adminKeys(lab))
	found, err := client.GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: aws.String("q")})
	if err != nil || *found.QueueUrl != *url {
		t.Fatalf("got %v (%v), want %s", found, err, *url)
	}
	_, err = client.SetQueueAttributes(t.Context(), &sqs.SetQueueAttributesInput{QueueUrl: url, Attributes: map[string]string{"Policy": `{"Version":"2012-10-17"}`, "DelaySeconds": "9"}})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := lab.SendMessage("q", "x"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := client.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: url, MessageBody: aws.String("later")}); err != nil {
		t.Fatal(err)
	}
	out, err := client.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: url, MessageSystemAttributeNames: []types.MessageSystemAttributeName{"ApproximateReceiveCount"}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(out.Messages[0].Attributes, map[string]string{"ApproximateReceiveCount": "1"}); diff != "" {
		t.Errorf("attributes of the message (-got +want)\n%s", diff)
	}
	attributes, err := client.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: url, AttributeNames: []types.QueueAttributeName{
		"Policy", "QueueArn", "ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed",
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"Policy": `{"Version":"2012-10-17"}`, "QueueArn": "arn:aws:sqs:us-east-1:111122223333:q",
		"ApproximateNumberOfMessages": "1", "ApproximateNumberOfMessagesNotVisible": "1", "ApproximateNumberOfMessagesDelayed": "1",
	}
	if diff := cmp.Diff(attributes.Attributes, want); diff != "" {
		t.Errorf("(-got +want)\n%s", diff)
	}
}

func TestWhoMayNotDeleteAMessageMayNotDeleteABatch(t *testing.T) {
	lab := newLab(t, Options{})
	url := newQueue(t, lab)
	client := queues(lab, sessionKeys(t, lab))
	entries := []types.DeleteMessageBatchRequestEntry{{Id: aws.String("a"), ReceiptHandle: aws.String("x")}}
	for denied, want := range map[string]string{"sqs.DeleteMessage": "AccessDenied", "DeleteMessage": "AccessDenied", "sqs.ReceiveMessage": ""} {
		lab.AllowAll()
		lab.Deny(denied, "")
		_, err := client.DeleteMessageBatch(t.Context(), &sqs.DeleteMessageBatchInput{QueueUrl: url, Entries: entries})
		if got := codeOf(err); got != want || want != "" && !strings.Contains(err.Error(), "sqs:DeleteMessage on") {
			t.Errorf("%s is denied: %v, want %q", denied, err, want)
		}
	}
}

func TestRefusalsOfSQSKeepTheQueryProtocolsCodes(t *testing.T) {
	lab := newLab(t, Options{})
	url := newQueue(t, lab)
	client := queues(lab, sessionKeys(t, lab))
	ask := func() string {
		_, err := client.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: url})
		return codeOf(err)
	}
	steps := []struct {
		name string
		do   func()
		want string
	}{
		{"a queue for all", func() {}, ""},
		{"denied by ARN", func() { lab.Deny("sqs.ReceiveMessage", "arn:aws:sqs:us-east-1:111122223333:q") }, "AccessDenied"},
		{"another action is denied", func() { lab.AllowAll(); lab.Deny("sqs.DeleteMessage", "") }, ""},
		{"allowed again, and throttled", func() {
			lab.AllowAll()
			_ = lab.AddFault(Fault{Kind: Throttle, Operation: "sqs.ReceiveMessage", Count: 1})
		}, "RequestThrottled"},
		{"the session has ended", func() { lab.RevokeSessions() }, "ExpiredToken"},
	}
	for _, step := range steps {
		step.do()
		if got := ask(); got != step.want {
			t.Errorf("%s: got %q, want %q", step.name, got, step.want)
		}
	}
}

// Package events reads from an SQS queue what has changed.
package events

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"outrider/store/internal/wire"
)

const (
	// LongestWait is the most that SQS waits for a message.
	LongestWait = 20 * time.Second
	// batchSize is the most messages that one call takes.
	batchSize = 10
	// patience is how long a call may take beyond its wait.
	patience = 10 * time.Second
)

// Options say which queue is read, and as whom.
type Options struct {
	URL       string // as SQS gives it
	Region    string
	Endpoint  string            // base URL; empty: AWS's own for the region
	Transport http.RoundTripper // nil: http.DefaultTransport; redirects are not followed
	FIPS      bool              // the region's FIPS endpoint; not with Endpoint
	DualStack bool              // the region's IPv4 and IPv6 endpoint; not with Endpoint
	Sessions  wire.Sessions
}

// Queue is an SQS queue. It is safe for concurrent use.
type Queue struct {
	url      string
	receive  func(context.Context, *sqs.ReceiveMessageInput, ...func(*sqs.Options)) (*sqs.ReceiveMessageOutput, error)
	remove   func(context.Context, *sqs.DeleteMessageBatchInput, ...func(*sqs.Options)) (*sqs.DeleteMessageBatchOutput, error)
	sessions wire.Sessions
}

// New returns a Queue that has received nothing yet.
func New(o Options) *Queue {
	options := sqs.Options{
		Region:      o.Region,
		Credentials: o.Sessions,
		HTTPClient:  &http.Client{Transport: o.Transport, CheckRedirect: wire.Stay},
		Retryer:     aws.NopRetryer{}, // the loop that called backs off
	}
	if o.FIPS {
		options.EndpointOptions.UseFIPSEndpoint = aws.FIPSEndpointStateEnabled
	}
	if o.DualStack {
		options.EndpointOptions.UseDualStackEndpoint = aws.DualStackEndpointStateEnabled
	}
	if o.Endpoint != "" {
		options.BaseEndpoint = aws.String(o.Endpoint)
	}
	// The client is not kept itself: where reflection could reach it, the
	// linker would have to keep all of its operations.
	client := sqs.New(options)
	return &Queue{url: o.URL, receive: client.ReceiveMessage, remove: client.DeleteMessageBatch, sessions: o.Sessions}
}

// Batch is what one call received: up to ten messages, which come again unless
// they are deleted.
type Batch struct {
	Bodies []string
	At     time.Time // by AWS's clock; zero when it did not say

	receipts []string
}

// Receive returns messages as soon as there are any, and none after a wait of
// so long, in whole seconds up to LongestWait. Its error is an *Error, or the
// session's.
func (q *Queue) Receive(ctx context.Context, wait time.Duration) (Batch, error) {
	out, err := call(ctx, q, wait+patience, q.receive, &sqs.ReceiveMessageInput{
		QueueUrl:            &q.url,
		MaxNumberOfMessages: batchSize,
		WaitTimeSeconds:     int32(wait / time.Second),
	})
	if err != nil {
		return Batch{}, q.explain("ReceiveMessage", err)
	}
	if _, ok := middleware.GetRequestIDMetadata(out.ResultMetadata); !ok {
		return Batch{}, q.explain("ReceiveMessage", errNotSQS)
	}
	var b Batch
	b.At, _ = middleware.GetServerTime(out.ResultMetadata)
	for _, m := range out.Messages {
		b.Bodies = append(b.Bodies, aws.ToString(m.Body))
		b.receipts = append(b.receipts, aws.ToString(m.ReceiptHandle))
	}
	return b, nil
}

// Delete deletes the messages of a batch. One that SQS does not delete comes
// again, which is no error. Its error is an *Error, or the session's.
func (q *Queue) Delete(ctx context.Context, b Batch) error {
	in := &sqs.DeleteMessageBatchInput{QueueUrl: &q.url}
	for i := range b.receipts {
		in.Entries = append(in.Entries, types.DeleteMessageBatchRequestEntry{
			Id: aws.String(strconv.Itoa(i)), ReceiptHandle: &b.receipts[i],
		})
	}
	if _, err := call(ctx, q, patience, q.remove, in); err != nil {
		return q.explain("DeleteMessageBatch", err)
	}
	return nil
}

// call makes one call within a time limit, as wire.Signed does.
func call[In, Out any](ctx context.Context, q *Queue, limit time.Duration, operation func(context.Context, In, ...func(*sqs.Options)) (Out, error), in In) (Out, error) {
	return wire.Signed(ctx, q.sessions, refusal, func(as aws.CredentialsProvider) (Out, error) {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		return operation(ctx, in, func(o *sqs.Options) { o.Credentials = as })
	})
}

package events

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

// Probe reports whether the queue may be read, and leaves what is in it to
// others: a message that it receives comes again after a second, and what it
// deletes is not there. It blocks for a second or two. Its error is an *Error,
// or the session's.
func (q *Queue) Probe(ctx context.Context) error {
	_, err := call(ctx, q, patience, q.receive, &sqs.ReceiveMessageInput{
		QueueUrl: aws.String(q.url), MaxNumberOfMessages: 1, WaitTimeSeconds: 1, VisibilityTimeout: 1,
	})
	if err != nil {
		return q.explain("ReceiveMessage", err)
	}
	return q.Delete(ctx, Batch{receipts: []string{"none"}})
}

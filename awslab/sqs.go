package awslab

import (
	"context"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// batchEntryID is what names an entry of a batch.
var batchEntryID = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

func queueOperation(name string) operation {
	switch name {
	case "CreateQueue":
		return op((*Lab).answerCreateQueue)
	case "DeleteMessage":
		return op((*Lab).deleteMessage)
	case "DeleteMessageBatch":
		return op((*Lab).deleteMessageBatch)
	case "DeleteQueue":
		return op((*Lab).answerDeleteQueue)
	case "GetQueueAttributes":
		return op((*Lab).getQueueAttributes)
	case "GetQueueUrl":
		return op((*Lab).getQueueURL)
	case "PurgeQueue":
		return op((*Lab).purgeQueue)
	case "ReceiveMessage":
		return receiveMessage
	case "SendMessage":
		return op((*Lab).answerSendMessage)
	case "SetQueueAttributes":
		return op((*Lab).setQueueAttributes)
	}
	return nil
}

// queueFailure names an error in the protocol of the call. To whom asks for
// it, JSON carries the query protocol's code in a header.
func (c call) queueFailure(e *apiError) *response {
	if c.query {
		return queryFailure(e, queueNamespace)
	}
	shape := e.shape
	if shape == "" {
		shape = "com.amazon.coral.service#" + e.code
	}
	res := jsonResponse(e.status, json10, map[string]string{"__type": shape, "message": e.message})
	if c.queryMode {
		fault := ";Sender"
		if e.status >= http.StatusInternalServerError {
			fault = ";Receiver"
		}
		code, _ := e.queryCode()
		res.header.Set("X-Amzn-Query-Error", code+fault)
	}
	return res
}

// queueURL is what AWS calls a queue; here the queue is where it was asked for.
type queueURL struct {
	QueueURL string `json:"QueueUrl"`
}

func (l *Lab) answerCreateQueue(c caller, in struct {
	QueueName  string
	Attributes map[string]string
},
) (any, error) {
	if err := l.authorize(c, in.QueueName); err != nil {
		return nil, err
	}
	q, err := l.createQueue(in.QueueName, in.Attributes)
	if err != nil {
		return nil, err
	}
	return queueURL{c.origin + l.queuePath(q.name)}, nil
}

func (l *Lab) getQueueURL(c caller, in struct {
	QueueName              string
	QueueOwnerAWSAccountID string `json:"QueueOwnerAWSAccountId"`
},
) (any, error) {
	if in.QueueOwnerAWSAccountID != "" && in.QueueOwnerAWSAccountID != l.opts.Account {
		return nil, errNoQueue()
	}
	q, err := l.queueAt(c, l.queuePath(in.QueueName))
	if err != nil {
		return nil, err
	}
	return queueURL{c.origin + l.queuePath(q.name)}, nil
}

func (l *Lab) answerDeleteQueue(c caller, in queueURL) (any, error) {
	q, err := l.queueAt(c, in.QueueURL)
	if err != nil {
		return nil, err
	}
	l.removeQueue(q.name)
	return struct{}{}, nil
}

func (l *Lab) getQueueAttributes(c caller, in struct {
	queueURL
	AttributeNames []string
},
) (any, error) {
	q, err := l.queueAt(c, in.QueueURL)
	if err != nil {
		return nil, err
	}
	all := q.shown(l.nowLocked())
	out := map[string]string{}
	for _, name := range in.AttributeNames {
		if _, ok := all[name]; !ok && name != "All" {
			return nil, errAttributeName(name)
		}
	}
	for name, value := range all {
		if value != "" && (slices.Contains(in.AttributeNames, name) || slices.Contains(in.AttributeNames, "All")) {
			out[name] = value
		}
	}
	return struct {
		Attributes map[string]string `json:",omitempty"`
	}{out}, nil
}

// shown is every attribute that can be asked for.
func (q *queue) shown(now time.Time) map[string]string {
	q.expire(now)
	hidden, delayed := q.inFlight(now), 0
	for _, m := range q.messages {
		if m.received == 0 && m.visible.After(now) {
			delayed++
		}
	}
	out := map[string]string{
		"QueueArn":                              q.arn,
		"CreatedTimestamp":                      strconv.FormatInt(q.created.Unix(), 10),
		"LastModifiedTimestamp":                 strconv.FormatInt(q.modified.Unix(), 10),
		"ApproximateNumberOfMessages":           strconv.Itoa(len(q.messages) - hidden - delayed),
		"ApproximateNumberOfMessagesNotVisible": strconv.Itoa(hidden),
		"ApproximateNumberOfMessagesDelayed":    strconv.Itoa(delayed),
	}
	maps.Copy(out, q.attributes)
	return out
}

func (l *Lab) setQueueAttributes(c caller, in struct {
	queueURL
	Attributes map[string]string
},
) (any, error) {
	q, err := l.queueAt(c, in.QueueURL)
	if err == nil {
		err = checkAttributes(in.Attributes)
	}
	if err != nil {
		return nil, err
	}
	maps.Copy(q.attributes, in.Attributes)
	q.modified = l.nowLocked()
	return struct{}{}, nil
}

func (l *Lab) answerSendMessage(c caller, in struct {
	queueURL
	MessageBody  string
	DelaySeconds *int
},
) (any, error) {
	q, err := l.queueAt(c, in.QueueURL)
	if err != nil {
		return nil, err
	}
	if in.MessageBody == "" || len(in.MessageBody) > q.number("MaximumMessageSize") {
		return nil, errQueueValue("One or more parameters are invalid. Reason: Message must be 1 to %s bytes.", q.attributes["MaximumMessageSize"])
	}
	delay, err := ranged("DelaySeconds", in.DelaySeconds, q.number("DelaySeconds"), 0, maxDelay)
	if err != nil {
		return nil, err
	}
	m := q.send(in.MessageBody, time.Duration(delay)*time.Second, l.nowLocked())
	return struct {
		MessageID        string `json:"MessageId"`
		MD5OfMessageBody string
	}{m.id, md5Of(m.body)}, nil
}

// ranged reads a number that may be left out.
func ranged(name string, given *int, otherwise, least, most int) (int, error) {
	if given == nil {
		return otherwise, nil
	}
	if *given < least || *given > most {
		return 0, errQueueValue("Value %d for parameter %s is invalid. Reason: Must be between %d and %d, if provided.", *given, name, least, most)
	}
	return *given, nil
}

type receiveInput struct {
	queueURL
	AttributeNames              []string
	MessageSystemAttributeNames []string
	MessageAttributeNames       []string // messages here have none
	MaxNumberOfMessages         *int
	VisibilityTimeout           *int
	WaitTimeSeconds             *int
}

type receivedMessage struct {
	MessageID     string `json:"MessageId"`
	ReceiptHandle string
	MD5OfBody     string
	Body          string
	Attributes    map[string]string `json:",omitempty"`
}

type received struct {
	Messages []receivedMessage `json:",omitempty"`

	patience time.Duration   // how long to wait for the first
	next     time.Duration   // when to look again; negative: when one arrives
	arrived  <-chan struct{} // closed then
}

// receiveMessage waits for messages on channels and timers alone, without the
// lab's lock, until the patience or the context ends.
func receiveMessage(ctx context.Context, l *Lab, c caller, body []byte) (any, error) {
	var in receiveInput
	if err := decodeStrict(body, &in); err != nil {
		return nil, err
	}
	var end *time.Timer
	for {
		out, err := l.receive(c, in)
		if err != nil || len(out.Messages) > 0 || out.patience == 0 {
			return out, err
		}
		if end == nil {
			end = time.NewTimer(out.patience)
			defer end.Stop()
		}
		again := time.NewTimer(max(out.next, 0))
		if out.next < 0 {
			again.Stop()
		}
		select {
		case <-ctx.Done():
			again.Stop()
			return nil, ctx.Err()
		case <-end.C:
			again.Stop()
			return out, nil
		case <-out.arrived:
			again.Stop()
		case <-again.C:
		}
	}
}

// receive takes what there is.
func (l *Lab) receive(c caller, in receiveInput) (received, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.nowLocked()
	q, err := l.queueAt(c, in.QueueURL)
	if err != nil {
		return received{}, err
	}
	most, err := ranged("MaxNumberOfMessages", in.MaxNumberOfMessages, 1, 1, maxBatch)
	if err != nil {
		return received{}, err
	}
	wait, err := ranged("WaitTimeSeconds", in.WaitTimeSeconds, q.number("ReceiveMessageWaitTimeSeconds"), 0, maxWait)
	if err != nil {
		return received{}, err
	}
	hidden, err := ranged("VisibilityTimeout", in.VisibilityTimeout, q.number("VisibilityTimeout"), 0, maxVisibility)
	if err != nil {
		return received{}, err
	}
	if q.inFlight(now)+most > maxInFlight {
		return received{}, &apiError{status: http.StatusForbidden, code: "OverLimit", shape: "com.amazonaws.sqs#OverLimit", message: "Too many messages in flight."}
	}
	taken, next := q.take(most, time.Duration(hidden)*time.Second, now)
	out := received{next: next, patience: time.Duration(wait) * time.Second}
	names := slices.Concat(in.AttributeNames, in.MessageSystemAttributeNames)
	for _, m := range taken {
		out.Messages = append(out.Messages, receivedMessage{
			MessageID: m.id, ReceiptHandle: q.receipt(m), MD5OfBody: md5Of(m.body), Body: m.body, Attributes: m.shown(names, l.opts.Account),
		})
	}
	if len(taken) == 0 && wait > 0 {
		if q.arrived == nil {
			q.arrived = make(chan struct{})
		}
		out.arrived = q.arrived
	}
	return out, nil
}

// shown is the attributes of a message that were asked for.
func (m *message) shown(names []string, account string) map[string]string {
	out := map[string]string{
		"SenderId":                         account,
		"SentTimestamp":                    strconv.FormatInt(m.sent.UnixMilli(), 10),
		"ApproximateReceiveCount":          strconv.Itoa(m.received),
		"ApproximateFirstReceiveTimestamp": strconv.FormatInt(m.first.UnixMilli(), 10),
	}
	for name := range out {
		if !slices.Contains(names, name) && !slices.Contains(names, "All") {
			delete(out, name)
		}
	}
	return out
}

func (l *Lab) deleteMessage(c caller, in struct {
	queueURL
	ReceiptHandle string
},
) (any, error) {
	q, err := l.queueAt(c, in.QueueURL)
	if err != nil {
		return nil, err
	}
	return struct{}{}, q.remove(in.ReceiptHandle)
}

type deleteEntry struct {
	ID            string `json:"Id"`
	ReceiptHandle string
}

// checkBatch keeps the rules for the entries of a batch.
func checkBatch(entries []deleteEntry) error {
	refuse := func(code, shape, message string) error {
		return &apiError{code: "AWS.SimpleQueueService." + code, shape: "com.amazonaws.sqs#" + shape, message: message}
	}
	if len(entries) == 0 {
		return refuse("EmptyBatchRequest", "EmptyBatchRequest", "There should be at least one DeleteMessageBatchRequestEntry in the request.")
	}
	if len(entries) > maxBatch {
		return refuse("TooManyEntriesInBatchRequest", "TooManyEntriesInBatchRequest", "Maximum number of entries per request are 10. You have sent "+strconv.Itoa(len(entries))+".")
	}
	seen := map[string]bool{}
	for _, e := range entries {
		if len(e.ID) > 80 || !batchEntryID.MatchString(e.ID) {
			return refuse("InvalidBatchEntryId", "InvalidBatchEntryId", "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long.")
		}
		if seen[e.ID] {
			return refuse("BatchEntryIdsNotDistinct", "BatchEntryIdsNotDistinct", "Id "+e.ID+" repeated.")
		}
		seen[e.ID] = true
	}
	return nil
}

func (l *Lab) deleteMessageBatch(c caller, in struct {
	queueURL
	Entries []deleteEntry
},
) (any, error) {
	q, err := l.queueAt(c, in.QueueURL)
	if err == nil {
		err = checkBatch(in.Entries)
	}
	if err != nil {
		return nil, err
	}
	type done struct {
		ID string `json:"Id"`
	}
	type failed struct {
		ID          string `json:"Id"`
		SenderFault bool
		Code        string
		Message     string
	}
	out := struct {
		Successful []done
		Failed     []failed
	}{Successful: []done{}, Failed: []failed{}}
	for _, e := range in.Entries {
		if err := q.remove(e.ReceiptHandle); err != nil {
			refused := asAPIError(err)
			out.Failed = append(out.Failed, failed{ID: e.ID, SenderFault: true, Code: refused.code, Message: refused.message})
			continue
		}
		out.Successful = append(out.Successful, done{e.ID})
	}
	return out, nil
}

func (l *Lab) purgeQueue(c caller, in queueURL) (any, error) {
	q, err := l.queueAt(c, in.QueueURL)
	if err != nil {
		return nil, err
	}
	now := l.nowLocked()
	if !q.purged.IsZero() && now.Sub(q.purged) < purgePause {
		return nil, &apiError{code: "AWS.SimpleQueueService.PurgeQueueInProgress", shape: "com.amazonaws.sqs#PurgeQueueInProgress", message: "Only one PurgeQueue operation on " + q.name + " is allowed every 60 seconds."}
	}
	q.purged, q.messages = now, nil
	return struct{}{}, nil
}

package awslab

import (
	"cmp"
	"crypto/md5" //nolint:gosec // what SQS answers with, and its clients check
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Limits of SQS.
const (
	maxInFlight   = 120000
	maxBatch      = 10
	maxWait       = 20     // seconds
	maxDelay      = 900    // seconds
	maxVisibility = 43200  // seconds
	maxMessage    = 262144 // bytes
	purgePause    = time.Minute
)

var queueName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// queue is a standard queue.
type queue struct {
	name, arn  string
	attributes map[string]string // those that can be set
	created    time.Time
	modified   time.Time
	purged     time.Time
	messages   []*message
	arrived    chan struct{} // closed when a message is put in; nil: nobody waits
}

type message struct {
	id       string
	body     string
	sent     time.Time
	first    time.Time // when it was first received; zero: never
	visible  time.Time // hidden until then
	received int
}

// number returns an attribute that is one.
func (q *queue) number(attribute string) int {
	n, _ := strconv.Atoi(q.attributes[attribute]) // checked when it was set
	return n
}

// send puts a message in, to be seen after a delay, and wakes who waits.
func (q *queue) send(body string, delay time.Duration, now time.Time) *message {
	m := &message{id: newUUID(), body: body, sent: now, visible: now.Add(delay)}
	q.messages = append(q.messages, m)
	q.wake()
	return m
}

func (q *queue) wake() {
	if q.arrived != nil {
		close(q.arrived)
		q.arrived = nil
	}
}

// expire drops what is older than the queue keeps.
func (q *queue) expire(now time.Time) {
	kept := time.Duration(q.number("MessageRetentionPeriod")) * time.Second
	q.messages = slices.DeleteFunc(q.messages, func(m *message) bool { return now.Sub(m.sent) > kept })
}

// take receives up to so many messages and hides them. When there are none
// it says in how long the next one shows; negative: none will by itself.
func (q *queue) take(most int, hidden time.Duration, now time.Time) (taken []*message, next time.Duration) {
	q.expire(now)
	next = -1
	for _, m := range q.messages {
		if wait := m.visible.Sub(now); wait > 0 {
			if next < 0 || wait < next {
				next = wait
			}
			continue
		}
		if len(taken) == most {
			break
		}
		m.visible = now.Add(hidden)
		m.received++
		if m.first.IsZero() {
			m.first = now
		}
		taken = append(taken, m)
	}
	return taken, next
}

// inFlight counts the messages that were received and are hidden.
func (q *queue) inFlight(now time.Time) (count int) {
	for _, m := range q.messages {
		if m.received > 0 && m.visible.After(now) {
			count++
		}
	}
	return count
}

// receipt is a handle that only the latest receipt of a message has.
func (q *queue) receipt(m *message) string {
	return base64.StdEncoding.EncodeToString([]byte(q.name + " " + m.id + " " + strconv.Itoa(m.received)))
}

// remove deletes the message of a receipt. A handle that was of this queue and
// is not its message's latest does nothing, as with AWS.
func (q *queue) remove(handle string) error {
	plain, err := base64.StdEncoding.DecodeString(handle)
	if err != nil || !strings.HasPrefix(string(plain), q.name+" ") {
		return &apiError{code: "ReceiptHandleIsInvalid", shape: "com.amazonaws.sqs#ReceiptHandleIsInvalid", message: "The input receipt handle is invalid."}
	}
	q.messages = slices.DeleteFunc(q.messages, func(m *message) bool { return m.received > 0 && q.receipt(m) == handle })
	return nil
}

// defaultAttributes are a new queue's.
func defaultAttributes() map[string]string {
	return map[string]string{
		"DelaySeconds": "0", "MaximumMessageSize": strconv.Itoa(maxMessage), "MessageRetentionPeriod": "345600",
		"ReceiveMessageWaitTimeSeconds": "0", "VisibilityTimeout": "30", "SqsManagedSseEnabled": "true", "Policy": "",
	}
}

// attributeRange is what an attribute may be that is a number.
func attributeRange(name string) (least, most int, ok bool) {
	switch name {
	case "DelaySeconds":
		return 0, maxDelay, true
	case "MaximumMessageSize":
		return 1024, maxMessage, true
	case "MessageRetentionPeriod":
		return 60, 1209600, true
	case "ReceiveMessageWaitTimeSeconds":
		return 0, maxWait, true
	case "VisibilityTimeout":
		return 0, maxVisibility, true
	}
	return 0, 0, false
}

// checkAttributes wants attributes that can be set, within their ranges.
func checkAttributes(attributes map[string]string) error {
	for name, value := range attributes {
		least, most, ok := attributeRange(name)
		if !ok && name != "Policy" && name != "SqsManagedSseEnabled" {
			return errAttributeName(name)
		}
		if n, err := strconv.Atoi(value); ok && (err != nil || n < least || n > most) {
			return &apiError{code: "InvalidAttributeValue", shape: "com.amazonaws.sqs#InvalidAttributeValue", message: "Invalid value for the parameter " + name + "."}
		}
	}
	return nil
}

func errAttributeName(name string) error {
	return &apiError{code: "InvalidAttributeName", shape: "com.amazonaws.sqs#InvalidAttributeName", message: "Unknown Attribute " + name + "."}
}

// createQueue makes a queue, or finds it when it is there with these attributes.
func (l *Lab) createQueue(name string, attributes map[string]string) (*queue, error) {
	if len(name) > 80 || !queueName.MatchString(name) {
		return nil, errQueueValue("Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length")
	}
	if err := checkAttributes(attributes); err != nil {
		return nil, err
	}
	if q := l.queues[name]; q != nil {
		for attribute, value := range attributes {
			if q.attributes[attribute] != value {
				return nil, &apiError{code: "QueueAlreadyExists", shape: "com.amazonaws.sqs#QueueNameExists", message: "A queue already exists with the same name and a different value for attribute " + attribute}
			}
		}
		return q, nil
	}
	now := l.nowLocked()
	q := &queue{name: name, arn: "arn:aws:sqs:" + l.opts.Region + ":" + l.opts.Account + ":" + name, attributes: defaultAttributes(), created: now, modified: now}
	maps.Copy(q.attributes, attributes)
	l.queues[name] = q
	return q, nil
}

// CreateQueue makes a queue, unless it is there. Its URL is an address that
// reaches the lab with the returned path.
func (l *Lab) CreateQueue(name string) (path string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err = l.createQueue(name, nil); err != nil {
		return "", fmt.Errorf("lab: queue %s: %w", name, err)
	}
	return l.queuePath(name), nil
}

func (l *Lab) queuePath(name string) string { return "/" + l.opts.Account + "/" + name }

// DeleteQueue removes a queue with its messages and subscriptions. Who waits
// at it is told.
func (l *Lab) DeleteQueue(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.removeQueue(name)
}

func (l *Lab) removeQueue(name string) {
	if q := l.queues[name]; q != nil {
		q.wake()
		delete(l.queues, name)
		l.bus.subscriptions = slices.DeleteFunc(l.bus.subscriptions, func(s subscription) bool { return s.queue == name })
	}
}

// SendMessage puts any body into a queue: what is foreign, malformed, or there
// already.
func (l *Lab) SendMessage(queue, body string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.queues[queue]
	if q == nil {
		return fmt.Errorf("lab: queue %s: not there", queue)
	}
	q.send(body, 0, l.nowLocked())
	return nil
}

// Messages returns the bodies of all that a queue holds, hidden ones too, in
// the order in which they came.
func (l *Lab) Messages(queue string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.queues[queue]
	if q == nil {
		return nil
	}
	q.expire(l.nowLocked())
	var bodies []string
	for _, m := range q.messages {
		bodies = append(bodies, m.body)
	}
	return bodies
}

// queueAt finds the queue of a URL, whatever its host, for a caller who may
// use it.
func (l *Lab) queueAt(c caller, url string) (*queue, error) {
	if url == "" {
		return nil, &apiError{code: "MissingParameter", shape: "com.amazon.coral.service#MissingRequiredParameterException", message: "The request must contain the parameter QueueUrl."}
	}
	name := url[strings.LastIndex(url, "/")+1:]
	q := l.queues[name]
	if q == nil || !strings.HasSuffix(url, l.queuePath(name)) {
		return nil, cmp.Or(l.authorize(c, url), errNoQueue())
	}
	return q, l.authorize(c, name, url, q.arn)
}

func errNoQueue() error {
	return &apiError{code: "AWS.SimpleQueueService.NonExistentQueue", shape: "com.amazonaws.sqs#QueueDoesNotExist", message: "The specified queue does not exist."}
}

func errQueueValue(format string, args ...any) error {
	return &apiError{code: "InvalidParameterValue", shape: "com.amazon.coral.service#InvalidParameterValueException", message: fmt.Sprintf(format, args...)}
}

func md5Of(body string) string {
	digest := md5.Sum([]byte(body)) //nolint:gosec // see the import
	return hex.EncodeToString(digest[:])
}

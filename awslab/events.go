package awslab

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

// EventForm says how events come to a queue. The zero EventForm is the native
// events, as an EventBridge rule puts them there.
type EventForm struct {
	SNS        bool // wrapped, as by a topic in between without raw delivery
	CloudTrail bool // the forms that a trail gives too
	NoNative   bool // and those alone
}

// bus is where events go.
type bus struct {
	subscriptions []subscription
	delay         time.Duration
	trailed       int // CloudTrail events so far, which spell the id in turn
}

type subscription struct {
	queue string
	form  EventForm
}

// Subscribe has the events of every later change delivered to a queue: label
// moves of AWSCURRENT and custom labels, and changes of parameters. A queue
// may be subscribed in several forms.
func (l *Lab) Subscribe(queue string, form EventForm) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.queues[queue] == nil {
		return fmt.Errorf("lab: queue %s: not there; create it first", queue)
	}
	l.bus.subscriptions = append(l.bus.subscriptions, subscription{queue: queue, form: form})
	return nil
}

// SetEventDelay sets how long after the change an event is in the queue; zero,
// as at the start: at once.
func (l *Lab) SetEventDelay(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bus.delay = d
}

// event is what EventBridge delivers.
type event struct {
	Version    string    `json:"version"`
	ID         string    `json:"id"`
	DetailType string    `json:"detail-type"`
	Source     string    `json:"source"`
	Account    string    `json:"account"`
	Time       time.Time `json:"time"`
	Region     string    `json:"region"`
	Resources  []string  `json:"resources"`
	Detail     any       `json:"detail"`
}

func (l *Lab) emit(native bool, kind, source string, resources []string, detail any) {
	if len(l.bus.subscriptions) == 0 {
		return
	}
	now := l.nowLocked()
	body := encoded(event{
		Version: "0", ID: newUUID(), DetailType: kind, Source: source, Account: l.opts.Account,
		Time: now.UTC().Truncate(time.Second), Region: l.opts.Region, Resources: resources, Detail: detail,
	})
	for _, s := range l.bus.subscriptions {
		if native && s.form.NoNative || !native && !s.form.CloudTrail && !s.form.NoNative {
			continue
		}
		sent := body
		if s.form.SNS {
			sent = l.wrapped(body)
		}
		l.queues[s.queue].send(sent, l.bus.delay, now)
	}
}

// wrapped is an event as SNS hands it on. Its signature is none: who reads
// a queue trusts its access policy instead.
func (l *Lab) wrapped(body string) string {
	topic := "arn:aws:sns:" + l.opts.Region + ":" + l.opts.Account + ":outrider-lab"
	host := "https://sns." + l.opts.Region + ".amazonaws.com/"
	return encoded(map[string]string{
		"Type": "Notification", "MessageId": newUUID(), "TopicArn": topic, "Message": body,
		"Timestamp":        l.nowLocked().UTC().Format("2006-01-02T15:04:05.000Z"),
		"SignatureVersion": "1", "Signature": "bm9uZQ==",
		"SigningCertURL": host + "SimpleNotificationService-lab.pem",
		"UnsubscribeURL": host + "?Action=Unsubscribe&SubscriptionArn=" + topic + ":" + newUUID(),
	})
}

// encoded is v as JSON, which all that the lab makes can be.
func encoded(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

// labelsMoved emits what a secret's labels did since they were as before.
func (l *Lab) labelsMoved(s *secret, before labels) {
	for _, label := range slices.Sorted(maps.Keys(s.labels)) {
		id := s.labels[label]
		if label == pending || label == previous || before[label] == id {
			continue
		}
		l.emit(true, "Secret Label Updated", "aws.secretsmanager", []string{s.arn}, map[string]string{
			"name": s.name, "labelUpdated": label, "versionId": id,
		})
		if label == current && before[current] != "" && before[pending] == id {
			l.rotationSucceeded(s)
		}
	}
}

// parameterChanged emits what was done to a parameter: Create, Update, Delete
// or LabelParameterVersion.
func (l *Lab) parameterChanged(p *parameter, done string) {
	detail := map[string]string{"operation": done, "name": p.name, "type": p.kind}
	if p.description != "" {
		detail["description"] = p.description
	}
	l.emit(true, "Parameter Store Change", "aws.ssm", []string{p.arn}, detail)
}

// trail emits an API call on a secret as CloudTrail tells it. The request
// names the secret as the caller did; how the answer's ARN is spelt varies.
func (l *Lab) trail(s *secret, operation string, request map[string]any) {
	spellings := []string{"arn", "aRN", "ARN"}
	answer := map[string]any{spellings[l.bus.trailed%len(spellings)]: s.arn, "name": s.name}
	if id, ok := request["clientRequestToken"]; ok {
		answer["versionId"] = id
	}
	l.bus.trailed++
	l.emitTrail("AWS API Call via CloudTrail", operation, "AwsApiCall", map[string]any{
		"requestParameters": request, "responseElements": answer, "readOnly": false,
		"sourceIPAddress": "192.0.2.10", "userAgent": "lab",
		"userIdentity": map[string]string{"type": "AssumedRole", "accountId": l.opts.Account},
	})
}

// rotationSucceeded emits the end of a rotation: which member names the
// secret varies.
func (l *Lab) rotationSucceeded(s *secret) {
	detail := map[string]any{
		"requestParameters": nil, "responseElements": nil,
		"userIdentity": map[string]string{"accountId": l.opts.Account, "invokedBy": "secretsmanager.amazonaws.com"},
	}
	if l.bus.trailed%2 == 0 {
		detail["additionalEventData"] = map[string]string{"SecretId": s.arn}
	} else {
		detail["serviceEventDetails"] = map[string]string{"secretId": s.arn}
	}
	l.bus.trailed++
	l.emitTrail("AWS Service Event via CloudTrail", "RotationSucceeded", "AwsServiceEvent", detail)
}

func (l *Lab) emitTrail(kind, name, eventType string, detail map[string]any) {
	maps.Copy(detail, map[string]any{
		"eventVersion": "1.08", "eventTime": l.nowLocked().UTC().Format(time.RFC3339), "eventSource": "secretsmanager.amazonaws.com",
		"eventName": name, "awsRegion": l.opts.Region, "requestID": newUUID(), "eventID": newUUID(), "eventType": eventType,
		"managementEvent": true, "recipientAccountId": l.opts.Account, "eventCategory": "Management",
	})
	l.emit(false, kind, "aws.secretsmanager", []string{}, detail)
}

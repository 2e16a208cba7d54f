package events

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"outrider/store"
)

// idLimit is the most that a SecretId or the name of a parameter may have, in
// bytes.
const idLimit = 2048

// Event is what one message says has changed.
type Event struct {
	store.Hint
	Account string    // whose secret or parameter it is
	Region  string    // where that is
	Time    time.Time // of the event; zero: unknown
}

// envelope is an event as EventBridge delivers it, or the notification that
// SNS puts around one.
//
// Sources: https://docs.aws.amazon.com/eventbridge/latest/ref/overiew-event-structure.html,
// https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html
type envelope struct {
	Message    string          `json:"Message"` // SNS's alone
	DetailType string          `json:"detail-type"`
	Source     string          `json:"source"`
	Account    string          `json:"account"`
	Region     string          `json:"region"`
	Time       string          `json:"time"`
	Resources  []string        `json:"resources"`
	Detail     json.RawMessage `json:"detail"`
}

// Parse reads the body of a message. Its error says why the message is no
// reason to read anything: it is foreign, malformed, or about something else.
func Parse(body string) (Event, error) {
	var e envelope
	if err := decode(body, &e); err != nil {
		return Event{}, err
	}
	if e.DetailType == "" && e.Message != "" {
		body, e = e.Message, envelope{}
		if err := decode(body, &e); err != nil {
			return Event{}, fmt.Errorf("notification: %w", err)
		}
	}
	at, _ := time.Parse(time.RFC3339, e.Time) // without it, the event is as good
	event := Event{Account: e.Account, Region: e.Region, Time: at}
	var err error
	switch e.Source + ": " + e.DetailType {
	case "aws.secretsmanager: Secret Label Updated":
		event.Hint, err = e.labelUpdated()
	case "aws.secretsmanager: AWS API Call via CloudTrail", "aws.secretsmanager: AWS Service Event via CloudTrail":
		event.Hint, err = e.trailed()
	case "aws.ssm: Parameter Store Change":
		event.Hint, err = e.parameterChanged()
	default:
		return Event{}, fmt.Errorf("source %.64q, detail-type %.64q: says nothing of a value", e.Source, e.DetailType)
	}
	switch {
	case err != nil:
		return Event{}, err
	case event.ID == "" || len(event.ID) > idLimit:
		return Event{}, fmt.Errorf("%s: names nothing", e.DetailType)
	}
	// The secret of another account may be meant, by its ARN.
	if region, account, ok := placeOf(event.ID); ok {
		event.Region, event.Account = region, account
	}
	return event, nil
}

// decode is strict about nothing but JSON; its error quotes nothing.
func decode(body string, into any) error {
	if err := json.Unmarshal([]byte(body), into); err != nil {
		return errors.New("not an event's JSON")
	}
	return nil
}

// placeOf returns where an ARN says that something is.
func placeOf(arn string) (region, account string, ok bool) {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 || parts[0] != "arn" {
		return "", "", false
	}
	return parts[3], parts[4], true
}

// resource returns the ARN that the event is about, empty when it gives none.
// An event is about something of the account and region that it comes from.
func (e envelope) resource() (string, error) {
	if len(e.Resources) == 0 {
		return "", nil
	}
	region, account, ok := placeOf(e.Resources[0])
	if !ok || region != e.Region || account != e.Account {
		return "", fmt.Errorf("%s: its resource is not of the account and region that it comes from", e.DetailType)
	}
	return e.Resources[0], nil
}

// labelUpdated reads Secrets Manager's own event, which comes for AWSCURRENT
// and custom labels.
func (e envelope) labelUpdated() (store.Hint, error) {
	var detail struct {
		Name  string `json:"name"`
		Label string `json:"labelUpdated"`
		To    string `json:"versionId"`
	}
	if err := decode(string(e.Detail), &detail); err != nil {
		return store.Hint{}, fmt.Errorf("%s: detail: %w", e.DetailType, err)
	}
	arn, err := e.resource()
	if err != nil {
		return store.Hint{}, err
	}
	h := store.Hint{ID: detail.Name, Stage: detail.Label}
	if arn != "" {
		h.ID = arn
	}
	if h.Stage != "" {
		h.Version = detail.To
	}
	return h, nil
}

// parameterChanged reads Parameter Store's own event. It names no version, and
// of a label or a deletion the parameter's date does not tell.
func (e envelope) parameterChanged() (store.Hint, error) {
	var detail struct {
		Name      string `json:"name"`
		Operation string `json:"operation"`
	}
	if err := decode(string(e.Detail), &detail); err != nil {
		return store.Hint{}, fmt.Errorf("%s: detail: %w", e.DetailType, err)
	}
	arn, err := e.resource()
	if err != nil {
		return store.Hint{}, err
	}
	h := store.Hint{ID: detail.Name, Parameter: true}
	if h.ID == "" {
		h.ID = arn // which does not tell /name from name
	}
	if detail.Operation == "Create" || detail.Operation == "Update" {
		h.At, _ = time.Parse(time.RFC3339, e.Time)
	}
	return h, nil
}

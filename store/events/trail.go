package events

import (
	"fmt"
	"strings"

	"outrider/secret"
	"outrider/store"
)

// record is what CloudTrail keeps of a call to Secrets Manager, as far as it
// matters here. Names of members match whatever their case: AWS writes arn,
// aRN and ARN.
//
// Source: https://docs.aws.amazon.com/secretsmanager/latest/userguide/monitoring-eventbridge.html
type record struct {
	EventName string `json:"eventName"`
	ErrorCode string `json:"errorCode"`
	Request   struct {
		SecretID string   `json:"secretId"` // as the caller typed it: name or ARN
		Name     string   `json:"name"`     // of a new one
		Token    string   `json:"clientRequestToken"`
		Stages   []string `json:"versionStages"`
		Stage    string   `json:"versionStage"`
		MoveTo   string   `json:"moveToVersionId"`
	} `json:"requestParameters"`
	Response struct {
		ARN       string `json:"arn"`
		VersionID string `json:"versionId"`
	} `json:"responseElements"`
	Additional struct {
		SecretID string `json:"SecretId"`
	} `json:"additionalEventData"`
	Service struct {
		SecretID string `json:"secretId"`
	} `json:"serviceEventDetails"`
}

// trailed reads an event that CloudTrail made of a call, or of a step of a
// rotation.
func (e envelope) trailed() (store.Hint, error) {
	var r record
	if err := decode(string(e.Detail), &r); err != nil {
		return store.Hint{}, fmt.Errorf("%s: detail: %w", e.DetailType, err)
	}
	if r.ErrorCode != "" {
		return store.Hint{}, fmt.Errorf("%.64q: the call was refused", r.EventName)
	}
	h := store.Hint{ID: r.id()}
	switch r.EventName {
	case "PutSecretValue":
		h.Stage, h.Version = only(r.Request.Stages), r.Request.Token
	case "CreateSecret", "UpdateSecret": // with a token also where the value stays
		h.Stage, h.Version = secret.Current, r.Response.VersionID
	case "UpdateSecretVersionStage":
		h.Stage, h.Version = r.Request.Stage, r.Request.MoveTo
	case "RotationSucceeded":
		h.Stage = secret.Current
	case "DeleteSecret", "RestoreSecret":
	default:
		return store.Hint{}, fmt.Errorf("%.64q: changes no value", r.EventName)
	}
	switch h.Stage {
	case "": // which label moved is not known, so that the version says nothing
		h.Version = ""
	case "AWSPENDING", "AWSPREVIOUS":
		return store.Hint{}, fmt.Errorf("%s: %s moves before a rotation is through, and with it", r.EventName, h.Stage)
	}
	return h, nil
}

// id returns the ARN where the record has it, else the secret's name.
func (r record) id() string {
	name := ""
	for _, id := range []string{r.Response.ARN, r.Additional.SecretID, r.Service.SecretID, r.Request.SecretID, r.Request.Name} {
		if strings.HasPrefix(id, "arn:") {
			return id
		}
		if name == "" {
			name = id
		}
	}
	return name
}

// only returns the label that a value was put under: AWSCURRENT when none was
// asked for, and nothing when there were several.
func only(stages []string) string {
	switch len(stages) {
	case 0:
		return secret.Current
	case 1:
		return stages[0]
	}
	return ""
}

package serve

import (
	"encoding/json"
	"time"

	"outrider/secret"
)

// Credentials are one session, as credential_process hands it to an SDK.
type Credentials struct {
	AccessKeyID     string
	SecretAccessKey secret.Value
	SessionToken    secret.Value
	Expiration      time.Time
}

// Document returns the JSON that credential_process prints
// (https://docs.aws.amazon.com/cli/latest/topic/config-vars.html).
func (c Credentials) Document() secret.Value {
	document, _ := json.Marshal(struct { // strings and a time always encode
		Version         int    // the number 1
		AccessKeyID     string `json:"AccessKeyId"`
		SecretAccessKey string
		SessionToken    string
		Expiration      string // RFC 3339, UTC
	}{
		Version:         1,
		AccessKeyID:     c.AccessKeyID,
		SecretAccessKey: string(c.SecretAccessKey.Reveal()),
		SessionToken:    string(c.SessionToken.Reveal()),
		Expiration:      c.Expiration.UTC().Format(time.RFC3339),
	})
	return secret.NewValue(append(document, '\n'))
}

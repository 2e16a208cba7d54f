package serve

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"outrider/secret"
)

// Credentials are one session, as an SDK is handed it.
type Credentials struct {
	AccessKeyID     string
	SecretAccessKey secret.Value
	SessionToken    secret.Value
	Expiration      time.Time // by this host's clock, which is what clients compare it with
}

// usable passes credentials on if a client can use them at this instant, so
// that nobody is ever handed empty or expired ones.
func usable(c Credentials, err error) (Credentials, error) {
	switch {
	case err != nil:
		return Credentials{}, err
	case c.AccessKeyID == "" || c.SecretAccessKey.Len() == 0 || c.SessionToken.Len() == 0:
		return Credentials{}, errors.New("the session is not whole")
	case !time.Now().Before(c.Expiration):
		return Credentials{}, fmt.Errorf("the session ended at %s", timestamp(c.Expiration))
	}
	return c, nil
}

func timestamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Document returns the JSON that credential_process prints
// (https://docs.aws.amazon.com/cli/latest/topic/config-vars.html).
func (c Credentials) Document() secret.Value {
	return encode(struct {
		Version         int    // the number 1
		AccessKeyID     string `json:"AccessKeyId"`
		SecretAccessKey string
		SessionToken    string
		Expiration      string
	}{
		Version:         1,
		AccessKeyID:     c.AccessKeyID,
		SecretAccessKey: string(c.SecretAccessKey.Reveal()),
		SessionToken:    string(c.SessionToken.Reveal()),
		Expiration:      timestamp(c.Expiration),
	})
}

// keys are the members that the container protocol and IMDS have in common.
type keys struct {
	AccessKeyID     string `json:"AccessKeyId"`
	SecretAccessKey string
	Token           string
	Expiration      string
}

func (c Credentials) keys() keys {
	return keys{
		AccessKeyID:     c.AccessKeyID,
		SecretAccessKey: string(c.SecretAccessKey.Reveal()),
		Token:           string(c.SessionToken.Reveal()),
		Expiration:      timestamp(c.Expiration),
	}
}

func encode(document any) secret.Value {
	b, _ := json.Marshal(document) // structs of strings always encode
	return secret.NewValue(append(b, '\n'))
}

// documents keeps what clients get of each role's session, so that it is
// encoded once a session and not once a request.
type documents struct {
	encode func(Credentials, Grant) secret.Value
	byRole sync.Map // of *document; the roles are the configuration's, and few
}

type document struct {
	accessKeyID string // AWS gives each session its own
	expiration  time.Time
	body        secret.Value
}

func (d *documents) of(role string, c Credentials, g Grant) secret.Value {
	if kept, ok := d.byRole.Load(role); ok {
		if k, ok := kept.(*document); ok && k.accessKeyID == c.AccessKeyID && k.expiration.Equal(c.Expiration) {
			return k.body
		}
	}
	body := d.encode(c, g)
	d.byRole.Store(role, &document{c.AccessKeyID, c.Expiration, body})
	return body
}

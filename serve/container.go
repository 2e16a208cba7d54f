package serve

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"outrider/secret"
)

// Container is the endpoint of the container-credentials protocol, where
// current SDKs look when AWS_CONTAINER_CREDENTIALS_FULL_URI names it. A role's
// session is at /roles/NAME.
//
// Source: https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html
type Container struct {
	// Address is a loopback address with a port, where a client shows the
	// role's token; or unix:PATH, where there are no tokens and the Agent
	// decides by who connects, so that everybody may connect.
	Address string
	Agent   sessions
	Log     *slog.Logger
	// Listening is called once the address is ours, before anybody is
	// answered: it is the time to hand out the tokens. nil: nobody is told.
	Listening func()
}

// Run listens and answers until ctx ends, whose cause it returns; answers
// under way have a second to end. It never asks AWS, and answers with 503 when
// the role has no session that is valid at that instant. Its error before that
// says why it cannot listen.
func (c Container) Run(ctx context.Context) error {
	p := place{what: "credentials endpoint", key: "listen.credentials", address: c.Address, mode: 0o666}
	listen := p.listenTCP
	if path, ok := unixPath(c.Address); ok {
		p.address = path
		listen = p.listenUnix
	}
	listener, err := listen(ctx)
	if err != nil {
		return err
	}
	if c.Listening != nil {
		c.Listening()
	}
	return p.serve(ctx, listener, c.endpoint().server(c.Log), grace)
}

func (c Container) endpoint() endpoint {
	_, local := unixPath(c.Address)
	self := Self()
	kept := &documents{encode: containerDocument}
	return func(w http.ResponseWriter, r *http.Request) (content, error) {
		check := asked
		if local { // where no page can make a browser ask
			check = direct
		}
		if err := check(w, r, http.MethodGet); err != nil {
			return content{}, err
		}
		role, ok := strings.CutPrefix(route(r), "/roles/")
		if !ok {
			return content{}, &refusal{http.StatusNotFound, "NotFound", "a role's credentials are at /roles/NAME"}
		}
		grant, err := c.Agent.Grant(role)
		if err != nil {
			return content{}, err
		}
		caller := self
		if local {
			caller = callerOf(r)
		} else if err := admit(grant.Token, role, r.Header.Get("Authorization")); err != nil {
			return content{}, err
		}
		credentials, err := usable(c.Agent.Credentials(r.Context(), caller, role))
		if err != nil {
			return content{}, err
		}
		return content{"application/json", kept.of(role, credentials, grant)}, nil
	}
}

// admit compares what a client shows with the role's token, in constant time.
func admit(token secret.Value, role, shown string) error {
	switch {
	case shown == "":
		return &refusal{http.StatusUnauthorized, "Unauthorized", fmt.Sprintf(
			"role %s: no token was shown; set AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE as outrider env %s prints it", role, role)}
	case token.Len() == 0:
		return &refusal{http.StatusForbidden, "AccessDenied", fmt.Sprintf(
			"role %s has no token; set roles.%s.token.file in the configuration", role, role)}
	case !token.Equal(secret.Text(shown)):
		return &refusal{http.StatusForbidden, "AccessDenied", fmt.Sprintf(
			"role %s: the token is not this role's; read its file anew", role)}
	}
	return nil
}

func containerDocument(c Credentials, g Grant) secret.Value {
	return encode(struct {
		keys
		AccountID string `json:"AccountId,omitempty"`
		RoleARN   string `json:"RoleArn,omitempty"`
	}{c.keys(), g.account(), g.RoleARN})
}

// NewToken returns a random token: 43 characters that may stand in a header,
// and no end of line, which SDKs would refuse in the token's file.
func NewToken() secret.Value {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return secret.Text(base64.RawURLEncoding.EncodeToString(b[:]))
}

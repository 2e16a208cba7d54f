package serve

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"outrider/secret"
)

// The headers of IMDSv2, in the form that net/http keeps.
const (
	tokenHeader = "X-Aws-Ec2-Metadata-Token"
	ttlHeader   = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"
)

// maxTTL is the longest that a token of IMDSv2 may last.
const maxTTL = 6 * time.Hour

// IMDS is an endpoint that is to clients what IMDSv2 is on EC2, as far as
// credentials, region and account go, for those that look nowhere else. Any
// process on this machine gets the role's session there.
//
// Source: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
type IMDS struct {
	Address    string // loopback, with a port
	Role       string // whose session it hands out
	InstanceID string // empty: this host's name
	Agent      sessions
	Log        *slog.Logger
	// Listening is called once the address is ours, before anybody is
	// answered; nil: nobody is told.
	Listening func()
}

// Run listens and answers until ctx ends, whose cause it returns; answers
// under way have a second to end. It never asks AWS, and answers with 503 when
// the role has no session that is valid at that instant. Its error before that
// says why it cannot listen.
func (i IMDS) Run(ctx context.Context) error {
	p := place{what: "imds endpoint", key: "listen.imds.address", address: i.Address}
	listener, err := p.listenTCP(ctx)
	if err != nil {
		return err
	}
	if i.Listening != nil {
		i.Listening()
	}
	return p.serve(ctx, listener, i.endpoint().server(i.Log), grace)
}

func (i IMDS) endpoint() endpoint {
	if i.InstanceID == "" {
		i.InstanceID, _ = os.Hostname()
	}
	m := &metadata{
		IMDS: i, self: Self(), tokens: newTokens(),
		credentials: documents{encode: imdsDocument}, profile: documents{encode: profileDocument},
	}
	return m.answer
}

// metadata is an IMDS that answers.
type metadata struct {
	IMDS
	self                 Caller
	tokens               *tokens
	credentials, profile documents
}

func (m *metadata) answer(w http.ResponseWriter, r *http.Request) (content, error) {
	path := route(r)
	if path == "/latest/api/token" {
		return m.issue(w, r)
	}
	if err := asked(w, r, http.MethodGet); err != nil {
		return content{}, err
	}
	if !m.tokens.valid(r.Header.Get(tokenHeader), time.Now()) {
		return content{}, &refusal{http.StatusUnauthorized, "Unauthorized", "the token is missing, unknown or expired; PUT /latest/api/token gives one"}
	}
	grant, err := m.Agent.Grant(m.Role)
	if err != nil {
		return content{}, err
	}
	if name, ok := strings.CutPrefix(path, "/latest/meta-data/iam/security-credentials/"); ok && name == grant.roleName() {
		return m.held(r, grant, &m.credentials)
	}
	switch path {
	case "/latest/meta-data/iam/security-credentials":
		return text(grant.roleName()), nil
	case "/latest/meta-data/iam/info":
		return m.held(r, grant, &m.profile)
	case "/latest/meta-data/instance-id":
		return text(m.InstanceID), nil
	case "/latest/meta-data/placement/region":
		return text(grant.Region), nil
	case "/latest/dynamic/instance-identity/document":
		return content{"application/json", m.identityDocument(grant)}, nil
	}
	return content{}, &refusal{http.StatusNotFound, "NotFound", "nothing is served at " + path}
}

// held answers with a document of the session in hand.
func (m *metadata) held(r *http.Request, g Grant, from *documents) (content, error) {
	c, err := usable(m.Agent.Credentials(r.Context(), m.self, m.Role))
	if err != nil {
		return content{}, err
	}
	return content{"application/json", from.of(m.Role, c, g)}, nil
}

// issue answers a request for a token.
func (m *metadata) issue(w http.ResponseWriter, r *http.Request) (content, error) {
	if err := asked(w, r, http.MethodPut); err != nil {
		return content{}, err
	}
	ttl := r.Header.Get(ttlHeader)
	seconds, err := strconv.ParseUint(ttl, 10, 16)
	if last := time.Duration(seconds) * time.Second; err != nil || last < time.Second || last > maxTTL {
		return content{}, &refusal{http.StatusBadRequest, "BadRequest", ttlHeader + " must be 1 to 21600"}
	}
	w.Header().Set(ttlHeader, ttl)
	return text(m.tokens.issue(time.Now().Add(time.Duration(seconds) * time.Second))), nil
}

// asked refuses what is not direct, and what asks by a name.
func asked(w http.ResponseWriter, r *http.Request, method string) error {
	if err := direct(w, r, method); err != nil {
		return err
	}
	return byAddress(r)
}

// roleName returns the name that IMDS shows: the ARN's last part.
func (g Grant) roleName() string { return g.RoleARN[strings.LastIndex(g.RoleARN, "/")+1:] }

func imdsDocument(c Credentials, _ Grant) secret.Value {
	return encode(struct {
		Code        string
		LastUpdated string
		Type        string
		keys
	}{"Success", timestamp(time.Now()), "AWS-HMAC", c.keys()})
}

// profileDocument is what /iam/info gives. There is no instance profile: its
// ARN is the role's, as EC2's own console names the two alike.
func profileDocument(_ Credentials, g Grant) secret.Value {
	return encode(struct {
		Code               string
		LastUpdated        string
		InstanceProfileARN string `json:"InstanceProfileArn"`
	}{"Success", timestamp(time.Now()), strings.Replace(g.RoleARN, ":role/", ":instance-profile/", 1)})
}

func (i IMDS) identityDocument(g Grant) secret.Value {
	return encode(struct {
		Version    string `json:"version"`
		AccountID  string `json:"accountId"`
		Region     string `json:"region"`
		InstanceID string `json:"instanceId"`
	}{"2017-09-30", g.account(), g.Region, i.InstanceID})
}

// Package session opens an STS session for an identity: CreateSession of IAM Roles Anywhere.
package session

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/rolesanywhere-credential-helper/rolesanywhere"

	"outrider/secret"
)

// Role is what a session may do, and where it is opened.
type Role struct {
	Region      string        // the trust anchor's and the profile's
	TrustAnchor string        // ARN
	Profile     string        // ARN
	Role        string        // ARN
	Duration    time.Duration // 15m to 12h, in whole seconds; 0: not sent, the profile decides
	Name        string        // session name; empty: not sent
	Endpoint    string        // base URL; empty: AWS's own for the region
	FIPS        bool          // the region's FIPS endpoint; not with Endpoint
	DualStack   bool          // the region's IPv4 and IPv6 endpoint; not with Endpoint
}

// Session is the credentials that one CreateSession returned.
type Session struct {
	AccessKeyID     string
	SecretAccessKey secret.Value
	SessionToken    secret.Value
	Expires         time.Time     // by AWS's clock
	Skew            time.Duration // AWS's clock minus this host's; 0 when unknown, or AWS's is a minute behind or less
	RoleARN         string        // as AWS returned it; may be empty
	SubjectARN      string        // likewise
	Region          string        // where the session was opened
}

// URL returns the base URL of the role's endpoint. The generated client's own
// table misses a partition, and would be read together with FIPS settings.
func (r Role) URL() string {
	if r.Endpoint != "" {
		return r.Endpoint
	}
	suffix, dual := "amazonaws.com", "api.aws"
	switch prefix, _, _ := strings.Cut(r.Region, "-"); {
	case prefix == "cn":
		suffix, dual = "amazonaws.com.cn", "api.amazonwebservices.com.cn"
	case prefix == "eusc":
		suffix, dual = "amazonaws.eu", "api.amazonwebservices.eu"
	case strings.HasPrefix(r.Region, "us-iso-"):
		suffix = "c2s.ic.gov"
	case strings.HasPrefix(r.Region, "us-isob-"):
		suffix = "sc2s.sgov.gov"
	case strings.HasPrefix(r.Region, "eu-isoe-"):
		suffix = "cloud.adc-e.uk"
	case strings.HasPrefix(r.Region, "us-isof-"):
		suffix = "csp.hci.ic.gov"
	}
	if r.DualStack {
		suffix = dual
	}
	service := "rolesanywhere"
	if r.FIPS {
		service += "-fips"
	}
	return "https://" + service + "." + r.Region + "." + suffix
}

func (r Role) input() *rolesanywhere.CreateSessionInput {
	in := &rolesanywhere.CreateSessionInput{
		ProfileArn:     aws.String(r.Profile),
		RoleArn:        aws.String(r.Role),
		TrustAnchorArn: aws.String(r.TrustAnchor),
	}
	if r.Duration > 0 {
		in.DurationSeconds = aws.Int32(int32(r.Duration / time.Second))
	}
	if r.Name != "" {
		in.RoleSessionName = aws.String(r.Name)
	}
	return in
}

// newSession requires every member of the answer that a session needs: the
// generated client takes a 201 without credentials for a success.
func newSession(out *rolesanywhere.CreateSessionOutput, now time.Time) (Session, error) {
	if len(out.CredentialSet) == 0 || out.CredentialSet[0].Credentials == nil {
		return Session{}, errors.New("the answer holds no credentials")
	}
	set := out.CredentialSet[0]
	c := set.Credentials
	for _, member := range []struct {
		name  string
		value *string
	}{
		{"accessKeyId", c.AccessKeyId}, {"secretAccessKey", c.SecretAccessKey},
		{"sessionToken", c.SessionToken}, {"expiration", c.Expiration},
	} {
		if aws.ToString(member.value) == "" {
			return Session{}, fmt.Errorf("the answer lacks %s", member.name)
		}
	}
	expires, err := time.Parse(time.RFC3339, *c.Expiration)
	if err != nil {
		return Session{}, errors.New("the answer's expiration is not a time")
	}
	if !expires.After(now) {
		return Session{}, fmt.Errorf("the answer's session has expired already, at %s", expires.UTC().Format(time.RFC3339))
	}
	s := newCredentials(*c.AccessKeyId, *c.SecretAccessKey, *c.SessionToken)
	s.Expires, s.RoleARN, s.SubjectARN = expires, aws.ToString(set.RoleArn), aws.ToString(out.SubjectArn)
	return s, nil
}

func newCredentials(keyID, secretKey, token string) Session {
	return Session{AccessKeyID: keyID, SecretAccessKey: secret.Text(secretKey), SessionToken: secret.Text(token)}
}

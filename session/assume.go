package session

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"outrider/internal/line"
)

// Chained is a role that a session assumes: role chaining, which STS limits
// to an hour.
type Chained struct {
	Region    string
	Role      string // ARN
	Name      string // role session name; STS wants one
	Endpoint  string // base URL of STS; empty: AWS's own for the region
	FIPS      bool
	DualStack bool
}

// URL returns the base URL of the endpoint.
func (c Chained) URL(ctx context.Context) (string, error) {
	if c.Endpoint != "" {
		return c.Endpoint, nil
	}
	found, err := sts.NewDefaultEndpointResolverV2().ResolveEndpoint(ctx, sts.EndpointParameters{
		Region: aws.String(c.Region), UseFIPS: aws.Bool(c.FIPS), UseDualStack: aws.Bool(c.DualStack),
	})
	if err != nil {
		return "", fmt.Errorf("endpoint of STS in %s: %w", c.Region, err)
	}
	return found.URI.String(), nil
}

// Assume calls AssumeRole with the credentials of an earlier session and
// returns the one it opens, which lasts no longer than that. It is attempted
// once and returns after Timeout at the latest. Every error is an *Error.
//
// Source: https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
func (c *Client) Assume(ctx context.Context, role Chained, from Session) (Session, error) {
	ctx, cancel := c.deadline(ctx)
	defer cancel()
	x := &exchange{transport: c.Transport}
	out, err := c.stsClient(x, role, from).AssumeRole(ctx, &sts.AssumeRoleInput{
		RoleArn:         aws.String(role.Role),
		RoleSessionName: aws.String(role.Name),
	})
	c.learn(x)
	if err != nil {
		return Session{}, c.explainAssume(ctx, x, role, err)
	}
	got := out.Credentials
	if got == nil || aws.ToString(got.AccessKeyId) == "" || aws.ToString(got.SecretAccessKey) == "" || aws.ToString(got.SessionToken) == "" || got.Expiration == nil {
		return Session{}, c.explainAssume(ctx, x, role, errors.New("the answer holds no whole credentials"))
	}
	s := newCredentials(*got.AccessKeyId, *got.SecretAccessKey, *got.SessionToken)
	s.Expires = *got.Expiration
	if from.Expires.Before(s.Expires) {
		s.Expires = from.Expires // the chain is renewed as one
	}
	s.RoleARN, s.SubjectARN, s.Region, s.Skew = role.Role, from.SubjectARN, from.Region, c.sessionSkew()
	return s, nil
}

func (c *Client) stsClient(x *exchange, role Chained, from Session) *sts.Client {
	options := sts.Options{
		AppID:      "outrider",
		Region:     role.Region,
		HTTPClient: x,
		Retryer:    aws.NopRetryer{},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{
				AccessKeyID:     from.AccessKeyID,
				SecretAccessKey: string(from.SecretAccessKey.Reveal()),
				SessionToken:    string(from.SessionToken.Reveal()),
			}, nil
		}),
	}
	if role.FIPS {
		options.EndpointOptions.UseFIPSEndpoint = aws.FIPSEndpointStateEnabled
	}
	if role.DualStack {
		options.EndpointOptions.UseDualStackEndpoint = aws.DualStackEndpointStateEnabled
	}
	if role.Endpoint != "" {
		options.BaseEndpoint = aws.String(role.Endpoint)
	}
	return sts.New(options)
}

func (c *Client) explainAssume(ctx context.Context, x *exchange, role Chained, err error) *Error {
	e := &Error{Operation: "AssumeRole " + role.Role, Host: "STS in " + role.Region, Status: x.status, Skew: c.Skew()}
	if x.header != nil {
		e.RequestID = line.Of(x.header.Get("X-Amzn-Requestid"))
	}
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		e.Code, e.Message = line.Of(api.ErrorCode()), line.Of(api.ErrorMessage())
		if x.status == http.StatusForbidden {
			e.Remedy = "the trust policy of that role must allow sts:AssumeRole to the one before it, and that one's policy must allow it, too"
		}
		return e
	}
	e.Err = x.err
	if e.Err == nil {
		e.Err = err
	}
	if ctx.Err() != nil {
		e.Err = context.Cause(ctx)
	}
	e.Message, e.Remedy = line.Of(e.Err.Error()), networkRemedy(e.Err)
	return e
}

// deadline bounds one attempt.
func (c *Client) deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	timeout := c.Timeout
	if timeout == 0 {
		timeout = defaultTimeout
	}
	return context.WithTimeoutCause(ctx, timeout, &timeoutError{timeout})
}

// timeoutError says that no answer came in time.
type timeoutError struct{ after time.Duration }

// Error names the limit.
func (e *timeoutError) Error() string { return fmt.Sprintf("no answer within %s", e.after) }

// Is makes it a context.DeadlineExceeded, which it stands in for.
func (e *timeoutError) Is(target error) bool { return target == context.DeadlineExceeded }

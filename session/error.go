package session

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"mime"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/restjson"
	"github.com/aws/smithy-go"

	"outrider/internal/line"
	"outrider/internal/remedy"
	"outrider/signer"
)

// unknown is the generated client's code and message where an answer has
// none.
const unknown = "UnknownError"

// userinfo is a user and password in a URL, such as a proxy's.
var userinfo = regexp.MustCompile(`//[^\s/]*@`)

// Error says why there is no session. No text in it holds a secret or a line
// break, and none of ours a URL.
type Error struct {
	Operation string        // empty: CreateSession
	Host      string        // whom was asked
	Status    int           // HTTP status; 0: no answer came
	Code      string        // AWS's, such as AccessDeniedException; empty when AWS did not answer
	Message   string        // AWS's, or what went wrong on the way
	RequestID string        // AWS's; may be empty
	Remedy    string        // empty when none is known
	Skew      time.Duration // AWS's clock minus this host's, as Client.Skew; at least so much where Err is that a certificate is not valid yet
	Err       error         // what went wrong on the way; nil when there was an answer
}

// Error gives all of it in one line.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s at %s: ", cmp.Or(e.Operation, "CreateSession"), e.Host)
	if e.Code != "" {
		b.WriteString(e.Code + ": ")
	}
	b.WriteString(e.Message)
	switch {
	case e.RequestID != "":
		fmt.Fprintf(&b, " (HTTP %d, request id %s)", e.Status, e.RequestID)
	case e.Status != 0:
		fmt.Fprintf(&b, " (HTTP %d)", e.Status)
	}
	if e.Remedy != "" {
		b.WriteString("; " + e.Remedy)
	}
	return b.String()
}

// Unwrap returns Err, such as context.DeadlineExceeded.
func (e *Error) Unwrap() error { return e.Err }

// Temporary reports whether the same call may succeed soon: throttling, an
// outage, the network, or somebody else than AWS who answered. What is not
// temporary is tried slowly, until someone mends it.
func (e *Error) Temporary() bool {
	return e.Code == "" || e.throttled() || e.Status >= 500
}

// Denied reports whether AWS does not let this host have the session: the
// certificate is revoked or not trusted, the role or profile not for it. What
// is refused for how it was asked (a signature broken on the way, a session
// that would be too long) is not denied. A certificate that is out of its dates
// is denied like one that is not trusted.
func (e *Error) Denied() bool {
	message := strings.ToLower(e.Message)
	return e.Status == http.StatusForbidden && strings.HasPrefix(e.Code, "AccessDenied") &&
		!strings.Contains(message, "invalid signature") && !strings.Contains(message, "maxsessionduration")
}

func (e *Error) throttled() bool {
	code := strings.ToLower(e.Code)
	return e.Status == http.StatusTooManyRequests || strings.Contains(code, "throttl") ||
		strings.HasPrefix(code, "toomanyrequests") || strings.HasPrefix(code, "requestlimitexceeded")
}

// explain turns whatever the generated client returned into an Error. The
// client's own texts are not shown: some quote the answer.
func (c *Client) explain(ctx context.Context, x *exchange, role Role, err error) *Error {
	e := &Error{Host: host(role), Status: x.status, RequestID: line.Of(x.header.Get("X-Amzn-Requestid")), Skew: c.Skew()}
	var api smithy.APIError
	errors.As(err, &api)
	switch {
	case ctx.Err() != nil && (x.status == 0 || x.err != nil):
		e.Err, e.Message = ctx.Err(), line.Of(context.Cause(ctx).Error())
	case x.err != nil:
		e.Err, e.Message = x.err, line.Of(userinfo.ReplaceAllString(x.err.Error(), "//"))
	case api != nil && api.ErrorMessage() != unknown:
		e.Code, e.Message = line.Of(strings.TrimPrefix(api.ErrorCode(), unknown)), line.Of(api.ErrorMessage())
	case api != nil || is[*smithy.DeserializationError](err):
		e.Code = line.Of(restjson.SanitizeErrorCode(x.header.Get("X-Amzn-Errortype")))
		e.Message = notAWS(x)
	case x.status != 0:
		e.Message = line.Of(err.Error())
	default:
		e.Err, e.Message = err, line.Of(err.Error())
	}
	if invalid, ok := remedy.OutOfDates(e.Err); ok {
		e.Skew = max(e.Skew, time.Until(invalid.NotBefore).Round(time.Second))
	}
	e.Remedy = e.remedy(role, x.id, x.answered)
	return e
}

// notAWS describes an answer that is none of IAM Roles Anywhere's.
func notAWS(x *exchange) string {
	if kind, _, err := mime.ParseMediaType(x.header.Get("Content-Type")); err == nil && kind != "application/json" {
		return "the answer is " + line.Of(kind) + ", not IAM Roles Anywhere's JSON"
	}
	return "the answer is not IAM Roles Anywhere's JSON"
}

func host(role Role) string {
	u, err := url.Parse(role.URL())
	if err != nil {
		return role.Region
	}
	return u.Host
}

// remedy says how to mend e, "" when there is nothing to say. At is when the
// answer came, by our clock.
func (e *Error) remedy(role Role, id *signer.Identity, at time.Time) string {
	switch {
	case errors.Is(e.Err, context.Canceled):
		return ""
	case e.Err != nil:
		return networkRemedy(e.Err)
	case e.throttled():
		return "AWS takes 10 CreateSession a second, counted by certificate and source address; have fewer hosts start at once"
	case e.Status == http.StatusProxyAuthRequired:
		return "put the proxy's user and password into HTTPS_PROXY"
	case e.Status >= 500:
		return ""
	case e.Code == "":
		return "look for a captive portal, a proxy or a firewall in between, or a wrong endpoint"
	case e.Status == http.StatusForbidden:
		return e.refusal(role, id, at)
	case e.Code == "ResourceNotFoundException":
		return fmt.Sprintf("check trust_anchor and profile: both must exist in %s, in that account", role.Region)
	case e.Code == "ValidationException":
		return "check the ARNs, session_duration (15m to 12h), session_name (2 to 64 characters) and that the chain holds every intermediate"
	}
	return ""
}

// refusal is the remedy for a 403. The texts are the only thing that tells
// AWS's reasons apart.
func (e *Error) refusal(role Role, id *signer.Identity, at time.Time) string {
	message := strings.ToLower(e.Message)
	if err := id.CheckTime(at.Add(e.Skew)); err != nil {
		return err.Error()
	}
	switch {
	case strings.Contains(message, "untrusted signing certificate"):
		return untrusted(id)
	case strings.Contains(message, "certificate revoked"):
		return fmt.Sprintf("serial %x is on a CRL that was imported; issue a new certificate", id.Leaf().SerialNumber)
	case strings.Contains(message, "maxsessionduration"):
		return "shorten session_duration or the profile's, or raise the role's MaxSessionDuration"
	case strings.HasPrefix(message, "unable to assume role"):
		return "the role's trust policy must allow rolesanywhere.amazonaws.com sts:AssumeRole, sts:TagSession and sts:SetSourceIdentity " +
			"under conditions this certificate meets, and the profile must list the role; a session_duration over the role's MaxSessionDuration is refused too"
	case e.Skew != 0:
		return fmt.Sprintf("this host's clock is %s; set it", offBy(e.Skew))
	case strings.Contains(message, "invalid signature"):
		return "look for a proxy in between that changes headers, and at this host's clock"
	case role.Name != "":
		return "leave session_name out, or have the profile accept role session names"
	}
	return "check that trust anchor and profile are enabled and that the profile lists the role"
}

func untrusted(id *signer.Identity) string {
	last := id.Leaf()
	if chain := id.Chain(); len(chain) > 0 {
		last = chain[len(chain)-1]
	}
	return fmt.Sprintf("%q must be the trust anchor's certificate, or the chain must go on up to it; check trust_anchor", last.Issuer)
}

func offBy(skew time.Duration) string {
	if skew > 0 {
		return skew.String() + " behind AWS's"
	}
	return (-skew).String() + " ahead of AWS's"
}

func networkRemedy(err error) string {
	op, _ := errors.AsType[*net.OpError](err)
	_, old := remedy.OutOfDates(err)
	switch {
	case op != nil && op.Op == "proxyconnect":
		return "check HTTPS_PROXY and NO_PROXY"
	case !old && is[*tls.CertificateVerificationError](err):
		return "if a proxy opens TLS, add its CA to the system's roots"
	}
	return remedy.Network(err, "region")
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

package store

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"outrider/internal/remedy"
	"outrider/refresher"
	"outrider/secret"
	"outrider/store/internal/wire"
)

// Error says why one reference could not be read.
type Error struct {
	Ref       secret.Ref
	Operation string // the API operation that was refused
	Code      string // AWS's code; empty when no answer came
	Message   string // AWS's message, or what happened on the way
	RequestID string // empty when no answer came, or inside a batch

	cause error
}

// Error names the secret, AWS's code, message and request id, and the remedy
// where there is one.
func (e *Error) Error() string {
	return wire.Failure{Code: e.Code, Message: e.Message, RequestID: e.RequestID}.Sentence(e.Ref.String(), e.remedy())
}

// Unwrap returns what the error came from.
func (e *Error) Unwrap() error { return e.cause }

// Temporary reports whether the service or the way to it has failed, or it
// wants fewer calls: the same read may succeed soon.
func (e *Error) Temporary() bool {
	c := classify(e)
	return c == server || c == throttled
}

// Denied reports whether the role may not read the reference.
func (e *Error) Denied() bool { return classify(e) == denied }

func (e *Error) remedy() string {
	kind := e.Ref.Kind.String()
	switch {
	case e.Code == "ResourceNotFoundException" && e.Ref.Stage != "":
		return "check the name, the region of the role, and that the version has a value under " + e.Ref.Stage
	case e.Code == "ResourceNotFoundException", e.Code == "ParameterNotFound":
		return "check the name, the version and the region of the role"
	case strings.HasPrefix(e.Code, "AccessDenied") && ofKey(e.Message):
		return "allow kms:Decrypt on the " + kind + "'s key to the role"
	case strings.HasPrefix(e.Code, "AccessDenied") && e.Ref.Kind == secret.SecretsManager:
		return "allow secretsmanager:GetSecretValue on this secret to the role"
	case strings.HasPrefix(e.Code, "AccessDenied"):
		return "allow ssm:" + e.Operation + " on it to the role"
	case e.Code == "InvalidRequestException" && strings.Contains(e.Message, "deletion"):
		return "restore the secret, or take it out of the configuration"
	case e.Code == "LimitExceededException":
		return "it is a quota of the account: raise it; it is not asked for again soon"
	case e.cause != nil && classify(e.cause) == throttled:
		return "fewer calls are made for now; if it lasts, see docs/scale.md"
	}
	onTheWay := remedy.Network(e.cause, "region")
	if onTheWay == "" && wire.Is[*smithy.DeserializationError](e.cause) && wire.Status(e.cause) < http.StatusInternalServerError {
		return "look for a proxy or a captive portal in between"
	}
	return onTheWay
}

// ofKey reports whether a denial is about the key that a value is encrypted
// with. Parameter Store hands KMS's own text on, which does not name KMS.
func ofKey(message string) bool {
	message = strings.ToLower(message)
	return strings.Contains(message, "kms") || strings.Contains(message, "ciphertext")
}

// explain turns err into an *Error about ref, without the URL that Go's
// transport errors carry. An error of the session stays what it is, as does an
// *Error.
func explain(ref secret.Ref, operation string, err error) error {
	if session, ok := errors.AsType[wire.SessionError](err); ok {
		return session
	}
	if told, ok := errors.AsType[*Error](err); ok {
		return told
	}
	f := wire.Read(err, service(ref))
	if f.OnTheWay {
		f.Message = operation + ": " + f.Message
	}
	return &Error{Ref: ref, Operation: operation, Code: f.Code, Message: f.Message, RequestID: f.RequestID, cause: err}
}

func service(ref secret.Ref) string {
	if ref.Kind == secret.SecretsManager {
		return "Secrets Manager"
	}
	return "Parameter Store"
}

// class sorts what went wrong by what is to be done about it.
type class uint8

const (
	other     class = iota // the back-off is all there is to do
	refused                // the session is expired or unknown: get another
	misdated               // the clock is off; the refusal showed by how much
	denied                 // the role may not do this
	gone                   // what was asked for is not there, or is asked for wrongly
	throttled              // too many calls: slow down
	server                 // the service or the way to it has failed
	quota                  // the account has a limit that waiting does not lift
)

// patience returns how long to wait before trying again what failed this way.
// What a person must mend is not asked for every second; what mends itself is.
func (c class) patience() refresher.Backoff {
	switch c {
	case denied, gone:
		return refresher.Backoff{First: 30 * time.Second, Limit: time.Minute}
	case quota:
		return refresher.Backoff{First: 5 * time.Minute, Limit: time.Hour}
	default:
		return refresher.Backoff{}
	}
}

// classify sorts by code first. A nil error, and one that the caller made by
// calling off, is other.
func classify(err error) class {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return unanswered(err)
	}
	switch api.ErrorCode() {
	case "ExpiredToken", "ExpiredTokenException", "UnrecognizedClientException", "InvalidClientTokenId",
		"MissingAuthenticationToken", "MissingAuthenticationTokenException":
		return refused
	case "RequestExpired", "RequestTimeTooSkewed", "RequestInTheFuture":
		return misdated
	case "InvalidSignatureException", "SignatureDoesNotMatch", "IncompleteSignature", "IncompleteSignatureException":
		if strings.Contains(api.ErrorMessage(), "xpired") || strings.Contains(api.ErrorMessage(), "not yet current") {
			return misdated
		}
		return refused
	case "AccessDenied", "AccessDeniedException":
		return denied
	case "ResourceNotFoundException", "ParameterNotFound", "ParameterVersionNotFound", "DecryptionFailure",
		"InvalidParameterException", "InvalidRequestException", "ValidationException", "InvalidKeyId":
		return gone
	case "LimitExceededException":
		return quota
	case "ThrottlingException", "Throttling", "ThrottledException", "RequestThrottled", "RequestThrottledException",
		"TooManyRequestsException", "RequestLimitExceeded", "SlowDown", "ProvisionedThroughputExceededException":
		return throttled
	}
	response, answered := errors.AsType[*awshttp.ResponseError](err)
	switch {
	case answered && response.HTTPStatusCode() == http.StatusTooManyRequests:
		return throttled
	case answered && response.HTTPStatusCode() >= http.StatusInternalServerError, api.ErrorCode() == "RequestTimeout":
		return server
	}
	return other
}

// unanswered sorts an error that is not AWS's.
func unanswered(err error) class {
	told, ok := errors.AsType[*Error](err)
	switch {
	case ok && told.Code != "":
		return classify(&smithy.GenericAPIError{Code: told.Code, Message: told.Message}) // from inside an answer
	case err == nil, errors.Is(err, context.Canceled), wire.Is[wire.SessionError](err), ok && told.cause == nil:
		return other
	}
	if wire.Status(err) == http.StatusTooManyRequests { // a proxy's, without a code
		return throttled
	}
	return server
}

package store

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"outrider/secret"
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
	var b strings.Builder
	fmt.Fprintf(&b, "%s: ", e.Ref)
	if e.Code != "" {
		b.WriteString(e.Code + ": ")
	}
	b.WriteString(e.Message)
	if e.RequestID != "" {
		b.WriteString(" (request id " + e.RequestID + ")")
	}
	if remedy := e.remedy(); remedy != "" {
		b.WriteString("; " + remedy)
	}
	return b.String()
}

// Unwrap returns what the error came from.
func (e *Error) Unwrap() error { return e.cause }

func (e *Error) remedy() string {
	switch {
	case e.Code == "ResourceNotFoundException":
		return "check the name, the region of the role, and that the version has a value under " + e.Ref.Stage
	case strings.HasPrefix(e.Code, "AccessDenied") && strings.Contains(e.Message, "KMS"):
		return "allow kms:Decrypt on the secret's key to the role"
	case strings.HasPrefix(e.Code, "AccessDenied"):
		return "allow secretsmanager:GetSecretValue on this secret to the role"
	case e.Code == "InvalidRequestException" && strings.Contains(e.Message, "deletion"):
		return "restore the secret, or take it out of the configuration"
	}
	return ""
}

// sessionError is why there are no credentials to read with. It is about no
// reference in particular.
type sessionError struct{ error }

// Unwrap returns the session's own error.
func (e sessionError) Unwrap() error { return e.error }

// explain turns err into an *Error about ref, without the URL that Go's
// transport errors carry. An error of the session stays what it is.
func explain(ref secret.Ref, operation string, err error) error {
	if session, ok := errors.AsType[sessionError](err); ok {
		return session
	}
	e := &Error{Ref: ref, Operation: operation, Message: err.Error(), cause: err}
	var api smithy.APIError
	var transport *url.Error
	switch {
	case errors.As(err, &api):
		e.Code, e.Message = api.ErrorCode(), api.ErrorMessage()
		if response, ok := errors.AsType[*awshttp.ResponseError](err); ok {
			e.RequestID = response.ServiceRequestID()
		}
	case is[*smithy.DeserializationError](err):
		// Its own text quotes the answer.
		e.Message = operation + ": the answer is not Secrets Manager's JSON; look for a proxy or a captive portal in between"
	case errors.Is(err, context.DeadlineExceeded):
		e.Message = operation + ": no answer in time"
	case errors.As(err, &transport):
		e.Message = operation + ": " + transport.Err.Error()
	}
	return e
}

func is[T error](err error) bool {
	_, ok := errors.AsType[T](err)
	return ok
}

// class sorts what went wrong by what is to be done about it.
type class uint8

const (
	other     class = iota // the caller's back-off is all there is to do
	refused                // the session is expired or unknown: get another
	misdated               // the clock is off; the refusal showed by how much
	denied                 // the role may not do this
	throttled              // too many calls: slow down
)

// classify sorts by code first. A nil error is other.
func classify(err error) class {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return other
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
	case "ThrottlingException", "Throttling", "ThrottledException", "RequestThrottled", "RequestThrottledException",
		"TooManyRequestsException", "RequestLimitExceeded", "SlowDown", "ProvisionedThroughputExceededException":
		return throttled
	}
	if response, ok := errors.AsType[*awshttp.ResponseError](err); ok && response.HTTPStatusCode() == http.StatusTooManyRequests {
		return throttled
	}
	return other
}

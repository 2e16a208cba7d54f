// Package wire makes a call to AWS with a session, and reads what became of it.
package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"outrider/internal/line"
)

// Sessions is whose credentials sign calls.
type Sessions interface {
	aws.CredentialsProvider
	// Spent says that AWS refused these credentials; the next Retrieve must
	// return others.
	Spent(aws.Credentials)
}

// SessionError is why there are no credentials to call with. It is about
// nothing that was asked for in particular.
type SessionError struct{ error }

// Unwrap returns the session's own error.
func (e SessionError) Unwrap() error { return e.error }

// Stay keeps a signed request from going where a captive portal sends it.
func Stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Signed makes one call. When AWS refuses the credentials it is made once more,
// with the session that replaces them, or by the clock that the refusal showed.
// Refusal tells which. The error is a SessionError, or the call's.
func Signed[Out any](ctx context.Context, s Sessions, refusal func(error) (spent, misdated bool), call func(aws.CredentialsProvider) (Out, error)) (Out, error) {
	for second := false; ; second = true {
		credentials, err := s.Retrieve(ctx)
		if err != nil {
			var none Out
			return none, SessionError{err}
		}
		out, err := call(aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return credentials, nil
		}))
		spent, misdated := refusal(err)
		if second || !spent && !misdated {
			return out, err
		}
		if spent {
			s.Spent(credentials)
		}
	}
}

// Failure is what an error of a call says.
type Failure struct {
	Code      string // AWS's code; empty when no answer came
	Message   string // AWS's message, or what happened on the way
	RequestID string // empty when no answer came
	OnTheWay  bool   // it is no answer of AWS's, nor the caller's own doing
}

// Read returns what an error says, without the URL that Go's transport errors
// carry and the answer that a decoder's quotes. Service is whose JSON was
// expected.
func Read(err error, service string) Failure {
	var api smithy.APIError
	var transport *url.Error
	var broken *net.OpError
	switch {
	case errors.As(err, &api):
		f := Failure{Code: api.ErrorCode(), Message: api.ErrorMessage()}
		if response, ok := errors.AsType[*awshttp.ResponseError](err); ok {
			f.RequestID = response.ServiceRequestID()
		}
		return f
	case errors.Is(err, context.DeadlineExceeded):
		return Failure{Message: "no answer in time", OnTheWay: true}
	case errors.As(err, &transport):
		return Failure{Message: transport.Err.Error(), OnTheWay: true}
	case errors.As(err, &broken): // in the middle of the answer
		return Failure{Message: broken.Error(), OnTheWay: true}
	case Is[*smithy.DeserializationError](err):
		return Failure{Message: fmt.Sprintf("the answer, HTTP %d, is not %s's JSON", Status(err), service), OnTheWay: true}
	}
	return Failure{Message: err.Error()}
}

// Sentence returns what became of subject: AWS's code, message and request id,
// and the remedy, where there are any. It is one line, whatever the answer holds.
func (f Failure) Sentence(subject, remedy string) string {
	var b strings.Builder
	b.WriteString(subject + ": ")
	if f.Code != "" {
		b.WriteString(line.Of(f.Code) + ": ")
	}
	b.WriteString(line.Of(f.Message))
	if f.RequestID != "" {
		b.WriteString(" (request id " + line.Of(f.RequestID) + ")")
	}
	if remedy != "" {
		b.WriteString("; " + remedy)
	}
	return b.String()
}

// Status returns the HTTP status of the answer in err; 0: there was none.
func Status(err error) int {
	if response, ok := errors.AsType[*awshttp.ResponseError](err); ok {
		return response.HTTPStatusCode()
	}
	return 0
}

// Is reports whether there is a T in err.
func Is[T error](err error) bool {
	_, ok := errors.AsType[T](err)
	return ok
}

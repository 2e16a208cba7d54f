package events

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/aws/smithy-go"

	"outrider/internal/remedy"
	"outrider/store/internal/wire"
)

// errNotSQS is of an answer that goes well and has no request id: AWS's have.
var errNotSQS = errors.New("the answer is not SQS's")

// Error says why a queue could not be read.
type Error struct {
	URL       string // of the queue
	Operation string // the API operation that was refused
	Code      string // AWS's code; empty when no answer came
	Message   string // AWS's message, or what happened on the way
	RequestID string // empty when no answer came

	cause error
}

// Error names the queue, AWS's code, message and request id, and the remedy
// where there is one.
func (e *Error) Error() string {
	return wire.Failure{Code: e.Code, Message: e.Message, RequestID: e.RequestID}.Sentence("queue "+e.URL+": "+e.Operation, e.remedy())
}

// Unwrap returns what the error came from.
func (e *Error) Unwrap() error { return e.cause }

// Torn reports whether an answer had begun to come and did not come whole: what
// was in it is given to nobody else until its visibility timeout is over.
func (e *Error) Torn() bool {
	cut := errors.Is(e.cause, context.DeadlineExceeded) || errors.Is(e.cause, io.ErrUnexpectedEOF) || wire.Is[*net.OpError](e.cause)
	return cut && wire.Status(e.cause) == http.StatusOK
}

func (e *Error) remedy() string {
	switch {
	case strings.HasSuffix(e.Code, "NonExistentQueue"), e.Code == "QueueDoesNotExist":
		return "check watch.queue: the region, the account and the name in it"
	case strings.HasPrefix(strings.ToUpper(e.Code), "KMS"), strings.HasPrefix(e.Code, "AccessDenied") && strings.Contains(e.Message, "kms:"):
		return "allow kms:Decrypt on the queue's key to the role"
	case strings.HasPrefix(e.Code, "AccessDenied"):
		return "allow sqs:ReceiveMessage and sqs:DeleteMessage on this queue to the role"
	case e.Code == "InvalidAddress", strings.Contains(e.Message, "valid region"):
		return "the queue must be asked in its own region; check watch.queue and roles.NAME.endpoints.sqs"
	case e.Code == "OverLimit":
		return "its messages are received and not deleted; another reader must not share the queue"
	}
	onTheWay := remedy.Network(e.cause, "the region in watch.queue")
	foreign := errors.Is(e.cause, errNotSQS) || wire.Is[*smithy.DeserializationError](e.cause) && wire.Status(e.cause) < http.StatusTooManyRequests
	if onTheWay == "" && foreign {
		return "look for a proxy or a captive portal in between"
	}
	return onTheWay
}

// explain turns err into an *Error, without the URL that Go's transport errors
// carry. An error of the session stays what it is.
func (q *Queue) explain(operation string, err error) error {
	if session, ok := errors.AsType[wire.SessionError](err); ok {
		return session
	}
	f := wire.Read(err, "SQS")
	return &Error{URL: q.url, Operation: operation, Code: f.Code, Message: f.Message, RequestID: f.RequestID, cause: err}
}

// refusal reports whether a call was refused because its session is expired or
// unknown, or because the clock that dated it is off.
func refusal(err error) (spent, misdated bool) {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return false, false
	}
	switch api.ErrorCode() {
	case "ExpiredToken", "ExpiredTokenException", "UnrecognizedClientException", "InvalidClientTokenId",
		"MissingAuthenticationToken", "MissingAuthenticationTokenException":
		return true, false
	case "RequestExpired", "RequestTimeTooSkewed", "RequestInTheFuture":
		return false, true
	case "InvalidSignatureException", "SignatureDoesNotMatch", "IncompleteSignature", "IncompleteSignatureException", "InvalidSecurity":
		misdated = strings.Contains(api.ErrorMessage(), "xpired") || strings.Contains(api.ErrorMessage(), "not yet current")
		return !misdated && !strings.Contains(api.ErrorMessage(), "valid region"), misdated
	}
	return false, false
}

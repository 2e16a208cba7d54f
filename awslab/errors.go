package awslab

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// reasonHeader carries what the lab saw wrong where AWS's own text does not
// say. No client may depend on it: AWS does not send it.
const reasonHeader = "X-Lab-Reason"

// apiError is an answer of AWS that is not a success.
type apiError struct {
	status  int // zero: 400
	code    string
	message string
	reason  string
}

// Error returns the code and the text.
func (e *apiError) Error() string { return e.code + ": " + e.message }

// response is an HTTP answer before it is sent.
type response struct {
	status int
	header http.Header
	body   []byte
}

// call is what a request asks for.
type call struct {
	service   string // empty when the lab plays no such service
	operation string
}

// String is the key under which calls are counted.
func (c call) String() string {
	if c.service == "" {
		return c.operation
	}
	return c.service + "." + c.operation
}

// callOf names the operation that a request asks for, before anything about
// the request is believed.
func callOf(r *http.Request, body []byte) call {
	target := r.Header.Get("X-Amz-Target")
	if op, ok := strings.CutPrefix(target, "secretsmanager."); ok {
		return call{service: secretsManager, operation: op}
	}
	form := strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded")
	switch {
	case target != "":
		return call{operation: target}
	case r.URL.Path == "/sessions" && r.Method == http.MethodPost:
		return call{service: rolesAnywhere, operation: "CreateSession"}
	case form:
		values, _ := url.ParseQuery(string(body)) // a bad form has no Action
		return call{service: sts, operation: values.Get("Action")}
	}
	return call{operation: r.Method + " " + r.URL.Path}
}

// failure is err in the protocol of the called service.
func (c call) failure(err error) *response {
	e := asAPIError(err)
	if e.status == 0 {
		e.status = http.StatusBadRequest
	}
	var res *response
	switch c.service {
	case sts:
		res = queryFailure(e)
	case rolesAnywhere:
		res = jsonResponse(e.status, "application/json", map[string]string{"message": e.message})
		res.header.Set("X-Amzn-Errortype", e.code)
	default:
		res = jsonResponse(e.status, "application/x-amz-json-1.1", map[string]string{"__type": e.code, "Message": e.message})
	}
	if e.reason != "" {
		res.header.Set(reasonHeader, e.reason)
	}
	return res
}

func jsonResponse(status int, contentType string, v any) *response {
	body, err := json.Marshal(v)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"__type":"InternalFailure"}`)
	}
	return &response{status: status, header: http.Header{"Content-Type": {contentType}}, body: body}
}

func xmlResponse(status int, v any) *response {
	body, err := xml.Marshal(v)
	if err != nil {
		status = http.StatusInternalServerError
	}
	return &response{status: status, header: http.Header{"Content-Type": {"text/xml"}}, body: body}
}

// queryFailure speaks the query protocol, in which the same refusals have
// other names and are mostly 403.
func queryFailure(e *apiError) *response {
	code := strings.TrimSuffix(e.code, "Exception")
	status := e.status
	switch e.code {
	case "UnrecognizedClientException":
		code, status = "InvalidClientTokenId", http.StatusForbidden
	case "InvalidSignatureException":
		code, status = "SignatureDoesNotMatch", http.StatusForbidden
	case "ExpiredTokenException", "AccessDeniedException", "MissingAuthenticationTokenException":
		status = http.StatusForbidden
	}
	type failure struct {
		XMLName xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ ErrorResponse"`
		Type    string   `xml:"Error>Type"`
		Code    string   `xml:"Error>Code"`
		Message string   `xml:"Error>Message"`
	}
	return xmlResponse(status, failure{Type: "Sender", Code: code, Message: e.message})
}

func errUnknownOperation(c call) error {
	return &apiError{
		status:  http.StatusNotFound,
		code:    "UnknownOperationException",
		message: fmt.Sprintf("the lab does not know the operation %s; it plays CreateSession, Secrets Manager, GetCallerIdentity and AssumeRole", c),
	}
}

func errValidation(format string, args ...any) error {
	return &apiError{code: "ValidationException", message: fmt.Sprintf(format, args...)}
}

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
	shape   string // what SQS calls it in JSON; empty: the code
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
	query     bool // SQS: by the query protocol, which SDKs spoke until 2023
	queryMode bool // SQS: in JSON, but with the query protocol's error codes
}

// String is the key under which calls are counted.
func (c call) String() string {
	if c.service == "" {
		return c.operation
	}
	return c.service + "." + c.operation
}

// is reports whether an operation's name, with its service or without, is
// this call's.
func (c call) is(name string) bool { return name == c.operation || name == c.String() }

// callOf names the operation that a request asks for, before anything about
// the request is believed.
func callOf(r *http.Request, body []byte) call {
	target := r.Header.Get("X-Amz-Target")
	for _, service := range []struct{ prefix, name string }{
		{"secretsmanager.", secretsManager}, {"AmazonSSM.", systemsManager}, {"AmazonSQS.", queueService},
	} {
		if op, ok := strings.CutPrefix(target, service.prefix); ok {
			return call{service: service.name, operation: op, queryMode: r.Header.Get("X-Amzn-Query-Mode") == "true"}
		}
	}
	form := strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded")
	switch {
	case target != "":
		return call{operation: target}
	case r.URL.Path == "/sessions" && r.Method == http.MethodPost:
		return call{service: rolesAnywhere, operation: "CreateSession"}
	case form:
		values, _ := url.ParseQuery(string(body)) // a bad form has no Action
		if values.Get("Version") == queueVersion {
			return call{service: queueService, operation: values.Get("Action"), query: true}
		}
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
		res = queryFailure(e, "https://sts.amazonaws.com/doc/2011-06-15/")
	case queueService:
		res = c.queueFailure(e)
	case systemsManager:
		res = jsonResponse(e.status, json11, map[string]string{"__type": e.code, "message": e.message})
	case rolesAnywhere:
		res = jsonResponse(e.status, "application/json", map[string]string{"message": e.message})
		res.header.Set("X-Amzn-Errortype", e.code)
	default:
		res = jsonResponse(e.status, json11, map[string]string{"__type": e.code, "Message": e.message})
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

// queryCode is an error's name and status in the query protocol, in which
// the same refusals have other names and are mostly 403.
func (e *apiError) queryCode() (code string, status int) {
	switch e.code {
	case "UnrecognizedClientException":
		return "InvalidClientTokenId", http.StatusForbidden
	case "InvalidSignatureException":
		return "SignatureDoesNotMatch", http.StatusForbidden
	}
	code = strings.TrimSuffix(e.code, "Exception")
	switch code {
	case "ExpiredToken", "AccessDenied", "MissingAuthenticationToken":
		return code, http.StatusForbidden
	}
	return code, e.status
}

func queryFailure(e *apiError, namespace string) *response {
	code, status := e.queryCode()
	type failure struct {
		XMLName xml.Name
		Type    string `xml:"Error>Type"`
		Code    string `xml:"Error>Code"`
		Message string `xml:"Error>Message"`
	}
	return xmlResponse(status, failure{XMLName: xml.Name{Space: namespace, Local: "ErrorResponse"}, Type: "Sender", Code: code, Message: e.message})
}

func errUnknownOperation(c call) error {
	return &apiError{
		status:  http.StatusNotFound,
		code:    "UnknownOperationException",
		message: fmt.Sprintf("the lab does not know the operation %s; it plays CreateSession, Secrets Manager, Parameter Store, SQS, GetCallerIdentity and AssumeRole", c),
	}
}

func errValidation(format string, args ...any) error {
	return &apiError{code: "ValidationException", message: fmt.Sprintf(format, args...)}
}

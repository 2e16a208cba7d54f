package faulttest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"time"
)

// fault is a row of the matrix.
type fault struct {
	name string
	what string // for the page
	// strike answers a call in AWS's place; nil: the lab answers.
	strike  func(c call) (*http.Response, error)
	skew    time.Duration     // of the lab's clock
	severs  bool              // connections are cut when it begins
	lasting bool              // calls that it has struck go on as they do when it has ended
	spends  bool              // sessions, so that a new one may have to be waited for
	unnamed bool              // the host's name is not found
	also    []string          // operations that it strikes besides the one of the cell, on the same secret; of two on b
	cannot  map[string]string // by operation: why there is no such cell
}

// call is a request that a fault strikes.
type call struct {
	lab     http.RoundTripper
	r       *http.Request
	service string
	name    string
	ids     []string // of the secrets or parameters it is about
}

const (
	noSecret = "it is about no secret"
	before   = "GetSecretValue, which comes before it, meets it already"
)

// faults are the rows, in the order of the page.
func faults() []fault {
	values := []string{"GetSecretValue", "BatchGetSecretValue"}
	secrets := append(slices.Clone(values), "DescribeSecret")
	return []fault{
		{name: "refused", what: "nobody listens", severs: true, strike: fails(dialed(syscall.ECONNREFUSED)), cannot: map[string]string{"BatchGetSecretValue": before}},
		{name: "no DNS", what: "the endpoint's name is not found", severs: true, unnamed: true, strike: fails(dialed(&net.DNSError{Err: "no such host", Name: "localhost", IsNotFound: true})), cannot: map[string]string{"BatchGetSecretValue": before}},
		{name: "hang", what: "no answer, and the connection stays open", strike: hangs, lasting: true},
		{name: "one byte a second", lasting: true, what: "AWS's answer, at that pace", strike: cut(func(b *body) { b.pace = time.Second })},
		{name: "reset", what: "the connection breaks in the middle of the answer", strike: cut(func(b *body) { b.left = len(b.rest) / 2 })},
		{name: "500", what: "AWS's InternalServiceError", strike: refuses(500, "InternalServiceError", "An error occurred on the server side.")},
		{name: "503", what: "a load balancer's page", strike: says(503, "text/html", "<html><body><b>Http/1.1 Service Unavailable</b></body></html>")},
		{name: "429", what: "a proxy's, without AWS's JSON", strike: says(429, "text/plain", "Too Many Requests\n")},
		{name: "ThrottlingException", what: "AWS's; SQS calls it RequestThrottled", strike: throttles},
		{name: "garbage JSON", what: "200 and half an object", strike: says(200, "application/x-amz-json-1.1", `{"ARN": "arn:aws:sec`)},
		{name: "empty 201", what: "201 and no body", strike: says(201, "application/json", "")},
		{name: "captive portal", what: "200 and a page to log in", strike: says(200, "text/html", "<!DOCTYPE html><title>Welcome</title><form action=/login>")},
		{
			name: "expired token", spends: true, what: "also of each session that replaces it",
			strike: refuses(400, "ExpiredTokenException", "The security token included in the request is expired"),
			cannot: map[string]string{"CreateSession": "it is signed by the certificate, not by a session"},
		},
		{name: "clock +1 h", what: "AWS's clock is ahead of the host's", skew: time.Hour},
		{name: "clock −1 h", what: "AWS's clock is behind the host's", skew: -time.Hour},
		{name: "clock +10 min", what: "likewise ahead", skew: 10 * time.Minute},
		{name: "clock −10 min", what: "likewise behind", skew: -10 * time.Minute},
		{name: "AccessDenied", what: "the role, or for CreateSession the host, may not", strike: denies},
		{name: "not found", what: "what is asked for is not there", strike: misses, also: secrets},
		{
			name: "KMS denied", what: "the key of what is asked for may not be used", strike: locks, also: values,
			cannot: map[string]string{"CreateSession": noSecret, "DescribeSecret": "it decrypts nothing"},
		},
		{
			name: "marked for deletion", what: "the secret waits for it", strike: deletes, also: secrets,
			cannot: map[string]string{"CreateSession": noSecret, "ReceiveMessage": noSecret, "GetParameters": "a parameter is gone at once"},
		},
	}
}

func dialed(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }

func fails(err error) func(call) (*http.Response, error) {
	return func(call) (*http.Response, error) { return nil, err }
}

func hangs(c call) (*http.Response, error) {
	<-c.r.Context().Done()
	return nil, c.r.Context().Err()
}

// cut has AWS answer, and something happen to the body.
func cut(how func(*body)) func(call) (*http.Response, error) {
	return func(c call) (*http.Response, error) {
		res, err := c.lab.RoundTrip(c.r)
		if err != nil {
			return nil, err
		}
		b := &body{ctx: c.r.Context()}
		if b.rest, err = io.ReadAll(res.Body); err != nil {
			return nil, err
		}
		b.left = len(b.rest)
		how(b)
		res.Body = b
		return res, nil
	}
}

// body is one that comes slowly, or ends too early.
type body struct {
	ctx  context.Context //nolint:containedctx // of the request, which io.Reader does not take
	rest []byte
	left int           // bytes until the connection breaks
	pace time.Duration // for each byte; 0: at once
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	switch {
	case len(b.rest) == 0:
		return 0, io.EOF
	case b.left == 0:
		return 0, &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	case b.pace > 0:
		p = p[:1]
		select {
		case <-time.After(b.pace):
		case <-b.ctx.Done():
			return 0, b.ctx.Err()
		}
	}
	n := copy(p, b.rest[:min(b.left, len(b.rest))])
	b.rest, b.left = b.rest[n:], b.left-n
	return n, nil
}

// Close implements io.Closer.
func (b *body) Close() error { return nil }

// says answers with whatever somebody in between, or AWS on a bad day, says.
func says(status int, kind, text string) func(call) (*http.Response, error) {
	return func(c call) (*http.Response, error) { return answer(c, status, kind, text), nil }
}

func answer(c call, status int, kind, text string) *http.Response {
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: c.r,
		Header:        http.Header{"Content-Type": {kind}, "Date": {time.Now().UTC().Format(http.TimeFormat)}},
		ContentLength: int64(len(text)), Body: io.NopCloser(strings.NewReader(text)),
	}
}

// refuses answers as AWS does.
func refuses(status int, code, message string) func(call) (*http.Response, error) {
	return func(c call) (*http.Response, error) { return refusal(c, status, code, message), nil }
}

func refusal(c call, status int, code, message string) *http.Response {
	shape := code
	if c.service == "sqs" {
		shape = "com.amazonaws.sqs#" + code
	}
	text, _ := json.Marshal(map[string]string{"__type": shape, "message": message})
	res := answer(c, status, "application/x-amz-json-1.0", string(text))
	if c.service == "rolesanywhere" {
		res.Header.Set("Content-Type", "application/json")
	}
	res.Header.Set("X-Amzn-Errortype", shape)
	res.Header.Set("X-Amzn-Requestid", "00000000-0000-4000-8000-000000000000")
	return res
}

// settles answers a call that AWS answers well, but for what it says of each
// secret.
func settles(c call, members map[string]any) *http.Response {
	text, _ := json.Marshal(members)
	res := answer(c, http.StatusOK, "application/x-amz-json-1.1", string(text))
	res.Header.Set("X-Amzn-Requestid", "00000000-0000-4000-8000-000000000000")
	return res
}

// inBatch answers a BatchGetSecretValue that could not read the secret b.
func inBatch(c call, code, message string) (*http.Response, error) {
	members, err := members(c)
	if err != nil {
		return nil, err
	}
	values, _ := members["SecretValues"].([]any)
	members["SecretValues"] = slices.DeleteFunc(values, func(v any) bool { return v.(map[string]any)["Name"] == "b" }) //nolint:forcetypeassert // of the lab
	members["Errors"] = []any{map[string]string{"SecretId": "b", "ErrorCode": code, "Message": message}}
	return settles(c, members), nil
}

// members has the lab answer, and returns what its JSON holds.
func members(c call) (map[string]any, error) {
	res, err := c.lab.RoundTrip(c.r)
	if err != nil {
		return nil, err
	}
	members := map[string]any{}
	decoder := json.NewDecoder(res.Body)
	decoder.UseNumber()
	return members, decoder.Decode(&members)
}

func throttles(c call) (*http.Response, error) {
	switch c.service {
	case "sqs":
		return refusal(c, 400, "RequestThrottled", "Request is throttled."), nil
	case "rolesanywhere":
		return refusal(c, 429, "ThrottlingException", "Rate exceeded"), nil
	}
	return refusal(c, 400, "ThrottlingException", "Rate exceeded"), nil
}

func denies(c call) (*http.Response, error) {
	if c.service == "rolesanywhere" {
		return refusal(c, 403, "AccessDeniedException", "Unable to assume role for arn:aws:iam::111122223333:role/outrider-lab"), nil
	}
	action := c.service + ":" + c.name
	return refusal(c, 400, "AccessDeniedException", fmt.Sprintf("User: arn:aws:sts::111122223333:assumed-role/outrider-lab/host is not authorized to perform: %[1]s because no identity-based policy allows the %[1]s action", action)), nil
}

func misses(c call) (*http.Response, error) {
	const code, message = "ResourceNotFoundException", "Secrets Manager can't find the specified secret."
	switch c.name {
	case "CreateSession":
		return refusal(c, 404, code, "Trust anchor not found"), nil
	case "BatchGetSecretValue":
		return inBatch(c, code, message)
	case "GetParameters":
		return settles(c, map[string]any{"Parameters": []any{}, "InvalidParameters": c.ids}), nil
	case "ReceiveMessage":
		return refusal(c, 400, "QueueDoesNotExist", "The specified queue does not exist."), nil
	}
	return refusal(c, 400, code, message), nil
}

func locks(c call) (*http.Response, error) {
	switch c.name {
	case "BatchGetSecretValue":
		return inBatch(c, "AccessDeniedException", "Access to KMS is not allowed")
	case "GetParameters":
		return refusal(c, 400, "AccessDeniedException", "The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are not allowed to access."), nil
	case "ReceiveMessage":
		return refusal(c, 400, "KmsAccessDenied", "The caller does not have the required KMS permissions: kms:Decrypt"), nil
	}
	return refusal(c, 400, "AccessDeniedException", "Access to KMS is not allowed"), nil
}

func deletes(c call) (*http.Response, error) {
	const code, message = "InvalidRequestException", "You can't perform this operation on the secret because it was marked for deletion."
	switch c.name {
	case "BatchGetSecretValue":
		return inBatch(c, code, message)
	case "DescribeSecret": // goes well, and tells
		members, err := members(c)
		if err != nil {
			return nil, err
		}
		members["DeletedDate"] = time.Now().Unix()
		return settles(c, members), nil
	}
	return refusal(c, 400, code, message), nil
}

// about returns what a request's body names, and gives the request its body
// back.
func about(r *http.Request) []string {
	text, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(text))
	var in struct {
		ID    string   `json:"SecretId"`
		IDs   []string `json:"SecretIdList"`
		Names []string
	}
	_ = json.Unmarshal(text, &in)
	return slices.Concat(in.IDs, in.Names, []string{in.ID})
}

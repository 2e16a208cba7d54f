package meter

import (
	"bytes"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/middleware"
)

// Transport returns next, with every request of an AWS SDK that goes through
// it counted and timed. A nil Meter returns next itself.
func (m *Meter) Transport(next http.RoundTripper) http.RoundTripper {
	if m == nil {
		return next
	}
	return counted{m, next}
}

type counted struct {
	meter *Meter
	next  http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (c counted) RoundTrip(r *http.Request) (*http.Response, error) {
	service, operation := called(r)
	began := time.Now()
	answer, err := c.next.RoundTrip(r)
	c.meter.durations.WithLabelValues(service, operation).Observe(time.Since(began).Seconds())
	c.meter.requests.WithLabelValues(service, operation, outcome(answer, err)).Inc()
	return answer, err
}

// called returns what a request asks of whom, as the SDK noted it in the
// request's context.
func called(r *http.Request) (service, operation string) {
	service = strings.ToLower(strings.ReplaceAll(middleware.GetServiceID(r.Context()), " ", ""))
	operation = middleware.GetOperationName(r.Context())
	if service == "" || operation == "" {
		return "other", "other"
	}
	return service, operation
}

// code matches AWS's error code in a body: JSON's __type, after the shape's
// namespace where there is one, or XML's Code.
var code = regexp.MustCompile(`(?:"__type"\s*:\s*"(?:[^"#]*#)?|<Code>)([A-Za-z.]+)["<]`)

// plain matches a code in a header, before the URL that may follow.
var plain = regexp.MustCompile(`^[A-Za-z.]+`)

// outcome returns AWS's error code, else the status; "none" when there was no
// answer. It may read the beginning of an error's body, and puts it back.
func outcome(answer *http.Response, err error) string {
	if err != nil {
		return "none"
	}
	const longest = 64 // of what AWS calls a code
	if answer.StatusCode < http.StatusBadRequest {
		return strconv.Itoa(answer.StatusCode)
	}
	if name := plain.FindString(answer.Header.Get("X-Amzn-Errortype")); name != "" && len(name) <= longest {
		return name
	}
	const enough = 4 << 10
	head, _ := io.ReadAll(io.LimitReader(answer.Body, enough)) // who reads on meets the error again
	answer.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), answer.Body), answer.Body}
	if m := code.FindSubmatch(head); m != nil && len(m[1]) <= longest {
		return string(m[1])
	}
	return strconv.Itoa(answer.StatusCode)
}

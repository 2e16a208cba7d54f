package events

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"outrider/awslab"
)

// answers gives the same answer to everything.
type answers struct {
	status int
	kind   string
	body   []byte
}

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: a.status, Request: r, Body: io.NopCloser(bytes.NewReader(a.body)),
		Header: http.Header{"Content-Type": {a.kind}, "X-Amzn-Errortype": {a.kind}, "X-Amzn-Requestid": {"r"}},
	}, nil
}

// FuzzReceive gives a Queue what may come in SQS's place. What it takes for a
// message can be parsed and deleted, and an error is one line.
func FuzzReceive(f *testing.F) {
	for _, body := range []string{
		`{"Messages":[{"MessageId":"m","ReceiptHandle":"h","MD5OfBody":"5d41402abc4b2a76b9719d911017c592","Body":"hello"}]}`,
		`{"Messages":[{"Body":"x"},{},null]}`, `{"Messages":{}}`, `{"Messages":null,"Messages":[]}`, `{}`, `null`, ``, `{"Successful":[],"Failed":[{"Id":"0"}]}`,
	} {
		f.Add(200, "application/x-amz-json-1.0", []byte(body))
	}
	f.Add(400, "com.amazonaws.sqs#QueueDoesNotExist", []byte(`{"message":"no\nsuch\u001b[31m queue"}`))
	f.Add(503, "text/html", []byte("<html>"))
	f.Fuzz(func(t *testing.T, status int, kind string, body []byte) {
		if status < 200 || status > 999 {
			return // the transport has dealt with these
		}
		q := New(Options{
			URL: "https://sqs.us-east-1.amazonaws.com/111122223333/q", Region: "us-east-1", Transport: answers{status, kind, body},
			Sessions: &keys{setup: awslab.Setup{AccessKeyID: "ASIAX", SecretAccessKey: "s"}},
		})
		batch, err := q.Receive(t.Context(), time.Second)
		for _, body := range batch.Bodies {
			_, _ = Parse(body)
		}
		for _, err := range []error{err, q.Delete(t.Context(), batch)} {
			if err != nil && (strings.ContainsAny(err.Error(), "\r\n\x1b") || len(err.Error()) > 3000) {
				t.Errorf("got %q, want a short line", err)
			}
		}
	})
}

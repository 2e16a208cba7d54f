package agent

import (
	"bytes"
	"context"
	"io"
	"net/http"

	"outrider/awslab"
)

// hanger never answers a request whose body has the word in it.
type hanger struct {
	lab  *awslab.Lab
	word string
}

func (h *hanger) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		if bytes.Contains(body, []byte(h.word)) {
			<-r.Context().Done()
			return nil, context.Cause(r.Context())
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	return h.lab.RoundTripper().RoundTrip(r)
}

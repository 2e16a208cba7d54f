package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/rolesanywhere-credential-helper/rolesanywhere"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"outrider/signer"
)

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 1 << 20

// exchange is one request and its answer. It stands at both ends of the
// generated client: it signs what that built and sends what that signed, and
// so knows what the client's error no longer tells.
type exchange struct {
	transport http.RoundTripper
	id        *signer.Identity
	region    string
	skew      time.Duration // added to our clock when signing

	status   int // 0: no answer
	header   http.Header
	answered time.Time // by our clock
	err      error     // why the request was not sent, or its answer not read
}

// client returns AWS's generated client with our signature in place of its
// own, without retries: the caller backs off.
func (x *exchange) client(role Role) *rolesanywhere.Client {
	return rolesanywhere.New(rolesanywhere.Options{
		AppID:        "outrider",
		Region:       role.Region,
		BaseEndpoint: aws.String(role.URL()),
		HTTPClient:   x,
		Retryer:      aws.NopRetryer{},
		APIOptions:   []func(*middleware.Stack) error{x.replaceSigning},
	})
}

// replaceSigning also takes out the steps that look for AWS credentials and
// for a trace id in the environment.
func (x *exchange) replaceSigning(stack *middleware.Stack) error {
	_, err := stack.Finalize.Swap("Signing", x)
	for _, id := range []string{"GetIdentity", "setLegacyContextSigningOptions"} {
		_, e := stack.Finalize.Remove(id)
		err = errors.Join(err, e)
	}
	_, e := stack.Build.Remove("RecursionDetection")
	return errors.Join(err, e)
}

// ID implements middleware.FinalizeMiddleware.
func (x *exchange) ID() string { return "Signing" }

// HandleFinalize implements middleware.FinalizeMiddleware: it signs.
func (x *exchange) HandleFinalize(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (
	out middleware.FinalizeOutput, metadata middleware.Metadata, err error,
) {
	r, ok := in.Request.(*smithyhttp.Request)
	if !ok {
		return out, metadata, fmt.Errorf("sign a %T: not an HTTP request", in.Request)
	}
	if x.err = x.id.Sign(r.Request, v4.GetPayloadHash(ctx), x.region, time.Now().Add(x.skew)); x.err != nil {
		return out, metadata, x.err
	}
	return next.HandleFinalize(ctx, in)
}

// Do implements rolesanywhere.HTTPClient. It goes to the transport without an
// http.Client between: that would follow a captive portal's redirect with the
// signed request, and put the whole URL, ARNs included, into its errors.
func (x *exchange) Do(r *http.Request) (*http.Response, error) {
	transport := x.transport
	if transport == nil {
		transport = http.DefaultTransport
	}
	res, err := transport.RoundTrip(r)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		x.err = err
		return nil, err
	}
	x.status, x.header, x.answered = res.StatusCode, res.Header, time.Now()
	res.Body = &body{ReadCloser: res.Body, left: maxAnswer, x: x}
	return res, nil
}

// body bounds an answer, and remembers why it could not be read to its end.
type body struct {
	io.ReadCloser
	left int
	x    *exchange
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	if err != nil && !errors.Is(err, io.EOF) {
		b.x.err = err
	}
	return n, err
}

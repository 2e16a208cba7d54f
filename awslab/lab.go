// Package awslab is AWS in one process for trial and tests: strict about signatures, labels and limits.
package awslab

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// The services that the lab plays, by their signing names.
const (
	rolesAnywhere  = "rolesanywhere"
	secretsManager = "secretsmanager"
	systemsManager = "ssm"
	queueService   = "sqs"
	sts            = "sts"
)

// maxBody bounds a request; the largest that AWS would take is far smaller.
const maxBody = 1 << 20

// Options says what account the lab is. The zero Options is one in
// us-east-1 whose profile gives sessions of an hour.
type Options struct {
	Now     func() time.Time // the lab's clock before any skew; nil: time.Now
	Region  string           // empty: us-east-1
	Account string           // empty: 111122223333
	Role    string           // the role's name; empty: outrider-lab

	// SessionDuration is the profile's; zero: 1h, at most 12h. Unlike AWS the
	// lab takes less than 15 minutes here, so that a trial can see a renewal.
	SessionDuration time.Duration
	// MaxSessionDuration is the role's; zero: 12h, the longest AWS allows.
	MaxSessionDuration time.Duration
	// AcceptRoleSessionName is the profile's setting of that name.
	AcceptRoleSessionName bool
	// Assumable are the ARNs of roles, in any account, whose trust policy
	// lets this lab's sessions assume them.
	Assumable []string
}

// Lab is one account in one region: a trust anchor, a profile and a role in
// IAM Roles Anywhere, Secrets Manager, Parameter Store, SQS with the events of
// both stores, and two operations of STS. It is an http.Handler that answers
// on any host name. It has no goroutines, no sockets and nothing to close, and
// is safe for concurrent use.
type Lab struct {
	opts  Options
	ca    *authority
	setup Setup // without endpoint and files

	mu         *sync.Mutex // one for all the account's regions
	skew       time.Duration
	faults     []Fault
	denials    []denial
	quotas     []*quota
	calls      map[string]int
	throttled  map[string]int
	revoked    map[string]bool   // certificate serials, decimal
	second     *x509.Certificate // of the trust anchor; nil: none
	sessions   *sessionTable
	vault      *vault
	parameters *parameters
	queues     map[string]*queue // by name
	bus        bus
	staleness  time.Duration
	lag        time.Duration // of replicas here
}

// New returns a lab with a new certificate authority, and no secrets in it.
func New(opts Options) (*Lab, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	opts.Region = cmp.Or(opts.Region, "us-east-1")
	opts.Account = cmp.Or(opts.Account, "111122223333")
	opts.Role = cmp.Or(opts.Role, "outrider-lab")
	opts.SessionDuration = cmp.Or(opts.SessionDuration, time.Hour)
	opts.MaxSessionDuration = cmp.Or(opts.MaxSessionDuration, maxDuration)
	if opts.SessionDuration < time.Second || opts.SessionDuration > maxDuration {
		return nil, fmt.Errorf("lab: session duration %v: give 1s to %v", opts.SessionDuration, maxDuration)
	}
	ca, err := newAuthority(nil, "outrider lab CA", opts.Now())
	if err != nil {
		return nil, fmt.Errorf("lab: certificate authority: %w", err)
	}
	anywhere := "arn:aws:rolesanywhere:" + opts.Region + ":" + opts.Account + ":"
	return &Lab{
		opts: opts,
		ca:   ca,
		setup: Setup{
			Region:          opts.Region,
			Account:         opts.Account,
			TrustAnchor:     anywhere + "trust-anchor/" + newUUID(),
			Profile:         anywhere + "profile/" + newUUID(),
			Role:            "arn:aws:iam::" + opts.Account + ":role/" + opts.Role,
			AccessKeyID:     newKeyID("AKIA"),
			SecretAccessKey: newSecretKey(),
		},
		mu:         &sync.Mutex{},
		calls:      map[string]int{},
		throttled:  map[string]int{},
		revoked:    map[string]bool{},
		sessions:   &sessionTable{byKey: map[string]*stsSession{}},
		vault:      newVault(opts.Region, opts.Account),
		parameters: newParameters(opts.Region, opts.Account),
		queues:     map[string]*queue{},
	}, nil
}

// Neighbor returns the same account in another region: the same certificate
// authority, keys and sessions, a trust anchor and a profile of its own, and
// no secrets.
func (l *Lab) Neighbor(region string) (*Lab, error) {
	opts := l.opts
	opts.Region = region
	n, err := New(opts)
	if err != nil {
		return nil, err
	}
	n.ca, n.sessions, n.mu = l.ca, l.sessions, l.mu
	n.setup.AccessKeyID, n.setup.SecretAccessKey = l.setup.AccessKeyID, l.setup.SecretAccessKey
	return n, nil
}

// now is the time as the lab believes it to be.
func (l *Lab) now() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.nowLocked()
}

func (l *Lab) nowLocked() time.Time { return l.opts.Now().Add(l.skew) }

// ServeHTTP answers one request. Paths under /_lab/ are the controls (see
// control.go) and answer to loopback addresses only.
func (l *Lab) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	res, err := l.answer(r, isLoopback(r.RemoteAddr))
	if err != nil {
		reset(w)
		return
	}
	maps.Copy(w.Header(), res.header)
	w.Header().Set("Content-Length", strconv.Itoa(len(res.body)))
	w.WriteHeader(res.status)
	_, _ = w.Write(res.body) // a client that has gone is its own affair
}

// RoundTripper returns a transport that reaches the lab whatever the URL's
// host is, without sockets or goroutines: it may be used inside a synctest
// bubble. It returns when the request's context ends, also while a fault
// holds the answer back.
func (l *Lab) RoundTripper() http.RoundTripper { return transport{lab: l} }

type transport struct{ lab *Lab }

// RoundTrip hands the request over in the shape that a server would see.
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer func() { _ = r.Body.Close() }()
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	seen := r.Clone(r.Context())
	seen.Host = cmp.Or(r.Host, r.URL.Host)
	res, err := t.lab.answer(seen, true)
	if err != nil {
		return nil, err
	}
	return &http.Response{
		Status:        fmt.Sprintf("%d %s", res.status, http.StatusText(res.status)),
		StatusCode:    res.status,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        res.header,
		Body:          io.NopCloser(bytes.NewReader(res.body)),
		ContentLength: int64(len(res.body)),
		Request:       r,
	}, nil
}

// answer is the whole of AWS for one request. It returns an error only when
// the client is to get no answer at all.
func (l *Lab) answer(r *http.Request, local bool) (*response, error) {
	body, err := readBody(r)
	if err != nil {
		return nil, err
	}
	call := callOf(r, body)
	if len(body) > maxBody {
		return l.stamp(call.failure(&apiError{status: http.StatusRequestEntityTooLarge, code: "RequestEntityTooLarge", message: "the request is too large"})), nil
	}
	if isControl(r) {
		return l.stamp(l.control(r, body, local)), nil
	}
	if struck, err := l.strike(r.Context(), call); err != nil {
		return nil, err
	} else if struck != nil {
		return l.stamp(call.failure(struck)), nil
	}
	res, err := l.perform(call, r, body)
	if ended := r.Context().Err(); err != nil && errors.Is(err, ended) {
		return nil, err // the client went while it waited
	}
	if err != nil {
		return l.stamp(call.failure(err)), nil
	}
	return l.stamp(res), nil
}

func (l *Lab) perform(c call, r *http.Request, body []byte) (*response, error) {
	switch c.service {
	case rolesAnywhere:
		return l.createSession(r, body)
	case secretsManager, systemsManager, queueService:
		return l.answerJSON(c, r, body)
	case sts:
		return l.answerSTS(c, r, body)
	}
	return nil, errUnknownOperation(c)
}

// stamp adds what every answer of AWS carries.
func (l *Lab) stamp(res *response) *response {
	res.header.Set("Date", l.now().UTC().Format(http.TimeFormat))
	res.header.Set("X-Amzn-Requestid", newUUID())
	return res
}

// readBody reads one byte more than it may be, so that the caller can tell.
func readBody(r *http.Request) ([]byte, error) {
	if r.Body == nil {
		return nil, nil
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return nil, fmt.Errorf("lab: request body: %w", err)
	}
	return body, nil
}

// errDropped is what a client sees of a connection that a fault cut.
func errDropped() error {
	return &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
}

// reset ends the connection as a network does, without an HTTP answer.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return // not a connection of HTTP/1.1, and nothing better to do to it
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // close sends RST
	}
	_ = conn.Close()
}

func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// pause waits for d, or for the context to end. A negative d waits for the
// context alone.
func pause(ctx context.Context, d time.Duration) error {
	var up <-chan time.Time
	if d >= 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		up = timer.C
	}
	select {
	case <-up:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// asAPIError finds AWS's answer in err.
func asAPIError(err error) *apiError {
	if e, ok := errors.AsType[*apiError](err); ok {
		return e
	}
	return &apiError{status: http.StatusInternalServerError, code: "InternalFailure", message: err.Error()}
}

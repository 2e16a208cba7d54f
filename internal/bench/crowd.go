package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// kind is a sort of local client.
type kind struct {
	name             string
	network, address string
	opening, request string // the answer to the opening, if any, takes the place of TOKEN in the request
	share            int    // of a crowd, in sixteenths

	mu    sync.Mutex
	every time.Duration // how often each asks
	took  sample
	errs  []error
}

// kinds returns who asks a sidecar. A connection that asks for nothing in ten
// seconds is closed.
func (e *estate) kinds() ([]*kind, error) {
	token, err := os.ReadFile(filepath.Join(e.dir, "token"))
	if err != nil {
		return nil, err
	}
	const get = "GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n"
	admin := filepath.Join(e.dir, "outrider.sock")
	role := e.setup.Role[strings.LastIndexByte(e.setup.Role, '/')+1:]
	return []*kind{
		{
			name: "container endpoint", network: "tcp", address: e.credentials, share: 8, every: time.Second,
			request: fmt.Sprintf(get, "/roles/bench", "Authorization: "+strings.TrimSpace(string(token))+"\r\n"),
		},
		{
			name: "IMDS", network: "tcp", address: e.imds, share: 4, every: time.Second,
			opening: "PUT /latest/api/token HTTP/1.1\r\nHost: localhost\r\nX-Aws-Ec2-Metadata-Token-Ttl-Seconds: 21600\r\nContent-Length: 0\r\n\r\n",
			request: fmt.Sprintf(get, "/latest/meta-data/iam/security-credentials/"+role, "X-Aws-Ec2-Metadata-Token: TOKEN\r\n"),
		},
		{name: "`outrider credentials`", network: "unix", address: admin, share: 2, every: time.Second, request: fmt.Sprintf(get, "/credentials/bench", "")},
		{name: "`outrider status`", network: "unix", address: admin, share: 1, every: 5 * time.Second, request: fmt.Sprintf(get, "/status", "")},
		{name: "`/metrics`", network: "tcp", address: e.metrics, share: 1, every: 5 * time.Second, request: fmt.Sprintf(get, "/metrics", "")},
	}, nil
}

// crowd is many clients, each with a connection that stays open.
type crowd struct {
	kinds   []*kind
	size    int
	stop    context.CancelFunc
	running sync.WaitGroup
	there   sync.WaitGroup // until every client has had an answer
}

// gather connects so many clients, which ask until disperse, and blocks until
// each has had an answer, or has failed.
func (e *estate) gather(ctx context.Context, size int, kinds ...*kind) *crowd {
	ctx, stop := context.WithCancel(ctx)
	c := &crowd{kinds: kinds, stop: stop}
	for _, k := range kinds {
		for range size * k.share / 16 {
			c.size++
			c.there.Add(1)
			c.running.Go(func() { k.ask(ctx, sync.OnceFunc(c.there.Done)) })
		}
	}
	c.there.Wait()
	return c
}

// disperse ends the clients.
func (c *crowd) disperse() {
	c.stop()
	c.running.Wait()
}

// restart forgets what was measured; from now on each client asks so often.
func (k *kind) restart(every time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.took, k.every = nil, every
}

// ask is one client, until ctx ends or an answer is no good.
func (k *kind) ask(ctx context.Context, answered func()) {
	defer answered()
	err := k.converse(ctx, answered)
	if err == nil || ctx.Err() != nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.errs = append(k.errs, fmt.Errorf("%s: %w", k.name, err))
}

// converse asks until ctx ends, and no answer is one of three in a row. As an
// SDK does, a client that was hung up on connects anew.
func (k *kind) converse(ctx context.Context, answered func()) error {
	for failures, first := 0, true; ; first = false {
		n, err := k.connect(ctx, first, answered)
		if failures++; n > 0 {
			failures = 1
		}
		if _, told := errors.AsType[statusError](err); told || failures == 3 || ctx.Err() != nil {
			return err
		}
	}
}

// connect asks on one connection, and returns how many answers came before it
// ended.
func (k *kind) connect(ctx context.Context, first bool, answered func()) (n int, err error) {
	connection, err := new(net.Dialer).DialContext(ctx, k.network, k.address)
	if err != nil {
		return 0, err
	}
	defer func() { _ = connection.Close() }()
	defer context.AfterFunc(ctx, func() { _ = connection.Close() })()
	answers, request := bufio.NewReader(connection), k.request
	if k.opening != "" {
		token, err := exchange(connection, answers, k.opening)
		if err != nil {
			return 0, err
		}
		request = strings.ReplaceAll(request, "TOKEN", token)
	}
	for ; ; n++ {
		began := time.Now()
		if _, err := exchange(connection, answers, request); err != nil {
			return n, err
		}
		wait := k.answered(time.Since(began), first)
		first = false
		answered()
		if err := pause(ctx, wait); err != nil {
			return n, err
		}
	}
}

// answered keeps how long an answer took, and returns how long to wait until the
// next request: after the first one at random, so that clients spread.
func (k *kind) answered(took time.Duration, first bool) time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.took = append(k.took, took)
	if first {
		return time.Duration(rand.Float64() * float64(k.every)) //nolint:gosec // luck, not a secret
	}
	return max(0, k.every-took)
}

// oneTooMany returns how long the client waits for its answer that comes after
// as many as the endpoint takes, each of which asks once and stays.
func (k *kind) oneTooMany(ctx context.Context, full int) (time.Duration, error) {
	var began time.Time
	for range full + 1 {
		connection, err := new(net.Dialer).DialContext(ctx, k.network, k.address)
		if err != nil {
			return 0, err
		}
		defer func() { _ = connection.Close() }()
		began = time.Now()
		if _, err := exchange(connection, bufio.NewReader(connection), k.request); err != nil {
			return 0, err
		}
	}
	return time.Since(began), nil
}

// statusError is an answer that is not 200.
type statusError string

// Error returns the status.
func (e statusError) Error() string { return string(e) }

// exchange sends a request and returns the answer's body, which must be one
// of 200.
func exchange(connection net.Conn, answers *bufio.Reader, request string) (string, error) {
	if err := connection.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(connection, request); err != nil {
		return "", err
	}
	r, err := http.ReadResponse(answers, nil)
	if err != nil {
		return "", err
	}
	defer func() { _ = r.Body.Close() }()
	body, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != http.StatusOK {
		err = statusError(r.Status)
	}
	return string(body), err
}

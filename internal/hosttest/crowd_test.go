package hosttest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"outrider/agent"
	"outrider/awslab"
	"outrider/internal/config"
	"outrider/internal/pkitest"
	"outrider/serve"
)

const crowdSize = 1000

// ask gets one answer of an endpoint or of the agent.
type ask func() (body []byte, err error)

// crowd is a thousand clients of each kind, with a connection each.
type crowd struct {
	h       *host
	clients []ask

	mu   sync.Mutex
	seen map[string]string // who each session is to AWS, by its access key
}

// refusedError is an answer that is not 200.
type refusedError struct {
	status int
	body   string
}

func (e *refusedError) Error() string { return fmt.Sprintf("%d: %s", e.status, e.body) }

// connection is one to an endpoint. It has no goroutines of its own: the race
// detector bears about eight thousand.
type connection struct {
	address string
	net.Conn
	answers *bufio.Reader
	used    time.Time // last
}

// send asks once. The first time, and after a failure, it connects. A listener
// may cut who is silent for five seconds, as on a busy machine one of thousands
// can be: then it asks once more.
func (c *connection) send(request string) (body []byte, err error) {
	var status int
	for asked := false; !asked; {
		if c.Conn == nil {
			if c.Conn, err = net.Dial("tcp", c.address); err != nil {
				c.Conn = nil
				return nil, err
			}
			c.answers, c.used = bufio.NewReader(c.Conn), time.Now()
		}
		body, status, err = c.exchange(request)
		silent := time.Since(c.used) > 4*time.Second
		c.used = time.Now()
		if err != nil {
			c.Close()
			c.Conn = nil
		}
		asked = err == nil || !silent
	}
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, &refusedError{status, string(body)}
	}
	return body, nil
}

func (c *connection) exchange(request string) (body []byte, status int, err error) {
	if _, err := fmt.Fprintf(c, request, c.address); err != nil {
		return nil, 0, err
	}
	r, err := http.ReadResponse(c.answers, nil)
	if err != nil {
		return nil, 0, err
	}
	body, err = io.ReadAll(r.Body)
	return body, r.StatusCode, err
}

const (
	imdsOpening = "PUT /latest/api/token HTTP/1.1\r\nHost: %s\r\nX-Aws-Ec2-Metadata-Token-Ttl-Seconds: 21600\r\nContent-Length: 0\r\n\r\n"
	imdsRequest = "GET /latest/meta-data/iam/security-credentials/outrider-lab HTTP/1.1\r\nHost: %s\r\nX-Aws-Ec2-Metadata-Token: TOKEN\r\n\r\n"
)

func containerRequest(token string) string {
	return "GET /roles/billing HTTP/1.1\r\nHost: %s\r\nAuthorization: " + token + "\r\n\r\n"
}

// client keeps a connection to an endpoint. The answer to the opening, if
// there is one, goes into the request.
func (h *host) client(address, opening, request string) ask {
	c := &connection{address: address}
	h.t.Cleanup(func() {
		if c.Conn != nil {
			c.Close()
		}
	})
	opened := opening == ""
	return func() ([]byte, error) {
		if !opened {
			token, err := c.send(opening)
			if err != nil {
				return nil, err
			}
			opened, request = true, strings.ReplaceAll(request, "TOKEN", string(token))
		}
		return c.send(request)
	}
}

// connect adds a thousand clients of an endpoint.
func (c *crowd) connect(address, opening, request string) {
	for range crowdSize {
		c.clients = append(c.clients, c.h.client(address, opening, request))
	}
}

// wave has every client ask once, all at once, and returns the first error.
func (c *crowd) wave() error {
	var group errgroup.Group
	for i, ask := range c.clients {
		group.Go(func() error {
			asked := time.Now()
			body, err := ask()
			if err != nil {
				return err
			}
			k, err := c.h.parse(body, asked)
			if err != nil {
				return err
			}
			return c.check(k, i%100 == 0)
		})
	}
	return group.Wait()
}

// check has AWS say whose a session is, when it is new to the crowd or for a
// sample of it. On a machine that is busy elsewhere it may have ended by then.
func (c *crowd) check(k keys, sample bool) error {
	c.mu.Lock()
	_, known := c.seen[k.AccessKeyID]
	if !known {
		c.seen[k.AccessKeyID] = ""
	}
	c.mu.Unlock()
	if known && !sample {
		return nil
	}
	arn, err := c.h.caller(k)
	if err != nil && time.Now().Before(k.Expiration) {
		return err
	}
	c.mu.Lock()
	c.seen[k.AccessKeyID] = arn
	c.mu.Unlock()
	return nil
}

// otherProfile stands in the credentials file before the one that is kept.
const otherProfile = "# mine\n[other]\naws_access_key_id = AKIAOTHER\naws_secret_access_key = theirs\n\n"

// profile reads the session in a credentials file, of which nothing may be
// missing at any moment. The file does not say when the session ends.
func (h *host) profile(name string) ([]byte, error) {
	text, err := os.ReadFile(h.path(name))
	if err != nil {
		return nil, err
	}
	rest, ok := strings.CutPrefix(string(text), otherProfile+"[default]\n")
	if !ok {
		return nil, errors.New("the other profile is not as it was")
	}
	k := keys{Expiration: time.Now().Add(time.Hour)}
	for line := range strings.Lines(rest) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " = ")
		switch key {
		case "aws_access_key_id":
			k.AccessKeyID = value
		case "aws_secret_access_key":
			k.SecretAccessKey = value
		case "aws_session_token":
			k.Token = value
		}
	}
	return json.Marshal(k)
}

// runAgent runs a sidecar in this process, under its race detector, until the
// test ends.
func (h *host) runAgent() *agent.Agent {
	h.t.Helper()
	c, err := config.Load(h.path("outrider.yaml"), func(string) string { return "" })
	if err != nil {
		h.t.Fatal(err)
	}
	a, err := agent.New(c, agent.Options{
		Log:       slog.New(slog.NewJSONHandler(&h.said, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Transport: h.lab.RoundTripper(),
	})
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	h.t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			h.t.Errorf("Run = %v", err)
		}
	})
	return a
}

// renewing replaces one half of the identity at each call: every other time
// the set on disk is wrong.
func (h *host) renewing() func() {
	var next *pkitest.Leaf
	return func() {
		if next != nil {
			h.write("host.key", next.PrivateKey)
			next = nil
			return
		}
		leaf := h.ca.Leaf(h.t, pkitest.Options{})
		h.write("host.pem", leaf.Certificate)
		next = &leaf
	}
}

// TestThousandClientsOfEachKindSeeNothingOfARollover has three thousand clients
// ask at once, again and again, while the session is replaced every few seconds
// and the certificate more often than that.
func TestThousandClientsOfEachKindSeeNothingOfARollover(t *testing.T) {
	const sessions = 5
	h := newHost(t, awslab.Options{SessionDuration: 12 * time.Second})
	container, imds := h.free(), h.free()
	h.write("credentials", []byte(otherProfile+"[default]\n"))
	h.configure(`
identities: {host: {certificate: host.pem, private_key: host.key}}
roles: {billing: {${LAB}, token: {file: billing.token}, credentials_file: {path: credentials}}}
listen: {admin: "unix:outrider.sock", credentials: "` + container + `", imds: {address: "` + imds + `", role: billing}}
`)
	a := h.runAgent()
	h.await("billing")
	c := &crowd{h: h, seen: map[string]string{}}
	c.connect(container, "", containerRequest(h.checkToken("billing.token")))
	c.connect(imds, imdsOpening, imdsRequest)
	for range crowdSize {
		c.clients = append(c.clients, func() ([]byte, error) {
			credentials, err := a.Credentials(t.Context(), serve.Self(), "billing")
			return credentials.Document().Reveal(), err
		})
	}
	eventually(t, "the credentials file", func() error {
		body, err := h.profile("credentials")
		if err == nil {
			_, err = h.parse(body, time.Now())
		}
		return err
	})
	c.clients = append(c.clients, func() ([]byte, error) { return h.profile("credentials") })

	renew, waves := h.renewing(), 0
	for deadline := time.Now().Add(5 * time.Minute); ; waves++ {
		if err := c.wave(); err != nil {
			t.Fatalf("wave %d: %v", waves, err)
		}
		// A rollover costs one session, every session meets a client, and new
		// certificates are taken up meanwhile.
		opened, certificates := h.lab.Calls()["rolesanywhere.CreateSession"], c.certificates()
		if opened >= sessions && opened == len(c.seen) && certificates >= 3 {
			t.Logf("%d waves of %d clients met %d sessions of %d certificates", waves+1, len(c.clients), len(c.seen), certificates)
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("AWS was asked for %d sessions, and the clients met %d, of %d certificates; want as many, %d or more, of three", opened, len(c.seen), certificates, sessions)
		}
		renew()
	}
}

// certificates counts those that opened the sessions that were met.
func (c *crowd) certificates() int {
	all := map[string]bool{}
	for _, arn := range c.seen {
		all[arn] = true
	}
	delete(all, "") // it had ended before AWS could be asked whose it was
	return len(all)
}

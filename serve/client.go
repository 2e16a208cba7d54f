package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"

	"golang.org/x/sys/unix"

	"outrider/secret"
)

// ErrStopping says that the sidecar ended while it was asked.
var ErrStopping = errors.New("the sidecar is stopping")

// ErrNoSidecar says that no process serves the socket.
var ErrNoSidecar = errors.New("no sidecar is running")

// Client asks a running sidecar.
type Client struct {
	Path string // of the admin socket
}

// RefusedError is what the sidecar answered instead of what was asked for.
type RefusedError struct {
	Message string
	unknown bool
}

// Error returns the sidecar's own words.
func (e *RefusedError) Error() string { return e.Message }

// Unknown reports whether the sidecar has no app or role of that name.
func (e *RefusedError) Unknown() bool { return e.unknown }

// Status returns what the caller may see of the sidecar's state.
func (c Client) Status(ctx context.Context) (Status, error) {
	var status Status
	return status, c.ask(ctx, http.MethodGet, "/status", &status)
}

// Refresh makes the sidecar look at the apps, or at all, and blocks until it
// has.
func (c Client) Refresh(ctx context.Context, apps []string) ([]Outcome, error) {
	var outcomes []Outcome
	return outcomes, c.ask(ctx, http.MethodPost, "/refresh?"+url.Values{"app": apps}.Encode(), &outcomes)
}

// Retry makes the sidecar try again what the app's application did not run
// on, and blocks until it has.
func (c Client) Retry(ctx context.Context, app string) (Outcome, error) {
	var outcome Outcome
	return outcome, c.ask(ctx, http.MethodPost, "/retry/"+url.PathEscape(app), &outcome)
}

// Wait blocks until the app's files are current or ctx ends.
func (c Client) Wait(ctx context.Context, app string) error {
	return c.ask(ctx, http.MethodGet, "/wait/"+url.PathEscape(app), &struct{}{})
}

// Credentials returns the role's session as credential_process prints it.
func (c Client) Credentials(ctx context.Context, role string) (secret.Value, error) {
	body, err := c.do(ctx, http.MethodGet, "/credentials/"+url.PathEscape(role))
	return secret.NewValue(body), err
}

func (c Client) ask(ctx context.Context, method, path string, into any) error {
	body, err := c.do(ctx, method, path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("answer of %s: %w", c.Path, err)
	}
	return nil
}

func (c Client) do(ctx context.Context, method, path string) ([]byte, error) {
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", c.Path)
		},
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://outrider"+path, nil)
	if err != nil {
		return nil, err
	}
	response, err := transport.RoundTrip(request)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED):
		return nil, fmt.Errorf("%w at %s; start it with: outrider run", ErrNoSidecar, c.Path)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("admin socket %s: permission denied; ask as root or as a member of its group", c.Path)
	case errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE):
		return nil, fmt.Errorf("admin socket %s: %w", c.Path, ErrStopping)
	case err != nil:
		return nil, fmt.Errorf("admin socket %s: %w", c.Path, err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, 16<<20))
	if err != nil {
		return nil, fmt.Errorf("admin socket %s: %w", c.Path, err)
	}
	if response.StatusCode == http.StatusOK {
		return body, nil
	}
	var refusal failure
	if err := json.Unmarshal(body, &refusal); err != nil || refusal.Error == "" {
		refusal.Error = "admin socket " + c.Path + ": " + response.Status
	}
	if refusal.Stopping {
		return nil, fmt.Errorf("admin socket %s: %w", c.Path, ErrStopping)
	}
	return nil, &RefusedError{Message: refusal.Error, unknown: refusal.Unknown}
}

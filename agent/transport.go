package agent

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

// newTransport returns the way to AWS: by the environment's proxies, with
// the system's roots and those in bundle, which is read when it is first
// needed and again when it has changed. An empty bundle adds none.
func newTransport(bundle string) http.RoundTripper {
	if bundle == "" {
		return inMemory{baseTransport()}
	}
	return inMemory{&bundled{path: bundle}}
}

// inMemory sends the body of each request from memory. The SDK closes its own
// as soon as an answer begins, and from then on that body ends a WriteTo with
// EOF; a transport that has still to see it end takes that for a failed write
// and closes the connection under the answer. One that is known to be in
// memory also leaves in one packet with its header, and again when the other
// side had cut the idle connection that it left by: whatever is asked here may be
// asked twice.
//
// Source: https://github.com/aws/aws-sdk-go-v2/issues/1825
type inMemory struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (m inMemory) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		return m.next.RoundTrip(r)
	}
	body, err := io.ReadAll(r.Body)
	if err = errors.Join(err, r.Body.Close()); err != nil {
		return nil, fmt.Errorf("request body: %w", err)
	}
	r = r.Clone(r.Context()) // the caller's stays as it is
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	r.Body, _ = r.GetBody()
	r.Header["X-Idempotency-Key"] = nil // is not sent; without it http.Transport repeats no POST
	return m.next.RoundTrip(r)
}

func baseTransport() *http.Transport {
	t := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		MaxIdleConnsPerHost:   8,
		IdleConnTimeout:       60 * time.Second,
		TLSHandshakeTimeout:   5 * time.Second,
		ExpectContinueTimeout: time.Second,
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12},
	}
	return t
}

// bundled is a transport that trusts a file's certificates as well.
type bundled struct {
	path string

	mu    sync.Mutex
	stamp time.Time // the file's, when it was last read
	t     *http.Transport
}

// RoundTrip implements http.RoundTripper.
func (b *bundled) RoundTrip(r *http.Request) (*http.Response, error) {
	t, err := b.transport()
	if err != nil {
		return nil, fmt.Errorf("aws.ca_bundle: %w", err)
	}
	return t.RoundTrip(r)
}

// transport returns the one in hand, or another when the file has changed. A
// file that cannot be read leaves the one in hand.
func (b *bundled) transport() (*http.Transport, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	info, err := os.Stat(b.path)
	if err == nil && b.t != nil && info.ModTime().Equal(b.stamp) {
		return b.t, nil
	}
	var roots *x509.CertPool
	if err == nil {
		roots, err = rootsWith(b.path)
	}
	if err != nil {
		if b.t != nil {
			return b.t, nil
		}
		return nil, err
	}
	if b.t != nil {
		b.t.CloseIdleConnections()
	}
	b.t, b.stamp = baseTransport(), info.ModTime()
	b.t.TLSClientConfig.RootCAs = roots
	return b.t, nil
}

func rootsWith(path string) (*x509.CertPool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("the system's roots: %w", err)
	}
	if !roots.AppendCertsFromPEM(text) {
		return nil, errors.New(path + ": no certificate in it; give a PEM file")
	}
	return roots, nil
}

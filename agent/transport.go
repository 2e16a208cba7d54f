package agent

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"
)

// newTransport returns the way to AWS: by the environment's proxies, with
// the system's roots and those in bundle, which is read when it is first
// needed and again when it has changed. An empty bundle adds none.
func newTransport(bundle string) http.RoundTripper {
	t := baseTransport()
	if bundle == "" {
		return t
	}
	return &bundled{path: bundle}
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

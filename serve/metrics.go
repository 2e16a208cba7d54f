package serve

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// readiness is what the health endpoints ask. It answers from memory.
type readiness interface {
	// Waiting returns the names of the apps whose files an application must
	// not start on, of all or of that one. For an app that the configuration
	// does not have its error has an Unknown method that returns true.
	Waiting(app string) ([]string, error)
}

// Metrics is the endpoint for those who watch over the sidecar: /metrics,
// /healthz and /readyz, the last of one app with ?app=NAME. Everybody who can
// reach it may ask, so no error's text is told.
type Metrics struct {
	Address   string // a number and a port, of any of this machine's addresses
	Agent     readiness
	Scrape    http.Handler // answers /metrics
	Log       *slog.Logger
	Listening func() // called once the address is ours; nil: nobody is told
}

// Run listens and answers until ctx ends, whose cause it returns; answers
// under way have a second to end. Its error before that says why it cannot
// listen.
func (m Metrics) Run(ctx context.Context) error {
	p := place{what: "metrics endpoint", key: "listen.metrics", address: m.Address}
	listener, err := p.listenAnywhere(ctx)
	if err != nil {
		return err
	}
	if m.Listening != nil {
		m.Listening()
	}
	server := newServer(m.handler(), m.Log)
	server.ReadTimeout, server.WriteTimeout = patience, 2*patience // a thousand apps are half a megabyte
	return p.serve(ctx, listener, server, grace)
}

// listenAnywhere binds an address that other machines may reach.
func (p place) listenAnywhere(ctx context.Context) (net.Listener, error) {
	address, err := netip.ParseAddrPort(p.address)
	if err != nil {
		return nil, p.wrap(fmt.Errorf("not a number and a port; set %s to such as 127.0.0.1:9469", p.key))
	}
	if address.Addr().IsLoopback() {
		return p.listenTCP(ctx)
	}
	return p.bind(ctx, net.ListenConfig{}, address)
}

func (m Metrics) handler() http.Handler {
	small := endpoint(func(_ http.ResponseWriter, r *http.Request) (content, error) {
		switch route(r) {
		case "/healthz":
			return text("ok\n"), nil
		case "/readyz":
			return m.ready(r)
		}
		return content{}, &refusal{http.StatusNotFound, "NotFound", "/metrics, /healthz and /readyz are served here"}
	})
	check := direct
	if address, err := netip.ParseAddrPort(m.Address); err == nil && address.Addr().IsLoopback() {
		check = asked // from elsewhere a machine may be known by its name
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		method := http.MethodGet
		if r.Method == http.MethodHead {
			method = http.MethodHead // what balances load asks with it
		}
		err := check(w, r, method)
		switch {
		case err != nil:
			endpoint(func(http.ResponseWriter, *http.Request) (content, error) { return content{}, err }).ServeHTTP(w, r)
		case route(r) == "/metrics":
			w.Header().Set("Cache-Control", "no-store")
			m.Scrape.ServeHTTP(w, r)
		default:
			small.ServeHTTP(w, r)
		}
	})
}

// ready answers 200, or 503 with the names of the apps that are waited for.
func (m Metrics) ready(r *http.Request) (content, error) {
	waiting, err := m.Agent.Waiting(r.URL.Query().Get("app"))
	if err != nil {
		return content{}, err
	}
	if len(waiting) > 0 {
		return content{}, &refusal{http.StatusServiceUnavailable, "NotReady", "not ready: " + strings.Join(waiting, ", ")}
	}
	return text("ready\n"), nil
}

package serve

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"outrider/secret"
)

// sessions is what the endpoints for SDKs ask. Both methods answer from memory
// and never block; for a role that the configuration does not have their error
// has an Unknown method that returns true.
type sessions interface {
	// Grant returns what the configuration says of the role.
	Grant(role string) (Grant, error)
	// Credentials returns the session in hand, or the cause why there is none.
	Credentials(context.Context, Caller, string) (Credentials, error)
}

// Grant is what the configuration says of a role, as far as endpoints for
// SDKs need it.
type Grant struct {
	RoleARN string
	Region  string
	Token   secret.Value // lets a client in at listen.credentials over TCP; empty: nobody
}

// account returns the number of the account that the role is in.
func (g Grant) account() string {
	parts := strings.SplitN(g.RoleARN, ":", 6)
	if len(parts) < 6 {
		return ""
	}
	return parts[4]
}

// refusal is an answer that is not 200. Its code and message are what SDKs
// show.
type refusal struct {
	status  int
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Error returns the message.
func (r *refusal) Error() string { return r.Message }

// refused says how err is answered: what the agent has no session for now is
// the server's fault and worth another try.
func refused(err error) *refusal {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r
	}
	var unknown interface{ Unknown() bool }
	switch {
	case errors.Is(err, ErrForbidden):
		return &refusal{http.StatusForbidden, "AccessDenied", err.Error()}
	case errors.As(err, &unknown) && unknown.Unknown():
		return &refusal{http.StatusNotFound, "NotFound", err.Error()}
	}
	return &refusal{http.StatusServiceUnavailable, "NoSession", err.Error()}
}

// direct refuses what does not come straight from a client on this machine
// with the method that is wanted.
func direct(w http.ResponseWriter, r *http.Request, method string) error {
	if r.Method != method {
		w.Header().Set("Allow", method)
		return &refusal{http.StatusMethodNotAllowed, "MethodNotAllowed", "only " + method + " is answered here"}
	}
	return unrelayed(r)
}

// unrelayed refuses what a proxy passes on, and what a web page makes a browser
// on this machine ask. What a person asks for in a browser is no page's.
func unrelayed(r *http.Request) error {
	if _, ok := r.Header["X-Forwarded-For"]; ok {
		return &refusal{http.StatusBadRequest, "Forwarded", "a request with X-Forwarded-For is not answered"}
	}
	_, page := r.Header["Origin"]
	if site := r.Header.Get("Sec-Fetch-Site"); page || site != "" && site != "none" {
		return &refusal{http.StatusForbidden, "Browser", "a web page's request is not answered"}
	}
	return nil
}

// byAddress refuses a host that is a name: a web page whose name was made to
// point here could otherwise read the answer.
func byAddress(r *http.Request) error {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = strings.Trim(r.Host, "[]") // it has no port
	}
	if _, err := netip.ParseAddr(host); err != nil && host != "localhost" {
		return &refusal{http.StatusBadRequest, "BadRequest", "ask by address, not by name"}
	}
	return nil
}

// route returns the request's path without doubled and trailing slashes.
func route(r *http.Request) string {
	path := r.URL.Path
	for strings.Contains(path, "//") {
		path = strings.ReplaceAll(path, "//", "/")
	}
	return strings.TrimSuffix(path, "/")
}

// content is an answer of 200.
type content struct {
	kind string // the media type
	body secret.Value
}

func text(s string) content { return content{"text/plain", secret.Text(s)} }

// endpoint answers each request with what it is given for it.
type endpoint func(http.ResponseWriter, *http.Request) (content, error)

// ServeHTTP implements http.Handler.
func (e endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, err := e(w, r)
	body, status := c.body.Reveal(), http.StatusOK
	if err != nil {
		refusal := refused(err)
		c.kind, status = "application/json", refusal.status
		body, _ = json.Marshal(refusal) // two strings always encode
	}
	h := w.Header()
	h.Set("Content-Type", c.kind)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that hung up needs no answer
}

// server returns a server of the endpoint, which answers at once.
func (e endpoint) server(log *slog.Logger) *http.Server {
	s := newServer(e, log)
	s.ReadTimeout, s.WriteTimeout = patience, patience
	return s
}

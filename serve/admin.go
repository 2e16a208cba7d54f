// Package serve is what the sidecar answers on this machine: the admin socket, and the endpoints where SDKs look for credentials.
package serve

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// agent is what the admin socket asks. Every method decides by the caller what
// it may see or do, and returns ErrForbidden when that is nothing.
type agent interface {
	holder
	worker
}

// holder answers at once, from memory.
type holder interface {
	Status(Caller) Status
	Credentials(context.Context, Caller, string) (Credentials, error)
}

// worker answers when apps have been seen to.
type worker interface {
	looker
	Wait(context.Context, Caller, string) error
}

// looker makes apps look now; Retry also at what was set aside.
type looker interface {
	Refresh(context.Context, Caller, []string) ([]Outcome, error)
	Retry(context.Context, Caller, string) (Outcome, error)
}

// ErrForbidden says that the caller may not do what it asked for.
var ErrForbidden = errors.New("not allowed to you; see allow in the configuration")

// Outcome is how one app's refresh ended.
type Outcome struct {
	App        string `json:"app"`
	Generation uint64 `json:"generation"`
	Changed    bool   `json:"changed"`
	Error      string `json:"error,omitempty"`
}

// Admin is the admin socket.
type Admin struct {
	Path  string // of the unix socket
	Agent agent
	Log   *slog.Logger
}

// Run listens with mode 0660 and answers until ctx ends; requests under way
// are then called off. A socket that a dead process left is replaced, one
// that a live process serves is an error.
func (a Admin) Run(ctx context.Context) error {
	p := adminPlace(a.Path)
	listener, err := p.listenUnix(ctx)
	if err != nil {
		return err
	}
	server := newServer(a.handler(), a.Log)
	server.BaseContext = func(net.Listener) context.Context { return ctx }
	return p.serve(ctx, listener, server, 0)
}

func adminPlace(path string) place {
	return place{what: "admin socket", key: "listen.admin", address: path, mode: 0o660}
}

func (a Admin) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		answer(w, r, a.Agent.Status(callerOf(r)), nil)
	})
	mux.HandleFunc("POST /refresh", func(w http.ResponseWriter, r *http.Request) {
		outcomes, err := a.Agent.Refresh(r.Context(), callerOf(r), r.URL.Query()["app"])
		answer(w, r, outcomes, err)
	})
	mux.HandleFunc("POST /retry/{app}", func(w http.ResponseWriter, r *http.Request) {
		outcome, err := a.Agent.Retry(r.Context(), callerOf(r), r.PathValue("app"))
		answer(w, r, outcome, err)
	})
	mux.HandleFunc("GET /wait/{app}", func(w http.ResponseWriter, r *http.Request) {
		answer(w, r, struct{}{}, a.Agent.Wait(r.Context(), callerOf(r), r.PathValue("app")))
	})
	mux.HandleFunc("GET /credentials/{role}", func(w http.ResponseWriter, r *http.Request) {
		credentials, err := usable(a.Agent.Credentials(r.Context(), callerOf(r), r.PathValue("role")))
		if err != nil {
			answer(w, r, nil, err)
			return
		}
		inTime(w)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(credentials.Document().Reveal())
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := unrelayed(r)
		if err == nil && r.ContentLength != 0 {
			err = &refusal{http.StatusBadRequest, "BadRequest", "a request with a body is not answered"}
		}
		if err != nil {
			// What is left of it is not waited for.
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(patience))
			answer(w, r, nil, err)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// inTime bounds how long a caller takes for its answer: the server cannot, as
// it does not know how long answers take to be found.
func inTime(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(2 * patience)) // not supported by a test's recorder
}

// failure is the body of an answer that is not 200.
type failure struct {
	Error   string `json:"error"`
	Unknown bool   `json:"unknown,omitempty"` // no app or role of that name
	// Stopping says that the sidecar is ending, and that the same question
	// may get its answer from the next one.
	Stopping bool `json:"stopping,omitempty"`
}

// answer writes v, or err with the status that fits it.
func answer(w http.ResponseWriter, r *http.Request, v any, err error) {
	status := http.StatusOK
	if err != nil {
		var unknown interface{ Unknown() bool }
		body := failure{
			Error: err.Error(), Unknown: errors.As(err, &unknown) && unknown.Unknown(),
			Stopping: r.Context().Err() != nil,
		}
		v, status = body, http.StatusServiceUnavailable
		switch {
		case errors.Is(err, ErrForbidden):
			status = http.StatusForbidden
		case body.Unknown:
			status = http.StatusNotFound
		}
		if r, ok := errors.AsType[*refusal](err); ok {
			status = r.status
		}
	}
	inTime(w)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a caller that hung up needs no answer
}

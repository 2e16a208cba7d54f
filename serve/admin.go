// Package serve is what the sidecar answers on this machine: the admin socket.
package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// agent is what the admin socket asks. Every method decides by the caller what
// it may see or do, and returns ErrForbidden when that is nothing.
type agent interface {
	Status(Caller) Status
	Refresh(context.Context, Caller, []string) ([]Outcome, error)
	Wait(context.Context, Caller, string) error
	Credentials(context.Context, Caller, string) (Credentials, error)
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
	listener, err := listen(ctx, a.Path)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           a.handler(),
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext:       withCaller,
		ErrorLog:          slog.NewLogLogger(a.Log.Handler(), slog.LevelDebug),
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); ctx.Err() == nil {
		return fmt.Errorf("admin socket %s: %w", a.Path, err)
	}
	return context.Cause(ctx)
}

func (a Admin) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		answer(w, a.Agent.Status(callerOf(r)), nil)
	})
	mux.HandleFunc("POST /refresh", func(w http.ResponseWriter, r *http.Request) {
		outcomes, err := a.Agent.Refresh(r.Context(), callerOf(r), r.URL.Query()["app"])
		answer(w, outcomes, err)
	})
	mux.HandleFunc("GET /wait/{app}", func(w http.ResponseWriter, r *http.Request) {
		answer(w, struct{}{}, a.Agent.Wait(r.Context(), callerOf(r), r.PathValue("app")))
	})
	mux.HandleFunc("GET /credentials/{role}", func(w http.ResponseWriter, r *http.Request) {
		credentials, err := a.Agent.Credentials(r.Context(), callerOf(r), r.PathValue("role"))
		if err != nil {
			answer(w, nil, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(credentials.Document().Reveal())
	})
	return mux
}

// failure is the body of an answer that is not 200.
type failure struct {
	Error   string `json:"error"`
	Unknown bool   `json:"unknown,omitempty"` // no app or role of that name
}

// answer writes v, or err with the status that fits it.
func answer(w http.ResponseWriter, v any, err error) {
	status := http.StatusOK
	if err != nil {
		var unknown interface{ Unknown() bool }
		body := failure{Error: err.Error(), Unknown: errors.As(err, &unknown) && unknown.Unknown()}
		v, status = body, http.StatusServiceUnavailable
		switch {
		case errors.Is(err, ErrForbidden):
			status = http.StatusForbidden
		case body.Unknown:
			status = http.StatusNotFound
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a caller that hung up needs no answer
}

// listen binds the socket so that at no moment it has a wider mode than 0660.
func listen(ctx context.Context, path string) (net.Listener, error) {
	if err := os.Mkdir(filepath.Dir(path), 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("admin socket %s: %w; create the folder for outrider's user or change listen.admin", path, err)
	}
	if err := clear(ctx, path); err != nil {
		return nil, err
	}
	// Bound under another name, its mode set, and only then moved to where
	// others look: umask is the whole process's and cannot be borrowed.
	private := fmt.Sprintf("%s.%d", path, os.Getpid())
	_ = os.Remove(private)
	listener, err := new(net.ListenConfig).Listen(ctx, "unix", private)
	if err != nil {
		return nil, fmt.Errorf("admin socket %s: %w", path, err)
	}
	if unixListener, ok := listener.(*net.UnixListener); ok {
		unixListener.SetUnlinkOnClose(false)
	}
	if err = os.Chmod(private, 0o660); err == nil {
		err = os.Rename(private, path)
	}
	if err != nil {
		_ = listener.Close()
		_ = os.Remove(private)
		return nil, fmt.Errorf("admin socket %s: %w", path, err)
	}
	return listener, nil
}

// clear removes a socket that nobody serves any more.
func clear(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("admin socket %s: %w", path, err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("admin socket %s: something else is there; remove it or change listen.admin", path)
	}
	connection, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err == nil {
		_ = connection.Close()
		return fmt.Errorf("admin socket %s: another process serves it; stop that one or change listen.admin", path)
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("admin socket %s: %w", path, err)
	}
	return os.Remove(path)
}

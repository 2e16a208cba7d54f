package serve

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxConnections bounds what one endpoint can take of the process's
	// descriptors.
	maxConnections = 1024
	// patience is how long a client may take to ask.
	patience = 5 * time.Second
	// grace is how long answers under way have when an endpoint stops.
	grace = time.Second
)

// place is where an endpoint listens, and what messages call it.
type place struct {
	what    string      // "admin socket"
	key     string      // of the configuration: "listen.admin"
	address string      // path of a unix socket, or host:port
	mode    fs.FileMode // of a unix socket
}

func (p place) wrap(err error) error { return fmt.Errorf("%s %s: %w", p.what, p.address, err) }

// newServer returns a server with the bounds that do not depend on how long
// its answers take.
func newServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: patience,
		IdleTimeout:       10 * time.Second, // an SDK comes back in half an hour
		MaxHeaderBytes:    16 << 10,
		ConnContext:       withCaller,
		ConnState:         bounded(maxConnections),
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),

		DisableGeneralOptionsHandler: true, // the method is the handler's to refuse
	}
}

// bounded makes the connection after the first n wait until one of them ends:
// a server calls it for a new one before it accepts the next.
func bounded(n int) func(net.Conn, http.ConnState) {
	slots := make(chan struct{}, n)
	return func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			slots <- struct{}{}
		case http.StateClosed, http.StateHijacked:
			<-slots
		}
	}
}

// serve answers until ctx ends, whose cause it returns. Requests under way
// then have the grace period; 0: they are called off.
func (p place) serve(ctx context.Context, l net.Listener, s *http.Server, grace time.Duration) error {
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		if s.Shutdown(last) != nil {
			_ = s.Close()
		}
	})
	err := s.Serve(l)
	if stop() {
		_ = s.Close()
		return p.wrap(err)
	}
	<-ended
	return context.Cause(ctx)
}

// listenTCP binds a loopback address. What is sent has one hop to live, so
// that no forwarding gets it off this machine.
func (p place) listenTCP(ctx context.Context) (net.Listener, error) {
	address, err := netip.ParseAddrPort(p.address)
	if err != nil || !address.Addr().IsLoopback() {
		return nil, p.wrap(fmt.Errorf("not a loopback address with a port; set %s to one such as 127.0.0.1:9470", p.key))
	}
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return oneHop(c, address.Addr().Is6())
	}}
	return p.bind(ctx, config, address)
}

func (p place) bind(ctx context.Context, config net.ListenConfig, address netip.AddrPort) (net.Listener, error) {
	listener, err := config.Listen(ctx, "tcp", address.String())
	if errors.Is(err, unix.EADDRINUSE) {
		err = fmt.Errorf("another process listens there; stop that one or change %s", p.key)
	}
	if err != nil {
		return nil, p.wrap(err)
	}
	return listener, nil
}

// oneHop sets the listening socket's hop limit, which accepted ones inherit.
func oneHop(c syscall.RawConn, six bool) error {
	level, option := unix.IPPROTO_IP, unix.IP_TTL
	if six {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS
	}
	var failed error
	err := c.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), level, option, 1) })
	return errors.Join(err, failed)
}

// listenUnix binds a socket so that at no moment it has a wider mode than it
// is to have. One that a dead process left is replaced, one that a live
// process serves is an error.
func (p place) listenUnix(ctx context.Context) (net.Listener, error) {
	// Others may go through it, to what is theirs in it, and not list it.
	//nolint:gosec // see above
	if err := os.Mkdir(filepath.Dir(p.address), 0o711); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, p.wrap(fmt.Errorf("%w; create the folder for outrider's user or change %s", err, p.key))
	}
	if err := p.takeOver(ctx); err != nil {
		return nil, err
	}
	// Bound under another name, its mode set, and only then moved to where
	// others look: umask is the whole process's and cannot be borrowed.
	private := fmt.Sprintf("%s.%d", p.address, os.Getpid())
	_ = os.Remove(private)
	listener, err := new(net.ListenConfig).Listen(ctx, "unix", private)
	if err != nil {
		return nil, p.wrap(err)
	}
	if unixListener, ok := listener.(*net.UnixListener); ok {
		unixListener.SetUnlinkOnClose(false)
	}
	if err = os.Chmod(private, p.mode); err == nil {
		err = os.Rename(private, p.address)
	}
	if err != nil {
		_ = listener.Close()
		_ = os.Remove(private)
		return nil, p.wrap(err)
	}
	return listener, nil
}

// takeOver removes a socket that nobody serves any more.
func (p place) takeOver(ctx context.Context) error {
	info, err := os.Lstat(p.address)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return p.wrap(err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return p.wrap(fmt.Errorf("something else is there; remove it or change %s", p.key))
	}
	connection, err := new(net.Dialer).DialContext(ctx, "unix", p.address)
	if err == nil {
		_ = connection.Close()
		return p.wrap(fmt.Errorf("another process serves it; stop that one or change %s", p.key))
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return p.wrap(err)
	}
	return os.Remove(p.address)
}

// unixPath returns the path of an address of the form unix:PATH.
func unixPath(address string) (string, bool) { return strings.CutPrefix(address, "unix:") }

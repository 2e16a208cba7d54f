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
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxConnections bounds what one endpoint can take of the process's
	// descriptors, and maxOfUser what one user can of a socket's.
	maxConnections = 1024
	maxOfUser      = 256
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
	return newServerOf(newCrowd(maxConnections, maxOfUser), h, log)
}

func newServerOf(c *crowd, h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           c.attended(h),
		ReadHeaderTimeout: patience,
		IdleTimeout:       10 * time.Second, // an SDK comes back in half an hour
		MaxHeaderBytes:    16 << 10,
		ConnContext:       enters,
		ConnState:         c.state,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),

		DisableGeneralOptionsHandler: true, // the method is the handler's to refuse
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
	// The folder is held, since it may be the application's own, who could
	// exchange it: names in it are found by its descriptor alone.
	folder, err := os.OpenFile(filepath.Dir(p.address), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, p.wrap(err)
	}
	defer folder.Close()
	if err := p.takeOver(ctx, folder); err != nil {
		return nil, err
	}
	p.sweep(folder)
	listener, err := p.bindIn(ctx, folder)
	if err != nil {
		return nil, p.wrap(err)
	}
	return listener, nil
}

// within returns a path by which the kernel finds a name in a folder that is
// held.
func within(folder *os.File, name string) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", folder.Fd(), name)
}

// bindIn binds the socket under another name, sets its mode, and only then
// moves it to where others look: umask is the whole process's and cannot be
// borrowed.
func (p place) bindIn(ctx context.Context, folder *os.File) (net.Listener, error) {
	name := filepath.Base(p.address)
	private := fmt.Sprintf("%s.%d", name, os.Getpid())
	at := int(folder.Fd())
	_ = unix.Unlinkat(at, private, 0)
	listener, err := new(net.ListenConfig).Listen(ctx, "unix", within(folder, private))
	if err != nil {
		return nil, err
	}
	if unixListener, ok := listener.(*net.UnixListener); ok {
		unixListener.SetUnlinkOnClose(false)
	}
	if err = chmodSocket(folder, private, p.mode); err == nil {
		err = unix.Renameat(at, private, at, name)
	}
	if err != nil {
		_ = listener.Close()
		_ = unix.Unlinkat(at, private, 0)
		return nil, err
	}
	return listener, nil
}

// chmodSocket sets the mode of a socket of ours in a folder, and of nothing that
// somebody has put in its place.
func chmodSocket(folder *os.File, name string, mode fs.FileMode) error {
	fd, err := unix.Openat(int(folder.Fd()), name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK || int(st.Uid) != os.Geteuid() || st.Nlink != 1 {
		return errors.New("somebody else puts files in its way; give it a folder of outrider's user")
	}
	return os.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), mode)
}

// sweep removes sockets that processes have left which were killed before they
// moved theirs to its place. A file of somebody's may be called so, too.
func (p place) sweep(folder *os.File) {
	name := filepath.Base(p.address)
	left, _ := filepath.Glob(within(folder, name+".[0-9]*"))
	for _, path := range left {
		pid, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(path), name+"."))
		var st unix.Stat_t
		if err == nil {
			err = unix.Lstat(path, &st)
		}
		if err == nil && st.Mode&unix.S_IFMT == unix.S_IFSOCK && errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
			_ = unix.Unlinkat(int(folder.Fd()), filepath.Base(path), 0)
		}
	}
}

// unserved returns nil once nobody serves the socket. A process that was killed
// in the middle of starting a hook leaves it for a moment with what was to
// become the hook, which is waited for.
func (p place) unserved(ctx context.Context, folder *os.File) error {
	const longest = time.Second
	for pause := 10 * time.Millisecond; ; pause *= 2 {
		connection, err := new(net.Dialer).DialContext(ctx, "unix", within(folder, filepath.Base(p.address)))
		switch {
		case errors.Is(err, unix.ECONNREFUSED):
			return nil
		case err != nil:
			return err
		}
		_ = connection.Close()
		if pause > longest {
			return fmt.Errorf("another process serves it; stop that one or change %s", p.key)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// takeOver removes a socket that nobody serves any more.
func (p place) takeOver(ctx context.Context, folder *os.File) error {
	name := filepath.Base(p.address)
	var st unix.Stat_t
	err := unix.Fstatat(int(folder.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return p.wrap(err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return p.wrap(fmt.Errorf("something else is there; remove it or change %s", p.key))
	}
	if err := p.unserved(ctx, folder); err != nil {
		return p.wrap(err)
	}
	return unix.Unlinkat(int(folder.Fd()), name, 0)
}

// unixPath returns the path of an address of the form unix:PATH.
func unixPath(address string) (string, bool) { return strings.CutPrefix(address, "unix:") }

package serve

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/user"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// Caller is the process at the other end of a connection, as the kernel
// vouches for it (SO_PEERCRED, unix(7)). The zero Caller may do nothing.
type Caller struct {
	known bool
	self  bool // stands for somebody whom the kernel does not know
	uid   uint32
	gid   uint32
}

// callerKey is the key of a connection's Caller in its context.
type callerKey struct{}

// withCaller notes who connected.
func withCaller(ctx context.Context, c net.Conn) context.Context {
	if caller := peer(c); caller.known {
		return context.WithValue(ctx, callerKey{}, caller)
	}
	return ctx
}

// peer asks the kernel who connected.
func peer(c net.Conn) Caller {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return Caller{}
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return Caller{}
	}
	caller := Caller{}
	_ = raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			caller = Caller{known: true, uid: cred.Uid, gid: cred.Gid}
		}
	})
	return caller
}

func callerOf(r *http.Request) Caller {
	caller, _ := r.Context().Value(callerKey{}).(Caller)
	return caller
}

// Self returns the caller that this process itself would be.
func Self() Caller {
	return Caller{known: true, self: true, uid: uint32(os.Geteuid()), gid: uint32(os.Getegid())}
}

// UID returns who the kernel says the caller is, nil when it does not say.
func (c Caller) UID() *uint32 {
	if !c.known || c.self {
		return nil
	}
	return &c.uid
}

// Trusted reports whether the caller is root or runs as this process's user,
// who may do everything.
func (c Caller) Trusted() bool {
	return c.known && (c.uid == 0 || int(c.uid) == os.Geteuid())
}

// Is reports whether the caller is trusted, one of the users, or in one of
// the groups; both by name or number.
func (c Caller) Is(users, groups []string) bool {
	if c.Trusted() {
		return true
	}
	if !c.known || len(users)+len(groups) == 0 {
		return false
	}
	uid, gids := strconv.Itoa(int(c.uid)), []string{strconv.Itoa(int(c.gid))}
	names := []string{uid}
	if u, err := user.LookupId(uid); err == nil {
		names = append(names, u.Username)
		if more, err := u.GroupIds(); err == nil {
			gids = append(gids, more...)
		}
	}
	in := func(allowed []string) func(string) bool {
		return func(name string) bool { return slices.Contains(allowed, name) }
	}
	if slices.ContainsFunc(names, in(users)) {
		return true
	}
	return slices.ContainsFunc(gids, func(gid string) bool {
		if slices.Contains(groups, gid) {
			return true
		}
		g, err := user.LookupGroupId(gid)
		return err == nil && slices.Contains(groups, g.Name)
	})
}

package serve

import (
	"container/list"
	"context"
	"net"
	"net/http"
	"sync"
)

// crowd is who is connected to an endpoint. Who comes when it is full takes the
// place of the one that has gone longest without asking, so that slow and idle
// clients keep nobody out; where all are being answered, a port's client waits
// until one has been, and a socket's, where answers may take long, is hung up
// on. On a socket one user has a part of the places, and to root and ourselves
// it is never full.
type crowd struct {
	most  int // connections
	share int // of one user, on a socket

	mu     sync.Mutex
	guests map[net.Conn]*guest
	silent *list.List // of *guest, who has gone longest without asking first
	left   *sync.Cond // a place, or its guest is silent again
}

// guest is a connection.
type guest struct {
	c   net.Conn
	who Caller
	at  *list.Element // in silent; nil while it is answered
}

func newCrowd(most, share int) *crowd {
	c := &crowd{most: most, share: share, guests: map[net.Conn]*guest{}, silent: list.New()}
	c.left = sync.NewCond(&c.mu)
	return c
}

// state is the server's ConnState, which it calls for a new connection before
// it accepts the next.
func (c *crowd) state(connection net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		c.enter(&guest{c: connection, who: peer(connection)})
	case http.StateIdle: // the answer is on its way: when a handler returns, it may not be
		c.answered(connection)
	case http.StateClosed, http.StateHijacked:
		c.mu.Lock()
		defer c.mu.Unlock()
		if g := c.guests[connection]; g != nil {
			c.drop(g)
		}
	}
}

func (c *crowd) enter(g *guest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := g.who.known
	if known && !g.who.Trusted() && c.of(g.who.uid) >= c.share && !c.evict(func(other Caller) bool { return other.uid == g.who.uid }) {
		_ = g.c.Close()
		return
	}
	for len(c.guests) >= c.most && !g.who.Trusted() && !c.evict(func(Caller) bool { return true }) {
		if known {
			_ = g.c.Close()
			return
		}
		c.left.Wait()
	}
	g.at = c.silent.PushBack(g)
	c.guests[g.c] = g
}

// of returns how many connections a user has.
func (c *crowd) of(uid uint32) (n int) {
	for _, g := range c.guests {
		if g.who.uid == uid {
			n++
		}
	}
	return n
}

// evict hangs up on who has gone longest without asking, of those that may be;
// false: all of them are being answered.
func (c *crowd) evict(may func(Caller) bool) bool {
	for at := c.silent.Front(); at != nil; at = at.Next() {
		if g, ok := at.Value.(*guest); ok && may(g.who) {
			_ = g.c.Close()
			c.drop(g)
			return true
		}
	}
	return false
}

func (c *crowd) drop(g *guest) {
	delete(c.guests, g.c)
	if g.at != nil {
		c.silent.Remove(g.at)
	}
	c.left.Signal()
}

// connectionKey is the key of a request's connection in its context.
type connectionKey struct{}

// enters notes which connection a request came on, and whose.
func enters(ctx context.Context, c net.Conn) context.Context {
	return withCaller(context.WithValue(ctx, connectionKey{}, c), c)
}

// attended lets a handler answer, and hangs up on nobody meanwhile.
func (c *crowd) attended(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if connection, ok := r.Context().Value(connectionKey{}).(net.Conn); ok {
			c.asked(connection)
		}
		h.ServeHTTP(w, r)
	})
}

func (c *crowd) asked(connection net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if g := c.guests[connection]; g != nil && g.at != nil { // else it is hung up on
		c.silent.Remove(g.at)
		g.at = nil
	}
}

func (c *crowd) answered(connection net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if g := c.guests[connection]; g != nil && g.at == nil {
		g.at = c.silent.PushBack(g)
		c.left.Signal() // who waits may have its place
	}
}

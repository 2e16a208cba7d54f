package faulttest

import (
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"

	"outrider/awslab"
)

// line is the way to the lab, and goes wrong.
type line struct {
	lab *awslab.Lab
	op  operation

	mu    sync.Mutex
	fault *fault // nil: all is well
	calls int    // since the fault began, of all operations
	hits  int    // of these, those that it struck or, of a clock, might have

	before sync.WaitGroup // calls that came before the fault, but for those that wait for a message
}

// begin makes the fault strike, and counts from now on. Calls that came before
// have been answered when it returns: what changes after it is not in them.
func (l *line) begin(f fault) {
	if !l.op.queue {
		l.lab.SetSkew(f.skew)
	}
	l.mu.Lock()
	l.fault, l.calls, l.hits = &f, 0, 0
	l.mu.Unlock()
	l.before.Wait()
}

// end has calls go well again; those under way go on as they do.
func (l *line) end() (calls, hits int) {
	if !l.op.queue {
		l.lab.SetSkew(0)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault = nil
	return l.calls, l.hits
}

func (l *line) struck() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hits
}

// hit returns the fault when it strikes this call, and what is to be called
// when the call is over.
func (l *line) hit(name string, ids []string) (f *fault, over func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f, over = l.fault, func() {}
	if f == nil {
		if name != "ReceiveMessage" {
			l.before.Add(1)
			over = l.before.Done
		}
		return nil, over
	}
	l.calls++
	strikes := name == l.op.name
	switch {
	case f.severs:
		strikes = slices.ContainsFunc(operations(), func(o operation) bool { return o.name == name && o.service == l.op.service })
	case slices.Contains(f.also, l.op.name):
		all := l.op.all()
		strikes = slices.Contains(f.also, name) && slices.Contains(ids, all[len(all)-1])
	}
	if !strikes {
		return nil, over
	}
	l.hits++
	return f, over
}

// RoundTrip implements http.RoundTripper.
func (l *line) RoundTrip(r *http.Request) (*http.Response, error) {
	name, ids := nameOf(r), about(r)
	f, over := l.hit(name, ids)
	defer over()
	if f == nil || f.strike == nil {
		return l.lab.RoundTripper().RoundTrip(r)
	}
	return f.strike(call{lab: l.lab.RoundTripper(), r: r, service: l.op.service, name: name, ids: ids})
}

// ServeHTTP puts onto the wire what RoundTrip returns.
func (l *line) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	res, err := l.RoundTrip(r)
	if err == nil {
		defer res.Body.Close()
		maps.Copy(w.Header(), res.Header)
		w.Header().Set("Content-Length", strconv.FormatInt(res.ContentLength, 10))
		w.WriteHeader(res.StatusCode)
		if _, err = io.Copy(flushed{w, control}, res.Body); err == nil {
			return
		}
	}
	if c, _, err := control.Hijack(); err == nil {
		_ = c.(*net.TCPConn).SetLinger(0) //nolint:forcetypeassert // it listens on TCP; close sends RST
		_ = c.Close()
	}
}

// flushed sends each write at once.
type flushed struct {
	io.Writer
	control *http.ResponseController
}

// Write implements io.Writer.
func (f flushed) Write(p []byte) (int, error) {
	n, err := f.Writer.Write(p)
	if err == nil {
		err = f.control.Flush()
	}
	return n, err
}

// door is where a line is reached on the wire.
type door struct {
	t       *testing.T
	address string
	handler http.Handler
	server  *http.Server
	done    chan struct{}
}

// newDoor opens a door on any port of a loopback address.
func newDoor(t *testing.T, host string, handler http.Handler) *door {
	t.Helper()
	d := &door{t: t, address: net.JoinHostPort(host, "0"), handler: handler}
	d.open()
	t.Cleanup(d.shut)
	return d
}

func (d *door) open() {
	d.t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(d.t.Context(), "tcp", d.address)
	if err != nil {
		d.t.Fatal(err)
	}
	d.address = listener.Addr().String()
	server, done := &http.Server{Handler: d.handler}, make(chan struct{})
	d.server, d.done = server, done
	go func() {
		defer close(done)
		_ = server.Serve(listener) // it ends by shut
	}()
}

// shut lets nobody in, and cuts who is.
func (d *door) shut() {
	_ = d.server.Close()
	<-d.done
}

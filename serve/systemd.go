package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"sync"
	"time"

	"outrider/secret"
)

const (
	// credentialWait is how long systemd is kept waiting for a value that is
	// not there yet. A unit has 90 s to start unless it says otherwise.
	credentialWait = 60 * time.Second
	// credentialLimit is the most bytes that systemd takes for a credential
	// (systemd.exec(5)), encrypted ones have a little more.
	credentialLimit = 1 << 20
)

// vault is what systemd is answered from.
type vault interface {
	// Credential returns the value of a credential that the unit may have,
	// and blocks until it is there.
	Credential(ctx context.Context, unit, name string) (secret.Value, error)
}

// Systemd is the socket that LoadCredential=NAME:PATH of a unit names. It is
// root's alone: systemd connects before the unit's process gets its user.
//
// Source: systemd.exec(5), LoadCredential=
type Systemd struct {
	Path      string // of the unix socket
	Agent     vault
	Log       *slog.Logger
	Listening func() // called once the socket is there; nil: nobody is told

	root uint32 // who may ask, for tests
}

// Run listens with mode 0600 and answers until ctx ends, whose cause it
// returns. A unit that may not have what it asks for, and one whose value does
// not come within a minute, fails to start. A socket that a dead process left
// is replaced, one that a live process serves is an error.
func (s Systemd) Run(ctx context.Context) error {
	p := place{what: "systemd socket", key: "listen.systemd", address: s.Path, mode: 0o600}
	listener, err := p.listenUnix(ctx)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	defer listener.Close()
	if s.Listening != nil {
		s.Listening()
	}
	var answers sync.WaitGroup
	defer answers.Wait()
	slots := make(chan struct{}, maxConnections)
	for {
		slots <- struct{}{} // over the bound a unit waits until another has its answer
		c, err := listener.Accept()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return p.wrap(err)
		}
		answers.Go(func() {
			defer func() { <-slots }()
			defer c.Close()
			s.answer(ctx, c)
		})
	}
}

// answer writes the credential that the peer's address asks for.
func (s Systemd) answer(ctx context.Context, c net.Conn) {
	unit, name, err := s.asked(c)
	var value secret.Value
	if err == nil {
		value, err = s.value(ctx, unit, name)
	}
	_ = c.SetWriteDeadline(time.Now().Add(patience))
	if err != nil {
		if ctx.Err() == nil {
			s.Log.Error("credential refused", "unit", unit, "credential", name, "error", err)
		}
		refuse(c)
		return
	}
	_, _ = c.Write(value.Reveal()) // systemd reports what it could not read
}

// asked returns which unit asks for what: systemd binds its end of the
// connection to an abstract name that says so.
func (s Systemd) asked(c net.Conn) (unit, name string, err error) {
	if caller := peer(c); !caller.known || caller.uid != s.root {
		return "", "", fmt.Errorf("user %d is not systemd; only root may ask here", caller.uid)
	}
	m := peerName.FindStringSubmatch(c.RemoteAddr().String())
	if m == nil {
		return "", "", errors.New("the peer's address names no unit; only LoadCredential= asks here")
	}
	return m[1], m[2], nil
}

// peerName matches what systemd calls its end, @ standing for the NUL in front.
var peerName = regexp.MustCompile(`^@[0-9a-f]+/unit/([^/]+)/([^/]+)$`)

func (s Systemd) value(ctx context.Context, unit, name string) (secret.Value, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, credentialWait, fmt.Errorf("no value after %s; outrider status says why", credentialWait))
	defer cancel()
	value, err := s.Agent.Credential(ctx, unit, name)
	switch {
	case err != nil:
		return value, err
	case value.Len() == 0:
		return value, errors.New("the value is empty")
	case value.Len() > credentialLimit:
		return value, fmt.Errorf("the value has %d bytes, systemd takes at most %d", value.Len(), credentialLimit)
	}
	return value, nil
}

// refuse makes the unit fail. The protocol cannot say no: nothing but the end
// of the stream is an empty credential, with which the unit would start, and a
// unix socket that its peer has written nothing to cannot be reset either.
// What fails is a stream that is longer than systemd takes, so it gets zeros
// until it hangs up.
func refuse(c net.Conn) {
	zeros := make([]byte, 32<<10)
	for range 2 * credentialLimit / len(zeros) {
		if _, err := c.Write(zeros); err != nil {
			return
		}
	}
}

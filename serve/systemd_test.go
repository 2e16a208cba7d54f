package serve

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"outrider/secret"
)

// unitVault is what a test's units may have, by unit and credential.
type unitVault map[string]secret.Value

func (v unitVault) Credential(ctx context.Context, unit, name string) (secret.Value, error) {
	value, ok := v[unit+"/"+name]
	switch {
	case !ok:
		return secret.Value{}, errors.New("not this unit's")
	case value.Equal(secret.Text("never")):
		<-ctx.Done()
		return secret.Value{}, context.Cause(ctx)
	}
	return value, nil
}

// lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// take returns what was written since the last time.
func (l *lockedBuffer) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.b.Reset()
	return l.b.String()
}

// errTooBig is what systemd makes of a stream that is longer than it takes,
// and fails the unit with.
var errTooBig = errors.New("argument list too long")

// loadCredential reads a credential as systemd's executor does: from a name of its own
// that says what it wants, nothing written, to the end or to one byte more
// than the limit. How long the name is does not matter; it ends without NUL.
func loadCredential(t *testing.T, socket, from string) (string, error) {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.UnixAddr{Name: from, Net: "unix"}}
	c, err := dialer.DialContext(t.Context(), "unix", socket)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if u, ok := c.(*net.UnixConn); !ok || u.CloseWrite() != nil {
		t.Fatal("the connection cannot be shut for writing")
	}
	return readCredential(c)
}

func readCredential(c io.Reader) (string, error) {
	text, err := io.ReadAll(io.LimitReader(c, credentialLimit+1))
	if err == nil && len(text) > credentialLimit {
		err = errTooBig
	}
	return string(text), err
}

func TestSystemdGetsWhatTheUnitMayHaveAndElseFails(t *testing.T) {
	vault := unitVault{
		"billing.service/db":     secret.Text("pw\x00\n"),
		"billing@1.service/db":   secret.Text("of an instance"),
		"billing.service/empty":  {},
		"billing.service/big":    secret.NewValue(bytes.Repeat([]byte("x"), credentialLimit)),
		"billing.service/bigger": secret.NewValue(bytes.Repeat([]byte("x"), credentialLimit+1)),
	}
	var log lockedBuffer
	path := filepath.Join(t.TempDir(), "credentials.sock")
	server := Systemd{Path: path, Agent: vault, Log: slog.New(slog.NewTextHandler(&log, nil)), root: uint32(os.Getuid())}
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan struct{}), make(chan error, 1)
	server.Listening = func() { close(ready) }
	go func() { ended <- server.Run(ctx) }()
	<-ready
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket is %v, %v; want mode 0600", info.Mode(), err)
	}
	for _, tc := range []struct {
		name, from, want, log string
	}{
		{"the value, byte for byte", "@1f/unit/billing.service/db", "pw\x00\n", ""},
		{"an instance's value", "@a/unit/billing@1.service/db", "of an instance", ""},
		{"as much as systemd takes", "@b/unit/billing.service/big", strings.Repeat("x", credentialLimit), ""},
		{"another unit's is refused", "@c/unit/other.service/db", "", "not this unit's"},
		{"a value that is not there is refused", "@d/unit/billing.service/smtp", "", "unit=billing.service credential=smtp"},
		{"an empty value is refused", "@e/unit/billing.service/empty", "", "the value is empty"},
		{"more than systemd takes is refused", "@f/unit/billing.service/bigger", "", "at most 1048576"},
		{"a name that systemd does not use is refused", "@billing.service/db", "", "names no unit"},
		{"no name is refused", "", "", "names no unit"},
	} {
		got, err := loadCredential(t, path, tc.from)
		said := log.take()
		switch {
		case tc.log == "" && (err != nil || got != tc.want):
			t.Errorf("%s: %d bytes and %v, want %d bytes", tc.name, len(got), err, len(tc.want))
		case tc.log != "" && (!errors.Is(err, errTooBig) || strings.Trim(got, "\x00") != ""):
			t.Errorf("%s: %d bytes and %v, want zeros until it is too much", tc.name, len(got), err)
		case tc.log != "" && !strings.Contains(said, tc.log):
			t.Errorf("%s: the log has %q, want %q in it", tc.name, said, tc.log)
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v, want its context's cause", err)
	}
}

func TestSystemdIsAskedByRootAlone(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("another user than the one that is trusted is needed, and root to have it")
	}
	path := filepath.Join(t.TempDir(), "credentials.sock")
	start(t, "unix", path, Systemd{
		Path: path, Agent: unitVault{"billing.service/db": secret.Text("pw")}, Log: slog.New(slog.DiscardHandler), root: 65534,
	}.Run)
	if _, err := loadCredential(t, path, "@1/unit/billing.service/db"); !errors.Is(err, errTooBig) {
		t.Errorf("a peer that is not the one that systemd is got %v, want a refusal", err)
	}
}

func TestAValueThatDoesNotComeFailsTheUnitAfterAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := Systemd{Agent: unitVault{"billing.service/db": secret.Text("never")}}
		_, err := s.value(t.Context(), "billing.service", "db")
		if err == nil || !strings.Contains(err.Error(), "no value after 1m0s") {
			t.Errorf("got %v, want that it waited a minute", err)
		}
	})
}

func TestASidecarThatStopsFailsTheUnitsThatWait(t *testing.T) {
	path := filepath.Join(t.TempDir(), "credentials.sock")
	ctx, cancel := context.WithCancel(t.Context())
	waits := waitingVault{entered: make(chan struct{})}
	ready, ended := make(chan struct{}), make(chan error, 1)
	server := Systemd{Path: path, Agent: waits, Log: slog.New(slog.DiscardHandler), Listening: func() { close(ready) }, root: uint32(os.Getuid())}
	go func() { ended <- server.Run(ctx) }()
	<-ready
	go func() {
		<-waits.entered
		cancel()
	}()
	if _, err := loadCredential(t, path, "@1/unit/billing.service/db"); !errors.Is(err, errTooBig) {
		t.Errorf("a unit that waited got %v, want a refusal", err)
	}
	<-ended
}

// waitingVault says when it is asked, and waits for good.
type waitingVault struct{ entered chan struct{} }

func (v waitingVault) Credential(ctx context.Context, _, _ string) (secret.Value, error) {
	close(v.entered)
	<-ctx.Done()
	return secret.Value{}, context.Cause(ctx)
}

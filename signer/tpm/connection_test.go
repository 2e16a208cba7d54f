package tpm

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"golang.org/x/sys/unix"

	"outrider/internal/pkitest"
	"outrider/signer/internal/device"
)

// fake answers each connection's commands, counted from 0, in its own way;
// with nothing when it gives nil.
func fake(t *testing.T, answer func(n int) []byte) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tpm-") //nolint:usetesting // the test's own folder may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, "sock"))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := 0; ; {
			c, err := l.Accept()
			if err != nil {
				return
			}
			for buffer := make([]byte, maxAnswer); ; n++ {
				if _, err := c.Read(buffer); err != nil {
					break
				}
				for _, b := range answer(n) { // byte by byte: a stream has no borders
					c.Write([]byte{b})
				}
			}
			c.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
		os.RemoveAll(dir)
	})
	return "unix:" + l.Addr().String()
}

func code(rc uint32) []byte {
	b := []byte{0x80, 0x01, 0, 0, 0, headerSize}
	return binary.BigEndian.AppendUint32(b, rc)
}

func TestCommandsAreSentAgainWhenTheTPMAsks(t *testing.T) {
	at := fake(t, func(n int) []byte {
		return [][]byte{code(rcRetry), code(rcTesting), code(rcYielded), code(0)}[n]
	})
	c, err := open(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := (tpm2.FlushContext{FlushHandle: tpm2.TPMHandle(1)}).Execute(c); err != nil {
		t.Error(err)
	}
}

func TestAnswersThatAreNoTPMsAreRefused(t *testing.T) {
	tests := map[string][]byte{
		"another protocol":  []byte("HTTP/1.1 400 Bad Request\r\n\r\n"),
		"a size of nothing": make([]byte, headerSize),
	}
	for name, answer := range tests {
		t.Run(name, func(t *testing.T) {
			c, err := open(t.Context(), fake(t, func(int) []byte { return answer }))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := c.Send(code(0)); err == nil {
				t.Error("got no error")
			}
		})
	}
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, errors.New("waited 50ms"))
	defer cancel()
	at := fake(t, func(int) []byte { return nil })
	leaf := pkitest.NewRoot(t, "root").Leaf(t, pkitest.Options{}).Parsed
	_, err := Open(ctx, &device.Guard{}, Ref{Handle: 0x81000001, Device: at}, nil, device.PIN{}, leaf)
	if err == nil || !strings.Contains(err.Error(), "waited 50ms") && !strings.Contains(err.Error(), "timeout") {
		t.Errorf("got %v", err)
	}
}

// A terminal is a device of the test's own: what is written to one end is read
// from the other.
func TestDevicesAreReadInPiecesAndWithinTheContext(t *testing.T) {
	far, near := terminal(t)
	go func() {
		buffer := make([]byte, maxAnswer)
		if _, err := far.Read(buffer); err == nil {
			far.Write(code(0))
		}
	}()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c, err := open(ctx, near)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, err := c.Send(code(0)); err != nil || len(got) != headerSize {
		t.Fatalf("got %x, %v", got, err)
	}
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := c.Send(code(0)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want the deadline's error", err)
	}
}

// terminal returns one end of a raw pseudo-terminal and the path of the other.
func terminal(t *testing.T) (*os.File, string) {
	t.Helper()
	far, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("left out: no pseudo-terminals: %v", err)
	}
	t.Cleanup(func() { far.Close() })
	fd := int(far.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	term, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	term.Iflag, term.Oflag, term.Lflag = 0, 0, 0
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, term); err != nil {
		t.Fatal(err)
	}
	return far, filepath.Join("/dev/pts", strconv.Itoa(n))
}

package tpm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

const (
	maxAnswer  = 4096 // bytes; the kernel's limit of a command or answer
	headerSize = 10   // tag, size, and response code
	// A TPM that tests itself asks for patience, for some seconds at the most.
	pause       = 20 * time.Millisecond
	maxAttempts = 1500
)

// Response codes that ask for the same command again (TPM 2.0 Library, part
// 2, 6.6.3).
const (
	rcYielded = 0x908
	rcTesting = 0x90a
	rcRetry   = 0x922
)

// connection is an open TPM. It implements go-tpm's transport.TPM.
type connection struct {
	stream
	unbind func() bool
}

type stream interface {
	io.ReadWriteCloser
	SetDeadline(time.Time) error
}

// open opens a TPM for as long as ctx lasts: then what waits for it returns.
func open(ctx context.Context, device string) (*connection, error) {
	s, err := dial(ctx, device)
	if err != nil {
		return nil, fmt.Errorf("TPM at %s: %w", device, reason(err))
	}
	unbind := context.AfterFunc(ctx, func() {
		_ = s.SetDeadline(time.Unix(1, 0)) // an old kernel's TPM device knows no deadline
	})
	return &connection{stream: s, unbind: unbind}, nil
}

func dial(ctx context.Context, device string) (stream, error) {
	network, address, socket := strings.Cut(device, ":")
	if socket && (network == "unix" || network == "tcp") {
		var d net.Dialer
		return d.DialContext(ctx, network, address)
	}
	f, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Mode()&fs.ModeCharDevice == 0 {
		err = errors.New("is no device; a socket is named unix:PATH")
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// reason drops what the caller's error says already, and adds the remedy.
func reason(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		err = p.Err
	}
	if o, ok := errors.AsType[*net.OpError](err); ok {
		err = o.Err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w; enable the host's TPM 2.0, or name another with ?device=", err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w; let user %d at it, as group tss perhaps", err, os.Geteuid())
	case errors.Is(err, syscall.EBUSY):
		return fmt.Errorf("%w; another program holds it, go through the resource manager %s", err, defaultDevice)
	}
	return err
}

// Close closes the TPM.
func (c *connection) Close() error {
	c.unbind()
	return c.stream.Close()
}

// Send implements transport.TPM: it sends a command and returns its answer,
// however often the TPM asks for it again.
func (c *connection) Send(command []byte) ([]byte, error) {
	for range maxAttempts {
		answer, err := c.exchange(command)
		if err != nil {
			return nil, err
		}
		switch binary.BigEndian.Uint32(answer[6:]) {
		case rcRetry, rcTesting, rcYielded:
			<-time.After(pause)
		default:
			return answer, nil
		}
	}
	return nil, errors.New("the TPM asks for the same command again and again; see to its firmware")
}

// exchange writes a command and reads its answer: in one piece from a device,
// in any from a socket.
func (c *connection) exchange(command []byte) ([]byte, error) {
	if _, err := c.Write(command); err != nil {
		return nil, reason(err)
	}
	answer := make([]byte, maxAnswer)
	for n, size := 0, headerSize; ; {
		more, err := c.Read(answer[n:])
		if err != nil {
			return nil, reason(err)
		}
		if n += more; n >= headerSize {
			size = int(binary.BigEndian.Uint32(answer[2:]))
		}
		switch {
		case size < headerSize || size > maxAnswer || n > size:
			return nil, errors.New("what answers is no TPM")
		case n == size:
			return answer[:size], nil
		}
	}
}

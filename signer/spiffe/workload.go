// Package spiffe fetches an X.509-SVID from a SPIFFE Workload API.
package spiffe

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// maxMessage bounds an answer, in bytes, as gRPC itself does by default.
const maxMessage = 4 << 20

// Fetch returns the first SVID that the Workload API at a socket has for this
// process. Address is unix:PATH or unix:///PATH. It blocks until ctx ends.
//
// Source: https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE_Workload_API.md
func Fetch(ctx context.Context, address string) (SVID, error) {
	var svid SVID
	enough := errors.New("one message is enough")
	err := stream(ctx, address, func(message []byte) (err error) {
		if svid, err = parse(message); err == nil {
			err = enough
		}
		return err
	})
	if !errors.Is(err, enough) {
		return SVID{}, fmt.Errorf("SPIFFE Workload API at %s: %w", address, err)
	}
	return svid, nil
}

// Watch calls changed for each SVID that the Workload API pushes, the one in
// force included, one call after another. It returns nil when ctx ends, else
// why the API pushes no more, after a last call of changed.
func Watch(ctx context.Context, address string, changed func()) error {
	err := stream(ctx, address, func([]byte) error { changed(); return nil })
	if ctx.Err() != nil {
		return nil //nolint:nilerr // that it ends with ctx is no error
	}
	changed()
	return fmt.Errorf("SPIFFE Workload API at %s: %w", address, err)
}

// stream calls FetchX509SVID and hands over each message of its answer. The
// call is one request of gRPC over HTTP/2, which net/http speaks: gRPC's own
// library would be a quarter of the program.
func stream(ctx context.Context, address string, message func([]byte) error) error {
	path, err := socket(address)
	if err != nil {
		return err
	}
	t := &http.Transport{
		Protocols: new(http.Protocols),
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		},
	}
	t.Protocols.SetUnencryptedHTTP2(true)
	defer t.CloseIdleConnections()

	nothing := bytes.NewReader(make([]byte, 5)) // an empty message: not compressed, no bytes
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://localhost/SpiffeWorkloadAPI/FetchX509SVID", nothing)
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/grpc")
	r.Header.Set("TE", "trailers")
	r.Header.Set("Workload.spiffe.io", "true") // the API refuses what was not meant for it
	answer, err := t.RoundTrip(r)
	if err != nil {
		return reason(ctx, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK || !strings.HasPrefix(answer.Header.Get("Content-Type"), "application/grpc") {
		return fmt.Errorf("answers %s, not gRPC; name the Workload API's socket", answer.Status)
	}
	for body := bufio.NewReader(answer.Body); ; {
		m, err := next(body)
		if errors.Is(err, io.EOF) {
			return status(answer)
		}
		if err != nil {
			return reason(ctx, err)
		}
		if err := message(m); err != nil {
			return err
		}
	}
}

// socket takes the path out of an address.
func socket(address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "unix" || u.Host != "" || u.Path+u.Opaque == "" {
		return "", errors.New("is not the address of a socket; write unix: and its path")
	}
	return u.Path + u.Opaque, nil
}

// next reads one message: a byte, zero for not compressed, its length in four
// bytes, and the message.
func next(r io.Reader) ([]byte, error) {
	var prefix [5]byte
	if _, err := io.ReadFull(r, prefix[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(prefix[1:])
	if prefix[0] != 0 || size > maxMessage {
		return nil, fmt.Errorf("its message is compressed or larger than %d bytes", maxMessage)
	}
	message := make([]byte, size)
	_, err := io.ReadFull(r, message)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return message, err
}

// status tells why the answer ended: gRPC's code and text stand in the
// trailers, or in the headers when nothing came before them.
func status(answer *http.Response) error {
	from := answer.Trailer
	if from.Get("Grpc-Status") == "" {
		from = answer.Header
	}
	code, err := strconv.Atoi(from.Get("Grpc-Status"))
	text, terr := url.PathUnescape(from.Get("Grpc-Message"))
	if err != nil || terr != nil {
		return errors.New("its answer broke off")
	}
	const permissionDenied, unavailable = 7, 14
	switch code {
	case 0:
		return errors.New("it ended the stream")
	case permissionDenied:
		return fmt.Errorf("%q; register an entry for this process, of user %d, with the SPIFFE server", text, os.Geteuid())
	case unavailable:
		return fmt.Errorf("not available: %q", text)
	}
	return fmt.Errorf("%q (gRPC status %d)", text, code)
}

// reason drops what the error says of the request, and adds the remedy.
func reason(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("no answer (%w)", cause)
	}
	if o, ok := errors.AsType[*net.OpError](err); ok {
		err = o.Err
	}
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w; start the SPIFFE agent, or correct the path", err)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%w; let user %d at the socket", err, os.Geteuid())
	}
	return err
}

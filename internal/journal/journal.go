// Package journal writes log records to systemd's journal, with their priorities and fields.
package journal

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Socket is where systemd's journal listens.
const Socket = "/run/systemd/journal/socket"

// Connected reports whether a file, which is this process's stderr, leads to
// the journal: systemd gives its device and inode as stream (JOURNAL_STREAM,
// systemd.exec(5)).
func Connected(stderr uintptr, stream string) bool {
	var st unix.Stat_t
	if unix.Fstat(int(stderr), &st) != nil {
		return false
	}
	return stream == fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}

// Handler is a slog.Handler that sends each record as one entry: MESSAGE is
// the message with its attributes, as a person reads it, and each attribute is
// a field as well, OUTRIDER_APP for app. What the journal does not take goes to
// the fallback.
//
// Source: https://systemd.io/JOURNAL_NATIVE_PROTOCOL
type Handler struct {
	level    slog.Leveler
	fallback io.Writer
	to       *connection
	with     []slog.Attr
}

// connection is shared by a handler and those made from it.
type connection struct {
	mu   sync.Mutex
	path string
	c    *net.UnixConn
}

// New returns a Handler that sends to the socket. It connects with the first
// record.
func New(socket string, level slog.Leveler, fallback io.Writer) *Handler {
	return &Handler{level: level, fallback: fallback, to: &connection{path: socket}}
}

// Enabled implements slog.Handler.
func (h *Handler) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level.Level() }

// WithAttrs implements slog.Handler.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	clone := *h
	clone.with = append(slices.Clip(h.with), attrs...)
	return &clone
}

// WithGroup implements slog.Handler. Nothing here logs groups: their keys
// stand as they are.
func (h *Handler) WithGroup(string) slog.Handler { return h }

// Handle implements slog.Handler. It blocks while the journal's queue is full.
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	attrs := slices.Clip(h.with)
	r.Attrs(func(a slog.Attr) bool {
		attrs = append(attrs, a)
		return true
	})
	var entry bytes.Buffer
	add(&entry, "MESSAGE", sentence(ctx, r, attrs))
	add(&entry, "PRIORITY", priority(r.Level))
	add(&entry, "SYSLOG_IDENTIFIER", "outrider")
	for _, a := range attrs {
		add(&entry, field(a.Key), a.Value.Resolve().String())
	}
	if h.to.send(entry.Bytes()) == nil {
		return nil
	}
	plain := slog.NewTextHandler(h.fallback, &slog.HandlerOptions{Level: h.level})
	return plain.WithAttrs(h.with).Handle(ctx, r)
}

// send sends one entry, on a new connection when the journal was restarted.
func (c *connection) send(entry []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for fresh := false; ; fresh = true {
		if c.c == nil {
			dialled, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: c.path, Net: "unixgram"})
			if err != nil {
				return err
			}
			c.c, fresh = dialled, true
		}
		_, err := c.c.Write(entry)
		if err == nil {
			return nil
		}
		_ = c.c.Close()
		c.c = nil
		if fresh {
			return err
		}
	}
}

// sentence is the message and its attributes as slog writes them as text.
func sentence(ctx context.Context, r slog.Record, attrs []slog.Attr) string {
	var text bytes.Buffer
	rest := slog.NewRecord(time.Unix(1, 0), r.Level, r.Message, 0)
	rest.AddAttrs(attrs...)
	own := 0 // time, level and message come first
	handler := slog.NewTextHandler(&text, &slog.HandlerOptions{Level: r.Level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if own++; own <= 3 {
			return slog.Attr{}
		}
		return a
	}})
	_ = handler.Handle(ctx, rest) // a buffer takes everything
	return strings.TrimSpace(r.Message + " " + text.String())
}

// add adds a field. A value of several lines follows its length.
func add(entry *bytes.Buffer, name, value string) {
	entry.WriteString(name)
	if !strings.Contains(value, "\n") {
		entry.WriteString("=" + value + "\n")
		return
	}
	var length [8]byte
	binary.LittleEndian.PutUint64(length[:], uint64(len(value)))
	entry.WriteString("\n" + string(length[:]) + value + "\n")
}

// field makes a field's name of a key: the journal takes capitals, digits and
// underscores.
func field(key string) string {
	return "OUTRIDER_" + strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z':
			return c - 'a' + 'A'
		case c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
			return c
		}
		return '_'
	}, key)
}

// priority returns what syslog(3) calls a level.
func priority(level slog.Level) string {
	switch {
	case level >= slog.LevelError:
		return "3"
	case level >= slog.LevelWarn:
		return "4"
	case level >= slog.LevelInfo:
		return "6"
	}
	return "7"
}

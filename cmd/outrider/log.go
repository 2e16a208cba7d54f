package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"

	"golang.org/x/sys/unix"

	"outrider/internal/config"
	"outrider/internal/journal"
)

// logger writes to stderr: text for a person at a terminal, JSON for a
// collector. Where stderr is systemd's journal, that gets the fields by
// themselves.
func (o *options) logger(c config.Log) (*slog.Logger, error) {
	word := first(o.logLevel, c.Level, "info")
	var level slog.Level
	if err := level.UnmarshalText([]byte(word)); err != nil {
		return nil, usageError{fmt.Errorf("log level %q: debug, info, warn or error", word)}
	}
	if o.quiet && o.logLevel == "" {
		return slog.New(slog.DiscardHandler), nil
	}
	settings := &slog.HandlerOptions{Level: level}
	if c.Format == "text" || c.Format != "json" && terminal(o.err) {
		return slog.New(slog.NewTextHandler(o.err, settings)), nil
	}
	if f, ok := o.err.(*os.File); ok && c.Format != "json" && journal.Connected(f.Fd(), o.getenv("JOURNAL_STREAM")) {
		return slog.New(journal.New(journal.Socket, level, o.err)), nil
	}
	return slog.New(slog.NewJSONHandler(o.err, settings)), nil
}

func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// listen stands in for the journal.
func listen(t *testing.T, path string) *net.UnixConn {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

// entry reads one entry, by the letter of the protocol.
func entry(t *testing.T, c *net.UnixConn) map[string]string {
	t.Helper()
	b := make([]byte, 1<<16)
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]string{}
	for b = b[:n]; len(b) > 0; {
		line, rest, ok := bytes.Cut(b, []byte("\n"))
		if !ok {
			t.Fatalf("the entry ends within a line: %q", b)
		}
		name, value, plain := bytes.Cut(line, []byte("="))
		if !plain {
			size := binary.LittleEndian.Uint64(rest)
			value, rest = rest[8:8+size], rest[8+size:]
			if rest[0] != '\n' {
				t.Fatalf("no end of line after a value: %q", rest)
			}
			rest = rest[1:]
		}
		if strings.Trim(string(name), "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" {
			t.Errorf("the journal drops a field of the name %q", name)
		}
		fields[string(name)], b = string(value), rest
	}
	return fields
}

func TestARecordIsAnEntry(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	journal := listen(t, path)
	defer journal.Close()
	log := slog.New(New(path, slog.LevelInfo, nil))
	log.Debug("not logged")
	log.With("app", "billing").Error("app failing", "error", errors.New("one\ntwo=2"), "odd.key", true) //nolint:sloglint // what the journal would not take
	log.Warn("clock off", "aws_ahead_by", 3*time.Second)
	log.Info("ready")
	for _, want := range []map[string]string{
		{
			"MESSAGE": `app failing app=billing error="one\ntwo=2" odd.key=true`, "PRIORITY": "3", "SYSLOG_IDENTIFIER": "outrider",
			"OUTRIDER_APP": "billing", "OUTRIDER_ERROR": "one\ntwo=2", "OUTRIDER_ODD_KEY": "true",
		},
		{"MESSAGE": "clock off aws_ahead_by=3s", "PRIORITY": "4", "SYSLOG_IDENTIFIER": "outrider", "OUTRIDER_AWS_AHEAD_BY": "3s"},
		{"MESSAGE": "ready", "PRIORITY": "6", "SYSLOG_IDENTIFIER": "outrider"},
	} {
		if diff := cmp.Diff(entry(t, journal), want); diff != "" {
			t.Errorf("got -, want +:\n%s", diff)
		}
	}
}

func TestAJournalThatWasRestartedGetsTheNextRecord(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	first := listen(t, path)
	var rest bytes.Buffer
	log := slog.New(New(path, slog.LevelInfo, &rest))
	log.Info("one")
	entry(t, first)
	first.Close()
	log.Info("two", "app", "billing")
	if got := rest.String(); !strings.Contains(got, `msg=two app=billing`) {
		t.Errorf("without a journal got %q, want it as text", got)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	second := listen(t, path)
	defer second.Close()
	log.Info("three")
	if got := entry(t, second)["MESSAGE"]; got != "three" {
		t.Errorf("got %q, want three", got)
	}
}

func TestConnected(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		t.Fatal("no inode")
	}
	mine := fmt.Sprintf("%d:%d", st.Dev, st.Ino)
	for stream, want := range map[string]bool{mine: true, "": false, mine + "0": false, "1": false} {
		if got := Connected(file.Fd(), stream); got != want {
			t.Errorf("stream %q: got %v, want %v", stream, got, want)
		}
	}
}

// FuzzEntry logs texts from outside. They stand in the fields they were given
// for, and make no others.
func FuzzEntry(f *testing.F) {
	f.Add("billing", "AccessDenied")
	f.Add("a\nPRIORITY=0\n", "\n\x05\x00\x00\x00\x00\x00\x00\x00MESSAGE=x")
	f.Add("", "\xff=\r\n")
	path := filepath.Join(f.TempDir(), "s")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = c.Close() })
	log := slog.New(New(path, slog.LevelInfo, nil))
	f.Fuzz(func(t *testing.T, app, cause string) {
		if len(app)+len(cause) > 10_000 {
			return // in one datagram, with room for the message
		}
		log.Error("app failing", "app", app, "error", errors.New(cause))
		got := entry(t, c)
		if message := got["MESSAGE"]; !strings.HasPrefix(message, "app failing app=") || strings.Contains(message, "\n") {
			t.Errorf("the message is %q, want one line", message)
		}
		delete(got, "MESSAGE")
		want := map[string]string{"PRIORITY": "3", "SYSLOG_IDENTIFIER": "outrider", "OUTRIDER_APP": app, "OUTRIDER_ERROR": cause}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("fields (-got +want):\n%s", diff)
		}
	})
}

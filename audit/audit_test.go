package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestAnEntryIsALine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	uid := uint32(0)
	l := &Log{Path: path}
	at := time.Date(2026, 1, 2, 3, 4, 5, 6789e5, time.FixedZone("", 3600))
	l.Note(Entry{Time: at, Event: Delivered, App: "billing", Generation: 4, File: "/etc/a", Secrets: map[string]Secret{"db": {"prod/db", "v1"}}})
	l.Note(Entry{Time: at, Event: Session, Role: "billing", AccessKeyID: "ASIA", UID: &uid})
	want := `{"time":"2026-01-02T02:04:05.679Z","event":"delivered","app":"billing","generation":4,"file":"/etc/a","secrets":{"db":{"id":"prod/db","version":"v1"}}}
{"time":"2026-01-02T02:04:05.679Z","event":"session","role":"billing","access_key_id":"ASIA","uid":0}
`
	if got := read(t, path); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v; want mode 0600", info.Mode(), err)
	}
}

func TestTheFileMayBeRenamedAtAnyTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	l := &Log{Path: path}
	l.Note(Entry{Event: Delivered, App: "before"})
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	l.Note(Entry{Event: Delivered, App: "after"})
	if got := read(t, path+".1") + read(t, path); !strings.Contains(read(t, path), "after") || strings.Count(got, "\n") != 2 {
		t.Errorf("got %q over both files, want a line in each", got)
	}
}

func TestLinesOfManyStayWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	l := &Log{Path: path}
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() { l.Note(Entry{Event: Delivered, App: strings.Repeat("x", 5000)}) })
	}
	group.Wait()
	for line := range strings.Lines(read(t, path)) {
		if !strings.HasPrefix(line, `{"time":`) || !strings.HasSuffix(line, "x\"}\n") {
			t.Fatalf("half a line: %.40q", line)
		}
	}
}

func TestAFullDiskLeavesNoHalfLine(t *testing.T) {
	dir := t.TempDir()
	switch err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); {
	case errors.Is(err, syscall.EPERM) && os.Getenv("CI") != "true":
		t.Skip("it takes a mount, which is not allowed here")
	case err != nil:
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	path, ballast := filepath.Join(dir, "audit.log"), filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 16<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	l := &Log{Path: path, Log: slog.New(slog.NewTextHandler(&log, nil))}
	for i := 0; log.Len() == 0 && i < 100; i++ {
		l.Note(Entry{Event: Delivered, App: strings.Repeat("x", 3000)})
	}
	if got := log.String(); !strings.Contains(got, "free space or inodes on the file system of "+dir) {
		t.Errorf("the log has %q, want the remedy", got)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	l.Note(Entry{Event: Delivered, App: "after"})
	text := read(t, path)
	for line := range strings.Lines(text) {
		if !json.Valid([]byte(line)) {
			t.Fatalf("half a line: %.40q", line)
		}
	}
	if !strings.HasSuffix(text, "\"app\":\"after\"}\n") {
		t.Errorf("the last line is not what was noted after that")
	}
}

func TestWhatCannotBeWrittenIsToldOnce(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(fifo, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(dir, "elsewhere"), link); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "none", "audit.log"): "create the folder",
		fifo:                                    "is not a file",
		link:                                    "too many levels of symbolic links",
	} {
		var log bytes.Buffer
		l := &Log{Path: path, Log: slog.New(slog.NewTextHandler(&log, nil))}
		l.Note(Entry{Event: Delivered})
		l.Note(Entry{Event: Delivered})
		if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, want) {
			t.Errorf("%s: the log has %q, want one line with %q", path, got, want)
		}
	}
}

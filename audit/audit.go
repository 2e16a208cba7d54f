// Package audit notes which version of which secret went where, as lines of JSON.
package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"outrider/internal/remedy"
)

// Event says what happened.
type Event string

// The events: a file was given its content; a crash was recovered from, and so
// files were; a generation was taken back, and the files are those of another;
// the files were taken away; systemd was given a credential for a unit; a
// session was handed out.
const (
	Delivered  Event = "delivered"
	Recovered  Event = "recovered"
	RolledBack Event = "rolled_back"
	Withdrawn  Event = "withdrawn"
	Credential Event = "credential"
	Session    Event = "session"
)

// Entry is one line. No field holds a value.
type Entry struct {
	Time        time.Time         `json:"time"`
	Event       Event             `json:"event"`
	App         string            `json:"app,omitempty"`
	Generation  uint64            `json:"generation,omitempty"`
	File        string            `json:"file,omitempty"`
	Unit        string            `json:"unit,omitempty"`
	Credential  string            `json:"credential,omitempty"` // its name
	Role        string            `json:"role,omitempty"`
	AccessKeyID string            `json:"access_key_id,omitempty"`
	UID         *uint32           `json:"uid,omitempty"`     // who asked, where the kernel can tell
	Secrets     map[string]Secret `json:"secrets,omitempty"` // by the app's name for it
}

// Secret is a version of one.
type Secret struct {
	ID      string `json:"id"`
	Version string `json:"version"`
}

// Log is a file of entries. A nil Log notes nothing.
type Log struct {
	Path string
	Log  *slog.Logger // is told when the file cannot be written

	mu  sync.Mutex
	was string // why the last entry is missing; empty: it is not
}

// Note adds an entry. A zero Time is now. The file is opened for each, so that
// it may be renamed at any time and nobody has to be told; it is made with mode
// 0600. What cannot be written is lost, and the log says so: no application
// waits for its secrets because a disk is full.
func (l *Log) Note(e Entry) {
	if l == nil {
		return
	}
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	e.Time = e.Time.UTC().Round(time.Millisecond)
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.write(e)
	why := ""
	if err != nil {
		why = err.Error()
	}
	if why != "" && why != l.was {
		l.Log.Error("audit log not written", "error", err)
	}
	l.was = why
}

// write adds a line by one system call, so that no reader sees half of it. What
// a full disk takes of one is cut off again: the next must not stand behind it.
// It waits for nobody to read, as a fifo would make it.
func (l *Log) write(e Entry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(l.Path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return remedied(err, filepath.Dir(l.Path))
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return errors.Join(err, fmt.Errorf("%s is not a file; remove it or change audit.path", l.Path))
	}
	n, err := file.Write(append(line, '\n'))
	if err != nil && n > 0 {
		_ = file.Truncate(info.Size())
	}
	return remedied(err, filepath.Dir(l.Path))
}

// remedied says what would mend it, where the cause tells.
func remedied(err error, folder string) error {
	mend := remedy.Disk(err, folder)
	if errors.Is(err, fs.ErrNotExist) {
		mend = "create the folder " + folder + " for outrider's user"
	}
	if mend == "" {
		return err
	}
	return fmt.Errorf("%w; %s", err, mend)
}

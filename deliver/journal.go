package deliver

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// record is one line of a journal: something that was decided or happened.
type record struct {
	Kind       kind      `json:"kind"`
	At         time.Time `json:"at"`
	Generation uint64    `json:"generation,omitempty"`
	Intent     *intent   `json:"intent,omitempty"`
	Target     int       `json:"target,omitempty"`  // told: which of those owed
	Outcome    Outcome   `json:"outcome,omitempty"` // told
	Owed       []string  `json:"owed,omitempty"`    // owed
	Torn       bool      `json:"torn,omitempty"`    // failed: some files are new already
	Reason     string    `json:"reason,omitempty"`  // failed, kept, withdrawn
	Standing   *standing `json:"standing,omitempty"`
}

// kind says what a record tells.
type kind string

// The kinds. Only an intent must be on disk before we go on; to lose any
// other means at most to find out again, or to tell twice.
const (
	intended   kind = "intended"   // every new file is staged, and now each is moved
	committed  kind = "committed"  // all are where they belong
	failed     kind = "failed"     // it did not take place, or only in part
	told       kind = "told"       // one target knows
	owed       kind = "owed"       // the targets have changed, and these are owed the generation
	confirmed  kind = "confirmed"  // the application runs on it
	kept       kind = "kept"       // it does not, and there is no way back
	retried    kind = "retried"    // what was set aside may be tried again
	withdrawn  kind = "withdrawn"  // the files are not there any more, or on their way out
	checkpoint kind = "checkpoint" // the sum of all before it
)

// intent is a generation about to be committed: all that is needed to finish
// it without AWS, and no value.
type intent struct {
	Versions Versions      `json:"versions,omitempty"`
	Files    []fileRecord  `json:"files,omitempty"`
	Folder   *folderRecord `json:"folder,omitempty"` // layout: directory
	Owed     []string      `json:"owed,omitempty"`
	Confirm  bool          `json:"confirm,omitempty"`
	Undoes   uint64        `json:"undoes,omitempty"` // a roll-back of that generation
	Reason   string        `json:"reason,omitempty"` // why it is undone
}

// fileRecord is one file of a generation.
type fileRecord struct {
	Destination string  `json:"destination"`
	Digest      string  `json:"digest"`
	Staged      string  `json:"staged,omitempty"` // path; empty: it did not change
	Symlink     Symlink `json:"symlink,omitempty"`
	InPlace     bool    `json:"in_place,omitempty"`
	UID         int     `json:"uid"`
	GID         int     `json:"gid"`
	Mode        uint32  `json:"mode"`
	Previous    string  `json:"previous,omitempty"` // path of what it replaces, when that is kept
	Old         string  `json:"old,omitempty"`      // digest of what is rewritten in place
}

// folderRecord is the exchange of one folder.
type folderRecord struct {
	Path     string `json:"path"`               // the link
	Next     string `json:"next"`               // the new generation's folder, by name
	Previous string `json:"previous,omitempty"` // the one it replaces; empty: none
}

// journal is a file of records that is only ever added to.
type journal struct {
	file *os.File
	size int64 // up to the end of the last whole record
	pure int64 // the size after it was last compacted
	lost error // why nothing can be added, until it is opened again
}

// add writes a record behind the last one. After an error the journal tells
// what it told before.
func (j *journal) add(r record) error {
	if j.lost != nil {
		return j.lost
	}
	line, err := r.encode()
	if err != nil {
		return err
	}
	if _, err = j.file.WriteAt(line, j.size); err != nil {
		// What has arrived of it is no line, and the next record is written over
		// it. A disk that takes nothing at the moment may not even cut it off.
		_ = j.file.Truncate(j.size)
		return err
	}
	j.size += int64(len(line))
	return nil
}

// sync makes the records durable. It may be called while others are added.
func (j *journal) sync() error {
	err := unix.Fdatasync(int(j.file.Fd()))
	return inFolder(err, "sync journal "+j.file.Name(), filepath.Dir(j.file.Name()))
}

// alone reports whether the intent is about one file that one rename moves, so
// that the generation is there or not, and never in part.
func (i *intent) alone() bool {
	staged := 0
	for _, f := range i.Files {
		if f.Staged != "" {
			staged++
		}
		if f.InPlace {
			return false
		}
	}
	return staged == 1 && i.Folder == nil && !i.Confirm
}

// encode returns the record's line: a checksum, the record in JSON, a newline.
func (r record) encode() ([]byte, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "%08x %s\n", crc32.ChecksumIEEE(text), text), nil
}

// decodeRecord is the inverse of encode, for a line without its newline.
func decodeRecord(line []byte) (record, error) {
	var r record
	sum, text, found := bytes.Cut(line, []byte(" "))
	if !found {
		return r, errors.New("no checksum")
	}
	want, err := strconv.ParseUint(string(sum), 16, 32)
	if err != nil || uint32(want) != crc32.ChecksumIEEE(text) {
		return r, errors.New("wrong checksum")
	}
	return r, json.Unmarshal(text, &r)
}

// decodeJournal returns the records up to the first one that is not whole,
// and where they end. What follows was not durable when the power was lost,
// and may be there in part, and without what came before it. Only if an intent
// among it has a record behind it, that intent was durable, with all before
// it: then the journal is damaged.
func decodeJournal(text []byte) (records []record, end int64, damaged bool) {
	whole, sawIntent := true, false
	for {
		line, rest, found := bytes.Cut(text, []byte("\n"))
		if !found {
			return records, end, damaged
		}
		r, err := decodeRecord(line)
		if whole = whole && err == nil; !whole { // space may have been made for what stood before it, and no more
			r, err = decodeRecord(line[bytes.LastIndexByte(line, 0)+1:])
		}
		switch {
		case whole:
			records = append(records, r)
			end += int64(len(line)) + 1
		case err == nil:
			damaged = damaged || sawIntent
			sawIntent = sawIntent || r.Kind == intended
		}
		text = rest
	}
}

// openJournal opens or makes an app's journal and returns what it tells.
func (s *State) openJournal(name string) (journal, []record, bool, error) {
	fd, err := openat(int(s.dir.Fd()), name, unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return journal{}, nil, false, err
	}
	j := journal{file: os.NewFile(uintptr(fd), s.path(name))}
	text, err := io.ReadAll(j.file)
	records, end, damaged := decodeJournal(text)
	j.size = end
	if err == nil && end < int64(len(text)) {
		err = j.file.Truncate(end)
	}
	if err == nil && end == 0 {
		err = s.syncNames() // it may be new
	}
	if err != nil {
		return journal{}, nil, false, errors.Join(err, j.file.Close())
	}
	return j, records, damaged, nil
}

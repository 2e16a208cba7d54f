package deliver

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Inspect reports what would keep Stage from delivering the files, as far as
// it can be told without writing and without their contents: paths, links,
// folders that are missing or not writable. The error joins one *FileError
// for each file.
func Inspect(files []File) error {
	w := newWalker()
	defer w.close()
	s := &Staged{files: files}
	defer s.close()
	rooms := make(map[inode]*room)
	var errs []error
	for _, f := range files {
		c, err := s.place(w, rooms, f)
		if err == nil {
			err = s.mayWrite(c)
		}
		if err != nil {
			errs = append(errs, &FileError{f.Destination, err})
		}
	}
	return errors.Join(errs...)
}

// mayWrite reports whether a file could be staged and moved.
func (s *Staged) mayWrite(c *change) error {
	folder := c.room.folder
	if s.flip != nil {
		folder = s.flip.folder
	}
	err := unix.Faccessat(int(folder.Fd()), ".", unix.W_OK|unix.X_OK, unix.AT_EACCESS)
	return inFolder(err, fmt.Sprintf("write in folder %s as uid %d", folder.Name(), os.Geteuid()), folder.Name())
}

// Preview is what would become of one file.
type Preview struct {
	Destination string
	Effect      Effect
	Hunks       []Hunk // of Changes and Creates: where
	Err         error  // why it would fail; the effect is Fails then
}

// Effect is what a commit would do to a file.
type Effect string

// The effects.
const (
	Unchanged Effect = "unchanged"
	Repairs   Effect = "owner or mode repaired"
	Changes   Effect = "changed"
	Creates   Effect = "created"
	Fails     Effect = "fails"
)

// Hunk is a run of lines that give way to others. Lines count from 1; of none,
// the number is that of the line before.
type Hunk struct {
	Old, OldLines int
	New, NewLines int
}

// PreviewFiles tells, file by file, what Stage and Commit would do to an app
// whose journal is in a state folder. It writes nothing, and may be used
// beside a running sidecar.
func PreviewFiles(dir, app string, files []File) ([]Preview, error) {
	records, err := readJournal(dir, app)
	if err != nil {
		return nil, err
	}
	var now standing
	for _, r := range records {
		now.apply(r)
	}
	w := newWalker()
	defer w.close()
	s := &Staged{app: app, files: files}
	defer s.close()
	rooms := make(map[inode]*room)
	previews := make([]Preview, len(files))
	for i, f := range files {
		previews[i] = s.preview(w, rooms, f)
	}
	if s.flip != nil && len(s.changes) > 0 {
		if err := s.flip.whole(now); err != nil {
			for i, f := range files {
				previews[i] = Preview{Destination: f.Destination, Effect: Fails, Err: &FileError{f.Destination, err}}
			}
		}
	}
	return previews, nil
}

func (s *Staged) preview(w *walker, rooms map[inode]*room, f File) Preview {
	changes, drifts := len(s.changes), len(s.drifts)
	p := Preview{Destination: f.Destination, Effect: Unchanged}
	p.Err = s.look(w, rooms, f)
	switch {
	case p.Err != nil:
	case len(s.changes) > changes:
		c := s.changes[changes]
		if p.Effect = Changes; c.old == nil {
			p.Effect = Creates
		}
		p.Err = s.mayWrite(c)
		if p.Err == nil {
			p.Hunks, p.Err = c.hunks()
		}
	case len(s.drifts) > drifts:
		p.Effect = Repairs
	}
	if p.Err != nil {
		p.Effect, p.Err = Fails, &FileError{f.Destination, p.Err}
	}
	return p
}

// hunks compares the file that stands there, if any, with its new content.
func (c *change) hunks() ([]Hunk, error) {
	var old []byte
	if c.old != nil {
		file, err := openIn(c.room.folder, c.name)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		if old, err = io.ReadAll(file); err != nil {
			return nil, err
		}
	}
	return compareLines(lines(old), lines(c.file.Content.Reveal())), nil
}

// lines splits a text behind each newline.
func lines(text []byte) []string { return slices.Collect(strings.Lines(string(text))) }

// compareLines returns where a and b differ, with the fewest lines. If very
// many differ, they are all in one hunk.
func compareLines(a, b []string) []Hunk {
	const limit = 1 << 20
	start := 0
	for start < min(len(a), len(b)) && a[start] == b[start] {
		start++
	}
	end := 0
	for end < min(len(a), len(b))-start && a[len(a)-1-end] == b[len(b)-1-end] {
		end++
	}
	a, b = a[start:len(a)-end], b[start:len(b)-end]
	if len(a)*len(b) > limit {
		return []Hunk{newHunk(start, len(a), start, len(b))}
	}
	common := commonLines(a, b)
	var hunks []Hunk
	for i, j := 0, 0; i < len(a) || j < len(b); {
		if i < len(a) && j < len(b) && a[i] == b[j] {
			i, j = i+1, j+1
			continue
		}
		fromA, fromB := i, j
		for i < len(a) || j < len(b) {
			if i < len(a) && j < len(b) && a[i] == b[j] {
				break
			}
			if j == len(b) || i < len(a) && common[i+1][j] >= common[i][j+1] {
				i++
			} else {
				j++
			}
		}
		hunks = append(hunks, newHunk(start+fromA, i-fromA, start+fromB, j-fromB))
	}
	return hunks
}

// commonLines returns, for each pair of places, how many lines what follows
// them has in common.
func commonLines(a, b []string) [][]int32 {
	common := make([][]int32, len(a)+1)
	for i := range common {
		common[i] = make([]int32, len(b)+1)
	}
	for i, v := range slices.Backward(a) {
		for j := len(b) - 1; j >= 0; j-- {
			common[i][j] = max(common[i+1][j], common[i][j+1])
			if v == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			}
		}
	}
	return common
}

// newHunk makes a hunk of places that count from 0.
func newHunk(a, lenA, b, lenB int) Hunk {
	return Hunk{Old: a + min(1, lenA), OldLines: lenA, New: b + min(1, lenB), NewLines: lenB}
}

package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// move is a label's move, and when it was seen to have come through.
type move struct {
	folder string // of the app
	began  time.Time
	files  map[string]bool // that hold the new value
	filed  time.Time       // when the last of them did; zero: not yet
	told   time.Time       // when the app's program had read it; zero: not yet
}

// sight watches the folders of apps, and what their programs say.
type sight struct {
	folders map[int32]string // by inotify's number
	changes *os.File         // inotify's events
	heard   *os.File         // what the programs say
	said    *os.File         // where they say it
	done    sync.WaitGroup

	mu      sync.Mutex
	there   map[string]bool  // programs, by the names of their folders
	moves   map[string]*move // by the digest of the new password
	notices int              // how often programs were told
	errs    []error
}

// newSight watches until close.
func newSight(folders []string) (*sight, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("inotify: %w", err)
	}
	s := &sight{
		folders: map[int32]string{}, changes: os.NewFile(uintptr(fd), "inotify"),
		there: map[string]bool{}, moves: map[string]*move{},
	}
	for _, folder := range folders {
		watch, err := unix.InotifyAddWatch(fd, folder, unix.IN_MOVED_TO)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("inotify %s: %w", folder, err), s.changes.Close())
		}
		s.folders[int32(watch)] = folder
	}
	if s.heard, s.said, err = os.Pipe(); err != nil {
		return nil, errors.Join(err, s.changes.Close())
	}
	s.done.Go(s.watch)
	s.done.Go(s.listen)
	return s, nil
}

// close ends the watch, after the programs have ended.
func (s *sight) close() error {
	err := errors.Join(s.said.Close(), s.changes.Close())
	s.done.Wait()
	return errors.Join(err, s.heard.Close(), errors.Join(s.errs...))
}

// watch reads every file that is renamed into a folder.
func (s *sight) watch() {
	events := make([]byte, 64<<10)
	for {
		n, err := s.changes.Read(events)
		if err != nil {
			s.note(err)
			return
		}
		at := time.Now()
		for b := events[:n]; len(b) >= unix.SizeofInotifyEvent; {
			folder := s.folders[int32(binary.NativeEndian.Uint32(b))]
			size := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(b[12:]))
			name := strings.TrimRight(string(b[unix.SizeofInotifyEvent:size]), "\x00")
			b = b[size:]
			digests, err := passwords(filepath.Join(folder, name))
			s.note(err)
			s.filed(folder, name, digests, at)
		}
	}
}

// note keeps an error, but for that of having been closed.
func (s *sight) note(err error) {
	if err == nil || errors.Is(err, os.ErrClosed) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.errs = append(s.errs, err)
}

func (s *sight) filed(folder, name string, digests []string, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range digests {
		m := s.moves[d]
		if m == nil || m.folder != folder || m.files[name] {
			continue
		}
		if m.files[name] = true; len(m.files) == each {
			m.filed = at
		}
	}
}

// listen reads what programs say until all have ended.
func (s *sight) listen() {
	for lines := bufio.NewScanner(s.heard); lines.Scan(); {
		at, words := time.Now(), strings.Fields(lines.Text())
		s.mu.Lock()
		if s.there[words[0]] {
			s.notices++
		}
		s.there[words[0]] = true
		for _, d := range words[1:] {
			if m := s.moves[d]; m != nil && m.told.IsZero() && filepath.Base(m.folder) == words[0] {
				m.told = at
			}
		}
		s.mu.Unlock()
	}
}

// expect returns the move of a secret to a value, which begins now.
func (s *sight) expect(folder string, v value) *move {
	m := &move{folder: folder, began: time.Now(), files: map[string]bool{}}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.moves[digest([]byte(v.Password))[:12]] = m
	return m
}

// count returns how often programs were told so far.
func (s *sight) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.notices
}

// awaitPrograms blocks until every folder's program is there.
func (s *sight) awaitPrograms(ctx context.Context) error {
	return s.until(ctx, patience, func() string {
		if n := len(s.folders) - len(s.there); n > 0 {
			return fmt.Sprintf("%d programs are not there", n)
		}
		return ""
	})
}

// await blocks until the moves have come through to files and programs.
func (s *sight) await(ctx context.Context, moves []*move, limit time.Duration) error {
	return s.until(ctx, limit, func() string {
		files, programs := 0, 0
		late := map[string]bool{}
		for _, m := range moves {
			if m.filed.IsZero() {
				files++
			}
			if m.told.IsZero() {
				programs++
				late[filepath.Base(m.folder)] = true
			}
		}
		if files+programs == 0 {
			return ""
		}
		return fmt.Sprintf("of %d moves %d have not come to the files, %d not to the programs: %v",
			len(moves), files, programs, slices.Sorted(maps.Keys(late)))
	})
}

// until blocks until nothing is missing, under the lock.
func (s *sight) until(ctx context.Context, limit time.Duration, missing func() string) error {
	for deadline := time.Now().Add(limit); ; {
		s.mu.Lock()
		what, err := missing(), errors.Join(s.errs...)
		s.mu.Unlock()
		switch {
		case err != nil || what == "":
			return err
		case time.Now().After(deadline):
			return fmt.Errorf("not within %v: %s", limit, what)
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

// times returns how long after the label moved the files, and the programs,
// had the new value.
func (s *sight) times(moves []*move) (filed, told sample) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range moves {
		filed, told = append(filed, m.filed.Sub(m.began)), append(told, m.told.Sub(m.began))
	}
	return filed, told
}

// Package watch tells when any of a set of files may have changed.
package watch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// quiet is how long nothing may happen before the files are looked at, so
	// that a renewal of several files is told once; patience bounds the wait.
	quiet    = 100 * time.Millisecond
	patience = time.Second
	// defaultRecheck serves file systems that send no events; blindRecheck
	// stands in for events that the kernel refuses, and for those that it has
	// none for: a file system that is mounted where a file is missed.
	defaultRecheck = 30 * time.Second
	blindRecheck   = time.Second
)

// Watch is a set of files and how they are watched.
type Watch struct {
	Paths   []string      // files that exist or may come to exist, behind links or not
	Recheck time.Duration // how often they are looked at without an event; 0: 30s
	Log     *slog.Logger  // nil: nothing is logged
}

// Run calls changed once when it has begun to watch, so that nothing between
// an earlier reading and now is missed, and then each time a file or what a
// path leads to has changed, come or gone. Calls come one after another, from
// Run. It watches every folder that the paths lead through, links included.
// While the kernel grants no watches, which it says once, or a path leads nowhere,
// it looks every second.
// It returns nil when ctx ends, else only when a path cannot be made absolute.
func (w *Watch) Run(ctx context.Context, changed func()) error {
	r := run{log: w.Log, watcher: &fsnotify.Watcher{}}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	for _, p := range w.Paths {
		abs, err := filepath.Abs(p)
		if err != nil {
			return err
		}
		r.paths = append(r.paths, abs)
	}
	defer r.close()
	r.look()
	changed()

	due := time.Now().Add(w.pause(&r)) // when to look next
	var first time.Time                // the first event since the last look; zero: none
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-r.watcher.Events:
			if !r.trail[filepath.Clean(e.Name)] {
				continue
			}
		case err := <-r.watcher.Errors: // whatever happened, look
			r.log.Debug("file events lost", "error", err)
		case <-time.After(time.Until(due)):
			if r.look() {
				changed()
			}
			due, first = time.Now().Add(w.pause(&r)), time.Time{}
			continue
		}
		now := time.Now()
		if first.IsZero() {
			first = now
		}
		due = now.Add(min(quiet, first.Add(patience).Sub(now)))
	}
}

// pause is the time between two looks when no event comes.
func (w *Watch) pause(r *run) time.Duration {
	d := w.Recheck
	if d == 0 {
		d = defaultRecheck
	}
	if r.blind || r.misses {
		d = min(d, blindRecheck)
	}
	return d
}

// run is the state of one Run.
type run struct {
	paths   []string          // absolute
	watcher *fsnotify.Watcher // the zero one, which sends no event, while the kernel grants none
	granted bool              // it did
	log     *slog.Logger
	blind   bool                // some folder sends no events
	misses  bool                // some path leads nowhere
	trail   map[string]bool     // every entry of a folder that decides where a path leads
	last    map[string]identity // by path
}

func (r *run) close() {
	if r.granted {
		_ = r.watcher.Close()
	}
}

// look arms the watches anew, then reports whether the files differ from the
// last look. In that order, a change in between is seen or sends an event.
func (r *run) look() bool {
	r.arm()
	now := map[string]identity{}
	r.misses = false
	for _, p := range r.paths {
		now[p] = follow(p, func(string) {})
		r.misses = r.misses || now[p].errno != 0
	}
	same := maps.Equal(now, r.last)
	r.last = now
	return !same
}

// arm watches the folders that the paths lead through now. Every watch is
// dropped first: one on a folder that was replaced under its name, with its
// parents perhaps, looks just like a good one. It goes on until no folder is
// new, since the entries of one may have changed before it was watched.
func (r *run) arm() {
	if !r.granted {
		watcher, err := fsnotify.NewWatcher()
		if err != nil {
			r.report(remedied(err))
			return
		}
		r.watcher, r.granted = watcher, true
	}
	for _, folder := range r.watcher.WatchList() {
		_ = r.watcher.Remove(folder) // fails when the folder is gone, and its watch with it
	}
	var refused error
	armed := map[string]bool{}
	for again, turns := true, 0; again && turns < 10; turns++ {
		again = false
		r.trail = map[string]bool{}
		for _, p := range r.paths {
			follow(p, func(entry string) { r.trail[entry] = true })
		}
		for _, entry := range slices.Sorted(maps.Keys(r.trail)) {
			folder := filepath.Dir(entry)
			if armed[folder] {
				continue
			}
			again = true
			err := r.watcher.Add(folder)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			armed[folder] = true
			if err != nil && refused == nil {
				refused = remedied(fmt.Errorf("watch %s: %w", folder, err))
			}
		}
	}
	r.report(refused)
}

// remedied says which of the kernel's limits to raise (inotify(7)).
func remedied(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("%w; raise sysctl fs.inotify.max_user_watches", err)
	case errors.Is(err, syscall.EMFILE): // or the process's own descriptors
		return fmt.Errorf("%w; raise sysctl fs.inotify.max_user_instances, or LimitNOFILE= of outrider's unit", err)
	}
	return err
}

// report logs when events cease to come, and when they come again.
func (r *run) report(err error) {
	switch {
	case err != nil && !r.blind:
		r.log.Warn("file events unavailable, looking every second", "error", err)
	case err == nil && r.blind:
		r.log.Info("file events available again")
	}
	r.blind = err != nil
}

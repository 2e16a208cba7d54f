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
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// quiet is how long nothing may happen before the files are looked at, so
	// that a renewal of several files is told once; patience bounds the wait.
	quiet    = 100 * time.Millisecond
	patience = time.Second
	// defaultRecheck serves file systems that send no events; blindRecheck
	// stands in for events that the kernel refuses.
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
// When the kernel grants no watches it says so once and looks every second.
// It returns nil when ctx ends, else only when a path cannot be made absolute.
func (w *Watch) Run(ctx context.Context, changed func()) error {
	r := run{log: w.Log}
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
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		watcher = &fsnotify.Watcher{} // its channels are nil: no event ever comes
	} else {
		defer watcher.Close()
		r.watcher = watcher
	}
	r.report(err)
	r.look()
	changed()

	due := time.Now().Add(w.pause(r.blind)) // when to look next
	var first time.Time                     // the first event since the last look; zero: none
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-watcher.Events:
			if !r.trail[filepath.Clean(e.Name)] {
				continue
			}
		case err := <-watcher.Errors: // whatever happened, look
			r.log.Debug("file events lost", "error", err)
		case <-time.After(time.Until(due)):
			if r.look() {
				changed()
			}
			due, first = time.Now().Add(w.pause(r.blind)), time.Time{}
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
func (w *Watch) pause(blind bool) time.Duration {
	d := w.Recheck
	if d == 0 {
		d = defaultRecheck
	}
	if blind {
		d = min(d, blindRecheck)
	}
	return d
}

// run is the state of one Run.
type run struct {
	paths   []string          // absolute
	watcher *fsnotify.Watcher // nil: the kernel grants none
	log     *slog.Logger
	blind   bool                // some folder sends no events
	trail   map[string]bool     // every entry of a folder that decides where a path leads
	last    map[string]identity // by path
}

// look arms the watches anew, then reports whether the files differ from the
// last look. In that order, a change in between is seen or sends an event.
func (r *run) look() bool {
	r.arm()
	now := map[string]identity{}
	for _, p := range r.paths {
		now[p] = follow(p, func(string) {})
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
	if r.watcher == nil {
		return
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
		for entry := range r.trail {
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
			if err != nil {
				refused = fmt.Errorf("watch %s: %w", folder, err)
			}
		}
	}
	r.report(refused)
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

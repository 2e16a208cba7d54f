package deliver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"outrider/secret"
)

// BenchmarkCommit takes files of 1 KiB, all of which have changed, from their
// new contents to the signal that tells of them, beside the bare floor: the
// same writes, syncs and renames, one after the other, the journal's and the
// signal included. In memory are the files; the state is on disk, as it must
// be to outlive a power loss. A look that finds nothing new is measured too.
func BenchmarkCommit(b *testing.B) {
	for _, place := range []struct{ name, files, state string }{
		{"disk", "", ""}, {"memory", "/dev/shm", ""}, {"all in memory", "/dev/shm", "/dev/shm"},
	} {
		for _, count := range []int{1, 3, 20, 1000} {
			b.Run(fmt.Sprintf("%s/%d/deliver", place.name, count), func(b *testing.B) {
				work := newBench(b, place.files, place.state, count)
				work.told = 0
				for b.Loop() {
					work.deliver(b)
				}
				b.ReportMetric(float64(work.told.Nanoseconds())/float64(b.N), "ns/signal")
			})
			b.Run(fmt.Sprintf("%s/%d/floor", place.name, count), func(b *testing.B) {
				work := newBench(b, place.files, place.state, count)
				for b.Loop() {
					work.floor(b)
				}
			})
			b.Run(fmt.Sprintf("%s/%d/unchanged", place.name, count), func(b *testing.B) {
				work := newBench(b, place.files, place.state, count)
				for b.Loop() {
					work.n--
					work.deliver(b)
				}
			})
		}
	}
}

// bench is one app that is delivered to again and again.
type bench struct {
	dir    string
	count  int
	n      int // versions so far
	ledger *Ledger
	pid    int
	told   time.Duration // from a version in hand to the signal sent

	stage, folder, journal *os.File // of the floor
}

func newBench(b *testing.B, files, state string, count int) *bench {
	b.Helper()
	dir, err := os.MkdirTemp(files, "bench") //nolint:usetesting // in memory, too
	if err != nil {
		b.Skip(err)
	}
	stateDir, err := os.MkdirTemp(state, "bench") //nolint:usetesting // likewise
	if err != nil {
		b.Skip(err)
	}
	b.Cleanup(func() { _ = errors.Join(os.RemoveAll(dir), os.RemoveAll(stateDir)) })
	app, says := start(b, nil, self(b), "application")
	says.Scan()
	pidFile := filepath.Join(stateDir, "pid")
	if err := os.WriteFile(pidFile, fmt.Append(nil, app.Process.Pid), 0o600); err != nil {
		b.Fatal(err)
	}
	w := &bench{dir: dir, count: count, pid: app.Process.Pid}
	if w.ledger, err = openLedger(stateDir, &timed{Signal{Signal: syscall.SIGHUP, PIDFile: pidFile}, time.Time{}}); err != nil {
		b.Fatal(err)
	}
	w.deliver(b) // the folders are there from then on
	if err := os.Mkdir(filepath.Join(dir, "stage"), 0o700); err != nil {
		b.Fatal(err)
	}
	w.stage, w.folder = opened(b, filepath.Join(dir, "stage")), opened(b, dir)
	if w.journal, err = os.OpenFile(filepath.Join(stateDir, "floor"), os.O_WRONLY|os.O_CREATE, 0o600); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = errors.Join(w.ledger.Close(), w.stage.Close(), w.folder.Close(), w.journal.Close()) })
	return w
}

func opened(b *testing.B, path string) *os.File {
	b.Helper()
	f, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	return f
}

// files returns the files of the next version.
func (w *bench) files() []File {
	w.n++
	content := secret.NewValue(bytes.Repeat(fmt.Appendf(nil, "%015d\n", w.n), 64))
	files := make([]File, w.count)
	for i := range files {
		files[i] = File{Destination: filepath.Join(w.dir, fmt.Sprint(i)), Content: content}
	}
	return files
}

// timed is a signal that knows when it was sent.
type timed struct {
	Signal
	at time.Time
}

// Notify implements Target.
func (s *timed) Notify(ctx context.Context, n Notification) (Outcome, error) {
	outcome, err := s.Signal.Notify(ctx, n)
	s.at = time.Now()
	return outcome, err
}

// deliver takes a version all the way.
func (w *bench) deliver(b *testing.B) {
	b.Helper()
	begun := time.Now()
	staged, err := w.ledger.Stage(w.files())
	if err != nil {
		b.Fatal(err)
	}
	if _, err := w.ledger.Commit(staged, Plan{Snapshot: snapshot(uint64(w.n))}); err != nil {
		b.Fatal(err)
	}
	if results, err := w.ledger.Deliver(b.Context()); err != nil || len(results) > 0 && results[0].Outcome != Delivered {
		b.Fatal(results, err)
	}
	if target, ok := w.ledger.targets[0].(*timed); ok {
		w.told += target.at.Sub(begun)
	}
}

// floor does the same without a thought.
func (w *bench) floor(b *testing.B) {
	b.Helper()
	files := w.files()
	var errs []error
	for i, f := range files {
		file, err := os.OpenFile(filepath.Join(w.stage.Name(), fmt.Sprint(i)), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			b.Fatal(err)
		}
		_, err = file.Write(f.Content.Reveal())
		errs = append(errs, err, file.Sync(), file.Close())
	}
	errs = append(errs, w.stage.Sync())
	_, err := w.journal.Write(make([]byte, 400+180*w.count))
	errs = append(errs, err, unix.Fdatasync(int(w.journal.Fd())))
	for i, f := range files {
		errs = append(errs, unix.Rename(filepath.Join(w.stage.Name(), fmt.Sprint(i)), f.Destination))
	}
	errs = append(errs, w.folder.Sync(), unix.Kill(w.pid, unix.SIGHUP))
	if err := errors.Join(errs...); err != nil {
		b.Fatal(err)
	}
}

package deliver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"outrider/secret"
)

// BenchmarkCommit takes files of 1 KiB, all of which have changed, from their
// new contents to the signal that tells of them, and in turn with it the bare
// floor: the same writes, syncs and renames, one after the other, the
// journal's and the signal included. It reports the medians of both, and how
// many times the floor the delivery takes. In memory are the files, while the
// state is on disk; the floor syncs its journal there, and the delivery, whose
// files no power loss leaves anything of, does not. The time of an operation
// is that of both.
func BenchmarkCommit(b *testing.B) {
	for _, place := range []struct{ name, files string }{{"disk", ""}, {"memory", "/dev/shm"}} {
		for _, count := range []int{1, 3, 20, 1000} {
			b.Run(fmt.Sprintf("%s/%d", place.name, count), func(b *testing.B) {
				work := newBench(b, place.files, count)
				var ours, floor []time.Duration
				for b.Loop() {
					ours = append(ours, work.deliver(b))
					floor = append(floor, work.floor(b))
				}
				b.ReportMetric(float64(median(ours).Microseconds()), "µs/signal")
				b.ReportMetric(float64(median(floor).Microseconds()), "µs/floor")
				b.ReportMetric(float64(median(ours))/float64(median(floor)), "floors")
			})
		}
	}
}

// BenchmarkUnchanged is a look that finds nothing new.
func BenchmarkUnchanged(b *testing.B) {
	for _, count := range []int{1, 20, 1000} {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			work := newBench(b, "", count)
			for b.Loop() {
				work.n--
				work.deliver(b)
			}
		})
	}
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// bench is one app that is delivered to again and again.
type bench struct {
	dir    string
	count  int
	n      int // versions so far
	ledger *Ledger
	pid    int
	signal *timed

	stage, folder, journal *os.File // of the floor
}

func newBench(b *testing.B, files string, count int) *bench {
	b.Helper()
	dir, err := os.MkdirTemp(files, "bench") //nolint:usetesting // in memory, too
	if err != nil {
		b.Skip(err)
	}
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	stateDir := b.TempDir()
	app, says := start(b, nil, self(b), "application")
	says.Scan()
	pidFile := filepath.Join(stateDir, "pid")
	if err := os.WriteFile(pidFile, fmt.Append(nil, app.Process.Pid), 0o600); err != nil {
		b.Fatal(err)
	}
	w := &bench{dir: dir, count: count, pid: app.Process.Pid, signal: &timed{Signal: Signal{Signal: syscall.SIGHUP, PIDFile: pidFile}}}
	if w.ledger, err = openLedger(stateDir, w.signal); err != nil {
		b.Fatal(err)
	}
	w.ledger.state.disk = false
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

// deliver takes a version all the way, and returns how long it took until the
// signal was sent.
func (w *bench) deliver(b *testing.B) time.Duration {
	b.Helper()
	files := w.files()
	begun := time.Now()
	staged, err := w.ledger.Stage(files)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := w.ledger.Commit(staged, Plan{Snapshot: snapshot(uint64(w.n))}); err != nil {
		b.Fatal(err)
	}
	if results, err := w.ledger.Deliver(b.Context()); err != nil || len(results) > 0 && results[0].Outcome != Delivered {
		b.Fatal(results, err)
	}
	return w.signal.at.Sub(begun)
}

// floor does the same without a thought.
func (w *bench) floor(b *testing.B) time.Duration {
	b.Helper()
	files := w.files()
	begun := time.Now()
	var errs []error
	for i, f := range files {
		file, err := os.OpenFile(filepath.Join(w.stage.Name(), fmt.Sprint(i)), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			b.Fatal(err)
		}
		_, err = file.Write(f.Content.Reveal())
		errs = append(errs, err, file.Sync(), file.Close())
	}
	if w.count > 1 { // one file needs no folder to be recovered from
		errs = append(errs, w.stage.Sync())
	}
	_, err := w.journal.Write(make([]byte, 400+180*w.count))
	errs = append(errs, err, unix.Fdatasync(int(w.journal.Fd())))
	for i, f := range files {
		errs = append(errs, unix.Rename(filepath.Join(w.stage.Name(), fmt.Sprint(i)), f.Destination))
	}
	errs = append(errs, w.folder.Sync(), unix.Kill(w.pid, unix.SIGHUP))
	took := time.Since(begun)
	if err := errors.Join(errs...); err != nil {
		b.Fatal(err)
	}
	return took
}

package watch

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"outrider/internal/programtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// started runs a watch with a re-check that never comes, so that only events
// can tell, and returns its calls after the first.
func started(t *testing.T, w *Watch) <-chan struct{} {
	t.Helper()
	if w.Recheck == 0 {
		w.Recheck = time.Hour
	}
	ctx, cancel := context.WithCancel(context.Background())
	calls, done := make(chan struct{}, 100), make(chan error, 1)
	go func() { done <- w.Run(ctx, func() { calls <- struct{}{} }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: got %v, want nil when the context ends", err)
		}
	})
	await(t, calls)
	return calls
}

func await(t *testing.T, calls <-chan struct{}) {
	t.Helper()
	select {
	case <-calls:
	case <-time.After(time.Minute):
		t.Fatal("changed was not called within a minute")
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	check(t, os.WriteFile(path, []byte(content), 0o600))
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestChangesAreTold(t *testing.T) {
	// Each test lays out a folder, names the path below it that is watched,
	// and changes what that leads to, step by step.
	tests := map[string]struct {
		path  string
		lay   func(t *testing.T, dir string)
		steps []func(t *testing.T, dir string)
	}{
		"written in place": {
			path: "host.pem",
			lay:  func(t *testing.T, dir string) { write(t, dir+"/host.pem", "1") },
			steps: []func(*testing.T, string){
				func(t *testing.T, dir string) { write(t, dir+"/host.pem", "22") },
				func(t *testing.T, dir string) { write(t, dir+"/host.pem", "33") },
			},
		},
		"renamed over, removed, and there again": {
			path: "host.pem",
			lay:  func(t *testing.T, dir string) { write(t, dir+"/host.pem", "1") },
			steps: []func(*testing.T, string){
				func(t *testing.T, dir string) {
					write(t, dir+"/new", "2")
					check(t, os.Rename(dir+"/new", dir+"/host.pem"))
				},
				func(t *testing.T, dir string) { check(t, os.Remove(dir+"/host.pem")) },
				func(t *testing.T, dir string) { write(t, dir+"/host.pem", "3") },
			},
		},
		"a mode that is changed": {
			path:  "host.pem",
			lay:   func(t *testing.T, dir string) { write(t, dir+"/host.pem", "1") },
			steps: []func(*testing.T, string){func(t *testing.T, dir string) { check(t, os.Chmod(dir+"/host.pem", 0o644)) }},
		},
		"the ..data link of Kubernetes": {
			path: "host.pem",
			lay: func(t *testing.T, dir string) {
				swap(t, dir, "..1")
				check(t, os.Symlink("..data/host.pem", dir+"/host.pem"))
			},
			steps: []func(*testing.T, string){
				func(t *testing.T, dir string) { swap(t, dir, "..2") },
				func(t *testing.T, dir string) {
					check(t, os.RemoveAll(dir+"/..1"))
					swap(t, dir, "..3")
				},
			},
		},
		"a link into another folder": {
			path: "etc/host.pem",
			lay: func(t *testing.T, dir string) {
				check(t, os.MkdirAll(dir+"/etc", 0o700))
				check(t, os.MkdirAll(dir+"/live", 0o700))
				write(t, dir+"/live/cert1.pem", "1")
				check(t, os.Symlink("cert1.pem", dir+"/live/cert.pem"))
				check(t, os.Symlink(dir+"/live/cert.pem", dir+"/etc/host.pem"))
			},
			steps: []func(*testing.T, string){
				func(t *testing.T, dir string) { write(t, dir+"/live/cert1.pem", "22") },
				func(t *testing.T, dir string) {
					write(t, dir+"/live/cert2.pem", "3")
					check(t, os.Symlink("cert2.pem", dir+"/live/new"))
					check(t, os.Rename(dir+"/live/new", dir+"/live/cert.pem"))
				},
				func(t *testing.T, dir string) { write(t, dir+"/live/cert2.pem", "44") },
			},
		},
		"a linked folder": {
			path: "pki/host.pem",
			lay: func(t *testing.T, dir string) {
				check(t, os.MkdirAll(dir+"/a/b", 0o700))
				write(t, dir+"/a/b/host.pem", "1")
				check(t, os.Symlink("a/../a/./b", dir+"/pki"))
			},
			steps: []func(*testing.T, string){func(t *testing.T, dir string) { write(t, dir+"/a/b/host.pem", "22") }},
		},
		"folders that are not there yet": {
			path: "etc/outrider/pki/host.pem",
			lay:  func(*testing.T, string) {},
			steps: []func(*testing.T, string){
				func(t *testing.T, dir string) {
					check(t, os.MkdirAll(dir+"/etc/outrider/pki", 0o700))
					write(t, dir+"/etc/outrider/pki/host.pem", "1")
				},
				func(t *testing.T, dir string) { write(t, dir+"/etc/outrider/pki/host.pem", "22") },
			},
		},
		"a folder that is replaced, and its parent": {
			path: "etc/pki/host.pem",
			lay: func(t *testing.T, dir string) {
				check(t, os.MkdirAll(dir+"/etc/pki", 0o700))
				write(t, dir+"/etc/pki/host.pem", "1")
			},
			steps: []func(*testing.T, string){
				func(t *testing.T, dir string) {
					check(t, os.Mkdir(dir+"/etc/new", 0o700))
					write(t, dir+"/etc/new/host.pem", "2")
					check(t, os.Rename(dir+"/etc/pki", dir+"/etc/old"))
					check(t, os.Rename(dir+"/etc/new", dir+"/etc/pki"))
				},
				func(t *testing.T, dir string) { write(t, dir+"/etc/pki/host.pem", "33") },
				func(t *testing.T, dir string) {
					check(t, os.MkdirAll(dir+"/new/pki", 0o700))
					write(t, dir+"/new/pki/host.pem", "4")
					check(t, os.Rename(dir+"/etc", dir+"/old"))
					check(t, os.Rename(dir+"/new", dir+"/etc"))
				},
				func(t *testing.T, dir string) { write(t, dir+"/etc/pki/host.pem", "55") },
				func(t *testing.T, dir string) { check(t, os.RemoveAll(dir+"/etc")) },
				func(t *testing.T, dir string) {
					check(t, os.MkdirAll(dir+"/etc/pki", 0o700))
					write(t, dir+"/etc/pki/host.pem", "6")
				},
			},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			test.lay(t, dir)
			calls := started(t, &Watch{Paths: []string{filepath.Join(dir, test.path)}})
			for i, step := range test.steps {
				// A step may be told more than once when the machine is slow;
				// what is left over of the one before must not pass for this one.
				for len(calls) > 0 {
					<-calls
				}
				step(t, dir)
				await(t, calls)
				if t.Failed() {
					t.Fatalf("at step %d", i+1)
				}
			}
		})
	}
}

// swap does what the kubelet does: a new folder, then the link renamed.
func swap(t *testing.T, dir, name string) {
	t.Helper()
	check(t, os.Mkdir(filepath.Join(dir, name), 0o700))
	write(t, filepath.Join(dir, name, "host.pem"), name)
	check(t, os.Symlink(name, dir+"/..tmp"))
	check(t, os.Rename(dir+"/..tmp", dir+"/..data"))
}

func TestARenewalOfSeveralFilesIsToldOnce(t *testing.T) {
	dir := t.TempDir()
	paths := []string{dir + "/host.pem", dir + "/host.key", dir + "/chain.pem"}
	calls := started(t, &Watch{Paths: append(paths, dir+"/marker")})
	for range 10 {
		begun := time.Now()
		for _, p := range paths {
			write(t, p, begun.String())
		}
		prompt := time.Since(begun) < quiet/2
		await(t, calls)
		// The marker's call is the next one only if the files made no second.
		write(t, dir+"/marker", begun.String())
		await(t, calls)
		if prompt {
			if n := len(calls); n != 0 {
				t.Errorf("got %d calls too many", n)
			}
			return
		}
		for len(calls) > 0 {
			<-calls
		}
	}
	t.Skip("the machine is too slow to write three files at once")
}

func TestWhatChangesNothingIsNotTold(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/target", "1")
	check(t, os.Symlink("target", dir+"/host.pem"))
	r := run{paths: []string{dir + "/host.pem"}, log: slog.New(slog.DiscardHandler)}
	defer r.close()
	if !r.look() {
		t.Error("the first look: got false, want true")
	}
	check(t, os.Symlink("target", dir+"/new"))
	check(t, os.Rename(dir+"/new", dir+"/host.pem"))
	write(t, dir+"/neighbour", "1")
	if r.look() {
		t.Error("an equal link and a neighbour: got true, want false")
	}
	write(t, dir+"/target", "22")
	if !r.look() {
		t.Error("other content: got false, want true")
	}
}

func TestOnlyEntriesOnTheWayCount(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	check(t, err)
	check(t, os.Mkdir(dir+"/live", 0o700))
	write(t, dir+"/live/cert.pem", "1")
	check(t, os.Symlink("live/cert.pem", dir+"/host.pem"))
	got := map[string]bool{}
	follow(dir+"/host.pem", func(entry string) { got[entry] = true })
	for _, want := range []string{dir, dir + "/host.pem", dir + "/live", dir + "/live/cert.pem"} {
		if !got[want] {
			t.Errorf("%s is not on the way", want)
		}
	}
	if n := strings.Count(dir, "/") + 3; len(got) != n {
		t.Errorf("got %d entries, want %d", len(got), n)
	}
}

func TestLinksInACircleEnd(t *testing.T) {
	dir := t.TempDir()
	check(t, os.Symlink("b", dir+"/a"))
	check(t, os.Symlink("a", dir+"/b"))
	if got := follow(dir+"/a", func(string) {}); got.errno != syscall.ELOOP {
		t.Errorf("got %v, want ELOOP", got.errno)
	}
}

func TestWhileThereAreNoEventsItLooksByItself(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/host.pem", "1")
	var log programtest.Log
	w := &Watch{Paths: []string{dir + "/host.pem"}, Log: slog.New(slog.NewTextHandler(&log, nil))}

	// The kernel grants no more descriptors while Run starts.
	var limit syscall.Rlimit
	check(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	check(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 3, Max: limit.Max}))
	restore := func() { check(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)) }
	t.Cleanup(restore)
	calls := started(t, w)
	restore()

	for _, content := range []string{"22", "333"} {
		write(t, dir+"/host.pem", content)
		await(t, calls)
	}
	if got := log.String(); strings.Count(got, "file events unavailable") != 1 || !strings.Contains(got, "fs.inotify.max_user_instances") || !strings.Contains(got, "available again") {
		t.Errorf("got %s, want one warning with its remedy and one end of it", got)
	}
}

func TestTheReportIsOfChangesOnly(t *testing.T) {
	var log programtest.Log
	r := run{log: slog.New(slog.NewTextHandler(&log, nil))}
	for _, err := range []error{nil, syscall.ENOSPC, syscall.ENOSPC, nil, nil} {
		r.report(err)
	}
	got := log.String()
	if strings.Count(got, "level=WARN") != 1 || strings.Count(got, "level=INFO") != 1 || !strings.Contains(got, "no space left") {
		t.Errorf("got %s, want one warning with its cause and one end of it", got)
	}
}

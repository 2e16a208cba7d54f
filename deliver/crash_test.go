package deliver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// mortal takes up a story where the one before it was killed, and takes it one
// version further: commit, tell, confirm or roll back. It kills itself before
// the given step, counted from its start.
func mortal(name, root, step string) error {
	s, err := find(name)
	if err != nil {
		return err
	}
	last, err := strconv.ParseInt(step, 10, 64)
	if err != nil {
		return err
	}
	state, err := OpenState(filepath.Join(root, "state"))
	if err != nil {
		return err
	}
	state.disk = true
	var steps atomic.Int64
	state.step = func() {
		if steps.Add(1) == last {
			_ = unix.Kill(os.Getpid(), unix.SIGKILL)
			_ = stay()
		}
	}
	l, err := state.Open("app", []Target{scribe{root, "one"}, scribe{root, "two"}})
	if err != nil {
		return err
	}
	if err := s.resume(l, root); err != nil {
		return err
	}
	fmt.Println(steps.Load())
	return nil
}

// resume is what the start of a sidecar does, and then one look.
func (s story) resume(l *Ledger, root string) error {
	ctx := context.Background()
	if _, err := l.Recover(); err != nil {
		return err
	}
	version := uint64(time.Now().UnixNano())
	if _, err := l.Deliver(ctx); err != nil {
		return err
	}
	if _, err := s.commit(l, root, version, version%2 == 0); err != nil {
		return err
	}
	if _, err := l.Deliver(ctx); err != nil {
		return err
	}
	p := l.Progress()
	if !p.Awaits {
		return nil
	}
	if version%4 == 0 {
		l.Confirmed(p.Generation)
		return nil
	}
	if _, err := l.RollBack(p.Generation, "it does not run"); err != nil {
		return err
	}
	_, err := l.Deliver(ctx)
	return err
}

// scribe is a target that writes down what it is told, so that it outlives us.
type scribe struct{ root, name string }

func (s scribe) String() string { return "scribe " + s.name }

func (s scribe) Notify(_ context.Context, n Notification) (Outcome, error) {
	f, err := os.OpenFile(filepath.Join(s.root, "told-"+s.name), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return Failed, err
	}
	_, err = fmt.Fprintln(f, n.Generation)
	return Delivered, errors.Join(err, f.Close())
}

// knows reports whether a scribe has written a generation down.
func (s scribe) knows(generation uint64) bool {
	text, _ := os.ReadFile(filepath.Join(s.root, "told-"+s.name))
	return slices.Contains(strings.Split(string(text), "\n"), fmt.Sprint(generation))
}

// A sidecar that is killed between any two steps leaves whole files for any
// reader, and after the next start they are all of one generation, of which
// every target knows.
func TestKilledBetweenAnyTwoSteps(t *testing.T) {
	const patience = 10 * time.Second
	rounds := 1200
	if text, ok := os.LookupEnv("DELIVER_CRASH_ROUNDS"); ok { // as many as wanted, however long it takes
		rounds, _ = strconv.Atoi(text)
	} else if testing.Short() {
		rounds = 100
	}
	for _, s := range stories() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			root := memory(t)
			if err := s.begin(root); err != nil {
				t.Fatal(err)
			}
			stopReading := s.readAllTheTime(t, root)
			begun, done, kills, most := time.Now(), 0, 0, 1
			for step := 1; done < rounds; done++ {
				if os.Getenv("DELIVER_CRASH_ROUNDS") == "" && time.Since(begun) > patience {
					break
				}
				if s.live(t, root, step) {
					kills++
					step++
				} else {
					most, step = max(most, step), 1 // it came to its end before that step
				}
				if done%2 == 0 {
					s.recovered(t, root)
				}
				if t.Failed() {
					t.Fatalf("after round %d, killed at step %d", done, step-1)
				}
			}
			s.recovered(t, root)
			if reads := stopReading(); reads == 0 || kills == 0 {
				t.Errorf("%d reads, %d kills: nothing was proved", reads, kills)
			} else {
				t.Logf("%d rounds, %d kills at %d steps, %d reads", done, kills, most-1, reads)
			}
		})
	}
}

// live runs a mortal. It reports whether it was killed.
func (s story) live(t *testing.T, root string, step int) bool {
	t.Helper()
	cmd := exec.Command(self(t), "as", "mortal", s.name, root, fmt.Sprint(step))
	var said bytes.Buffer
	cmd.Stderr = &said
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
		return true
	}
	if err != nil {
		t.Fatalf("%v: %s", err, said.String())
	}
	return false
}

// recovered starts on what a kill has left, and looks at what has come of it.
func (s story) recovered(t *testing.T, root string) {
	t.Helper()
	one, two := scribe{root, "one"}, scribe{root, "two"}
	l, err := openLedger(filepath.Join(root, "state"), one, two)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = errors.Join(l.Close(), l.state.Close()) }()
	if _, err := l.Recover(); err != nil {
		t.Fatal(err)
	}
	text, err := s.read(root)
	if err != nil {
		t.Fatal(err)
	}
	p := l.Progress()
	if want := p.Versions["db"].ID; p.Generation > 0 && want != "" && !s.isOf(text, want) {
		t.Fatalf("generation %d, from version %s, holds %q", p.Generation, want, text)
	}
	if _, err := l.Deliver(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p.Generation > 0 && (!one.knows(p.Generation) || !two.knows(p.Generation)) {
		t.Fatalf("not everybody was told of generation %d", p.Generation)
	}
}

func (s story) isOf(text, version string) bool {
	n, err := strconv.ParseUint(version, 10, 64)
	return err == nil && text == s.text(n)
}

// readAllTheTime reads the files without a pause until the function that it
// returns is called, which returns how often.
func (s story) readAllTheTime(t *testing.T, root string) (stop func() int) {
	t.Helper()
	stopping, done := make(chan struct{}), make(chan int)
	go func() {
		reads := 0
		defer func() { done <- reads }()
		for {
			for _, path := range s.paths(root) {
				text, err := os.ReadFile(path)
				var version uint64
				if err == nil && !s.mayTear {
					_, err = fmt.Sscanf(string(text), "version %d", &version)
				}
				if err != nil || len(text) == 0 || !s.mayTear && string(text) != s.text(version) {
					t.Errorf("%s: read %q, error %v", path, text, err)
					return
				}
				reads++
			}
			select {
			case <-stopping:
				return
			default:
			}
		}
	}()
	return func() int { close(stopping); return <-done }
}

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"outrider/internal/programtest"
)

// released is the path of the program under load, built as it is released.
var released string

// TestMain also is the program that each app under load has.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "program" {
		ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
		defer stop()
		if err := runProgram(ctx, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(programtest.Main(m, os.Stderr, &released, 1))
}

// TestManyAppsAndClientsAreServedWithFewCalls is a small setting of what
// `scripts/bench --load` measures. It counts, and looks at no clock.
func TestManyAppsAndClientsAreServedWithFewCalls(t *testing.T) {
	const clients = 208
	// A socket's path is short: the test's own folder may not be.
	s := settings{binary: released, parent: os.TempDir(), apps: 20, crowdSize: clients, span: 6 * time.Second}
	l, err := measureLoad(t.Context(), s, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if len(l.passages) != 3 {
		t.Fatalf("%d rotations of everything, want 3", len(l.passages))
	}
	const moves = 20 * each
	told := 0
	for _, p := range l.passages {
		t.Logf("%s: %v", p.name, p.calls)
		if len(p.filed) != moves || len(p.told) != moves || p.throttled != 0 {
			t.Errorf("%s: %d moves came to files and %d to programs, and %d calls were throttled; want %d, %d, none", p.name, len(p.filed), len(p.told), p.throttled, moves, moves)
		}
		// Its event makes a move one read, and a second look at the app's five
		// secrets, each read alone where a batch takes too long.
		reads := p.calls["secretsmanager.GetSecretValue"] + p.calls["secretsmanager.BatchGetSecretValue"]
		if reads > 6*moves {
			t.Errorf("%s: %d reads for %d moves, want at most six for each", p.name, reads, moves)
		}
		told += p.notices
	}
	if told < 3*20 || told > 3*moves {
		t.Errorf("programs were told %d times, want once for each app to once for each move", told)
	}
	there := 0
	for _, a := range append(l.crowd, l.rush...) {
		there += a.clients
		if len(a.errs) > 0 {
			t.Errorf("%d of %d clients of %s had no answer, one: %v", len(a.errs), a.clients, a.name, a.errs[0])
		}
	}
	if want := clients + clients*14/16; there != want {
		t.Errorf("%d clients, want %d", there, want)
	}
}

// TestTheLoadTakesItsPlaceInTheDocument writes into a copy of the real one.
func TestTheLoadTakesItsPlaceInTheDocument(t *testing.T) {
	path, text := copyOfDocument(t)
	l := load{machine: machine{version: "v1"}}
	for range 2 {
		if err := l.write(path); err != nil {
			t.Fatal(err)
		}
	}
	written, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, _ := strings.Cut(string(text), "<!-- load -->\n")
	_, tail, _ := strings.Cut(rest, "<!-- /load -->\n")
	if got, want := string(written), head+"<!-- load -->\n"+l.latest()+"<!-- /load -->\n"+tail; got != want {
		t.Error("the load does not stand between its marks, or what is around them has changed")
	}
}

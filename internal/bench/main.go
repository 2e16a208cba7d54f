// Package bench measures what docs/performance.md tells, against a lab that is a process of its own.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"
)

// document is where the outcome stands, from the module's folder.
const document = "docs/performance.md"

// settings say how long to measure.
type settings struct {
	binary    string
	parent    string        // the folder in which everything happens
	runs      int           // of each cold start, after one to warm up
	rotations int           // label moves; a secret has room for a hundred versions a day
	idle      time.Duration // how long a sidecar is watched doing nothing

	apps      int           // under load
	crowdSize int           // local clients
	span      time.Duration // in which everything rotates
	full      int           // connections that one endpoint takes; 0: one too many is not tried
	poll      bool          // measured, too
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr); err != nil { //nolint:forbidigo // main alone has the streams
		_, _ = fmt.Fprintln(os.Stderr, "bench:", err) //nolint:forbidigo // as above
		stop()
		os.Exit(1) //nolint:forbidigo // main alone exits
	}
}

// run measures, or with the argument floor is the floor's own process.
func run(ctx context.Context, args []string, getenv func(string) string, out, progress io.Writer) error {
	if len(args) == 2 && args[0] == "floor" {
		return runFloor(ctx, args[1], getenv("NOTIFY_SOCKET"))
	}
	if len(args) == 1 && args[0] == "program" {
		return runProgram(ctx, out)
	}
	s := settings{runs: 15, rotations: 95, idle: 10 * time.Minute, apps: most / each, crowdSize: 2000, span: time.Minute, full: 1024, poll: true}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.StringVar(&s.binary, "binary", "bin/outrider", "the binary to measure")
	// Not /tmp, which may be in memory, and whose many entries make watching slow.
	flags.StringVar(&s.parent, "dir", "/var/tmp", "a folder on the file system to measure on")
	write := flags.Bool("write", false, "put the outcome into "+document+", too")
	under := flags.Bool("load", false, "measure many apps and clients instead, which takes a quarter of an hour")
	flags.DurationVar(&s.span, "span", s.span, "with -load: in what time everything rotates")
	flags.BoolVar(&s.poll, "poll", s.poll, "with -load: polling, too, which takes longest")
	flags.IntVar(&s.runs, "runs", s.runs, "cold starts of each kind")
	flags.IntVar(&s.rotations, "rotations", s.rotations, "label moves")
	flags.DurationVar(&s.idle, "idle", s.idle, "how long to watch a sidecar do nothing")
	if err := flags.Parse(args); err != nil {
		return err
	}
	r, err := s.outcome(ctx, *under, progress)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprint(out, r.latest()); err != nil || !*write {
		return err
	}
	return r.write(document)
}

// outcome is what was measured, and where it goes.
type outcome interface {
	latest() string
	write(path string) error
}

func (s settings) outcome(ctx context.Context, load bool, progress io.Writer) (outcome, error) {
	if load {
		l, err := measureLoad(ctx, s, progress)
		return &l, err
	}
	r, err := measure(ctx, s, progress)
	return &r, err
}

// measure takes every measurement, one after another.
func measure(ctx context.Context, s settings, progress io.Writer) (r report, err error) {
	stage, err := newStage(ctx, s)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, stage.close()) }()
	if r.machine, err = look(ctx, s.binary, stage.dir); err != nil {
		return r, err
	}
	r.settings = s
	for _, step := range []struct {
		name string
		do   func(context.Context, *report) error
	}{
		{"cold starts", stage.coldStarts},
		{"label moves", stage.labelMoves},
		{"label moves with push", stage.pushedMoves},
		{"calls an hour", stage.steadyState},
		{fmt.Sprintf("%s of idling", s.idle), stage.idling},
	} {
		_, _ = fmt.Fprintln(progress, "bench:", step.name)
		if err := step.do(ctx, &r); err != nil {
			return r, fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return r, nil
}

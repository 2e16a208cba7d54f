package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// start is what the cold starts of one shape came to.
type start struct {
	shape
	budget         time.Duration
	sidecar, floor sample
	calls          int // the most in any run
}

// coldStarts measures every shape.
func (s *stage) coldStarts(ctx context.Context, r *report) error {
	for _, n := range []struct {
		secrets int
		budget  time.Duration
	}{{1, 15 * time.Millisecond}, {20, 40 * time.Millisecond}, {100, 120 * time.Millisecond}, {most, 900 * time.Millisecond}} {
		for _, apps := range []bool{false, true} {
			if apps && n.secrets == 1 {
				continue // the same
			}
			st := start{shape: shape{n.secrets, apps}, budget: n.budget}
			if err := s.repeat(ctx, &st); err != nil {
				return fmt.Errorf("%v: %w", st.shape, err)
			}
			r.starts = append(r.starts, st)
		}
	}
	return nil
}

// repeat starts floor and sidecar in turns, so that what else the machine
// does falls on both.
func (s *stage) repeat(ctx context.Context, st *start) error {
	for i := range s.runs + 1 {
		floor, _, err := s.coldStart(ctx, st.shape, (*scene).floor)
		if err != nil {
			return fmt.Errorf("floor: %w", err)
		}
		sidecar, calls, err := s.coldStart(ctx, st.shape, (*scene).sidecar)
		if err != nil {
			return err
		}
		if i == 0 {
			continue // it warms up
		}
		st.floor, st.sidecar = append(st.floor, floor), append(st.sidecar, sidecar)
		st.calls = max(st.calls, calls)
	}
	return nil
}

// coldStart starts a process where nothing was delivered yet. It returns how
// long it took until every file was there, and how many calls to AWS.
func (s *stage) coldStart(ctx context.Context, sh shape, prepare func(*scene, context.Context) *process) (time.Duration, int, error) {
	sc, err := s.scene(sh)
	if err != nil {
		return 0, 0, err
	}
	if _, err := s.calls(ctx); err != nil {
		return 0, 0, err
	}
	p := prepare(sc, ctx)
	took, err := p.startReady(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer p.stop()
	calls, err := s.calls(ctx)
	return took, calls, errors.Join(err, sc.check())
}

package main

import (
	"context"
	"errors"
	"time"
)

// settling is how long a sidecar is left alone after its start.
const settling = 10 * time.Second

// rest is a sidecar after its start.
type rest struct {
	*process
	shape
	memory int64         // anonymous, in bytes, after the start
	later  int64         // likewise, after idling
	used   time.Duration // of a processor, in a minute of idling
}

// idling measures memory, and processor time with nothing to do but to look,
// of two sidecars at once.
func (s *stage) idling(ctx context.Context, r *report) error {
	for _, apps := range []bool{false, true} {
		sc, err := s.scene(shape{secrets: 100, apps: apps})
		if err != nil {
			return err
		}
		rest := &rest{process: sc.sidecar(ctx), shape: sc.shape}
		if _, err := rest.startReady(ctx); err != nil {
			return err
		}
		defer rest.stop()
		r.rests = append(r.rests, rest)
	}
	if err := pause(ctx, settling); err != nil {
		return err
	}
	for _, rest := range r.rests {
		if err := rest.begin(); err != nil {
			return err
		}
	}
	if err := pause(ctx, s.idle); err != nil {
		return err
	}
	for _, rest := range r.rests {
		if err := rest.end(s.idle); err != nil {
			return err
		}
	}
	return nil
}

func (r *rest) begin() (err error) {
	var e error
	r.memory, err = r.anonymous()
	r.used, e = r.processor()
	return errors.Join(err, e)
}

func (r *rest) end(idle time.Duration) (err error) {
	r.later, err = r.anonymous()
	used, e := r.processor()
	r.used = time.Duration(float64(used-r.used) / idle.Minutes())
	return errors.Join(err, e)
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

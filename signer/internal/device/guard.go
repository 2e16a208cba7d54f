// Package device is what keys that stay in a device have in common: one caller at a time, and no wrong PIN twice.
package device

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// RefusedError says that a device refused a PIN. A token locks after a few of
// them, so that the same PIN must not be shown to it again.
type RefusedError struct{ Reason string }

// Error implements error.
func (e *RefusedError) Error() string { return e.Reason }

// Guard stands before the devices of this host. The zero Guard is ready to
// use; it is safe for concurrent use and must not be copied. A process has
// one, since it remembers which PINs were refused.
type Guard struct {
	mu      sync.Mutex
	turns   map[string]chan struct{}
	refused map[string]refusal // by key
}

type refusal struct {
	pin PIN
	err error
}

// do runs use while nobody else uses the device. When ctx ends first it
// returns, but the device stays taken until use does: a call into a module's
// C code cannot be broken off. What use changes may be looked at only after a
// nil error.
func (g *Guard) do(ctx context.Context, device string, use func() error) error {
	turn := g.turn(device)
	select {
	case turn <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("still busy with another request (%w)", context.Cause(ctx))
	}
	done := make(chan error, 1)
	go func() {
		defer func() { <-turn }()
		done <- use()
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("no answer (%w)", context.Cause(ctx))
	}
}

func (g *Guard) turn(device string) chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.turns == nil {
		g.turns = map[string]chan struct{}{}
		g.refused = map[string]refusal{}
	}
	if g.turns[device] == nil {
		g.turns[device] = make(chan struct{}, 1)
	}
	return g.turns[device]
}

// recall returns why the device refused this very PIN of a key; nil when it
// did not, or the PIN or its file has changed since.
func (g *Guard) recall(key string, pin PIN) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r, ok := g.refused[key]; ok && r.pin.equal(pin) {
		return r.err
	}
	return nil
}

// remember keeps a refusal, and forgets it when the device has taken a PIN.
func (g *Guard) remember(key string, pin PIN, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := errors.AsType[*RefusedError](err); ok {
		g.refused[key] = refusal{pin, err}
	} else if err == nil {
		delete(g.refused, key)
	}
}

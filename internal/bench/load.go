package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// unhurried is how long the last of many moves may take to come through.
const unhurried = 5 * time.Minute

// passage is what one rotation of everything came to.
type passage struct {
	name        string
	filed, told sample
	notices     int           // that programs were given
	used        time.Duration // of a processor
	peak        int64         // anonymous memory, in bytes
	calls       map[string]int
	throttled   int
}

// audience is what one kind of client saw.
type audience struct {
	name    string
	clients int
	took    sample
	over    time.Duration
	errs    []error
}

// load is what many apps and clients came to.
type load struct {
	settings
	machine
	passages    []passage
	quiet       rest          // the time after
	mark        int64         // the most memory ever resident, VmHWM, in bytes
	alone       int64         // anonymous memory before the clients, in bytes
	gathered    int64         // and when they were there
	descriptors int           // of the sidecar with the clients
	crowd       []audience    // that asks now and then, while everything rotates
	rush        []audience    // that asks all the time
	waits       time.Duration // of the client after the last that an endpoint takes, while they ask for nothing
}

// measureLoad takes the measurements of docs/performance.md's part on load.
func measureLoad(ctx context.Context, s settings, progress io.Writer) (l load, err error) {
	stage, err := newStage(ctx, s)
	if err != nil {
		return l, err
	}
	defer func() { err = errors.Join(err, stage.close()) }()
	l.settings = s
	if l.machine, err = look(ctx, s.binary, stage.dir); err != nil {
		return l, err
	}
	if err := stage.limit(ctx); err != nil {
		return l, err
	}
	if err := l.pushed(ctx, stage, progress); err != nil {
		return l, fmt.Errorf("push: %w", err)
	}
	if s.poll {
		_, _ = fmt.Fprintln(progress, "bench: polling at the default interval")
		err = l.polled(ctx, stage)
	}
	return l, err
}

// limit makes the lab throttle as AWS does. Those who rotate are not what is
// measured: all secrets within a second are more than AWS lets one account move.
func (s *stage) limit(ctx context.Context) error {
	var done struct{}
	err := s.control(ctx, "POST", "quotas", "{}", &done)
	for _, operation := range []string{"PutSecretValue", "UpdateSecretVersionStage"} {
		err = errors.Join(err, s.control(ctx, "POST", "quotas", fmt.Sprintf(`{"operation": "secretsmanager.%s"}`, operation), &done))
	}
	return err
}

// pushed measures a sidecar that hears of changes, and its clients.
func (l *load) pushed(ctx context.Context, s *stage, progress io.Writer) (err error) {
	e, err := s.newEstate(ctx, fmt.Sprintf("{queue: %q}", s.setup.Queue))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.close()) }()
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"push", func() error { return l.turn(ctx, e, "push, evenly in a minute", l.span, unhurried) }},
		{"push, all at once", func() error { return l.turn(ctx, e, "push, in a second", l.span/60, unhurried) }},
		{"quiet", func() error { return l.rest(ctx, e) }},
		{"clients", func() error { return l.clients(ctx, e) }},
	} {
		_, _ = fmt.Fprintln(progress, "bench:", step.name)
		if err := step.do(); err != nil {
			return err
		}
	}
	l.mark, err = e.sidecar.memory("VmHWM")
	return err
}

func (l *load) turn(ctx context.Context, e *estate, name string, over, limit time.Duration) error {
	p, err := e.turn(ctx, name, over, limit)
	l.passages = append(l.passages, p)
	return err
}

func (l *load) rest(ctx context.Context, e *estate) error {
	l.quiet.process = e.sidecar
	if err := l.quiet.begin(); err != nil {
		return err
	}
	if err := pause(ctx, l.span); err != nil {
		return err
	}
	return l.quiet.end(l.span)
}

// clients measures many clients while everything rotates once more, and then
// while those that want sessions ask without a pause.
func (l *load) clients(ctx context.Context, e *estate) (err error) {
	kinds, err := e.kinds()
	if err != nil {
		return err
	}
	if l.alone, err = e.sidecar.anonymous(); err != nil {
		return err
	}
	c := e.gather(ctx, l.crowdSize, kinds...)
	defer c.disperse()
	if l.gathered, err = e.sidecar.anonymous(); err != nil {
		return err
	}
	if l.descriptors, err = e.sidecar.descriptors(); err != nil {
		return err
	}
	for _, k := range kinds {
		k.restart(k.every)
	}
	began := time.Now()
	if err := l.turn(ctx, e, fmt.Sprintf("push, evenly in a minute, with %s clients", thousands(c.size)), l.span, unhurried); err != nil {
		return err
	}
	l.crowd = c.heard(time.Since(began))
	for _, k := range kinds[:3] {
		k.restart(0)
	}
	began = time.Now()
	if err := pause(ctx, l.span/6); err != nil {
		return err
	}
	l.rush = c.heard(time.Since(began))[:3]
	if c.disperse(); l.full == 0 {
		return nil
	}
	l.waits, err = kinds[0].oneTooMany(ctx, l.full)
	return err
}

// heard is what each kind has seen in that time.
func (c *crowd) heard(over time.Duration) []audience {
	var all []audience
	for _, k := range c.kinds {
		k.mu.Lock()
		all = append(all, audience{k.name, c.size * k.share / 16, k.took, over, k.errs})
		k.mu.Unlock()
	}
	return all
}

// polled measures one rotation with a sidecar that looks by itself.
func (l *load) polled(ctx context.Context, s *stage) (err error) {
	e, err := s.newEstate(ctx, "{}")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.close()) }()
	return l.turn(ctx, e, "polling, evenly in a minute", l.span, 10*time.Minute)
}

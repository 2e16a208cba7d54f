package deliver

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"outrider/internal/child"
)

// Command is a program that is run to tell an application, to check what is
// staged for it, or to see whether it runs.
//
// It starts as child.Command says, with OUTRIDER_APP and OUTRIDER_GENERATION
// in its environment and nothing on its standard input.
type Command struct {
	Argv    []string      // program, by its absolute path or its name in PATH, and arguments
	User    string        // name or number, with all of its groups; empty: our own
	Timeout time.Duration // then the whole group is killed; 0: 30s
}

// String returns the program.
func (c Command) String() string { return child.Command{Argv: c.Argv}.String() }

// Notify is Run for a target: all but success is an error.
func (c Command) Notify(ctx context.Context, n Notification) (Outcome, error) {
	if err := c.Run(ctx, n); err != nil {
		return Failed, err
	}
	return Delivered, nil
}

// Run runs the command and waits for its end. Everything but exit status 0 is
// an error.
func (c Command) Run(ctx context.Context, n Notification) error {
	return child.Command{Argv: c.Argv, User: c.User, Timeout: c.Timeout, Env: []string{
		"OUTRIDER_APP=" + n.App,
		"OUTRIDER_GENERATION=" + strconv.FormatUint(n.Generation, 10),
	}}.Run(ctx)
}

// Check runs the app's own check on what is staged, whose places Path gives,
// before any file is touched. An exit status other than 0 is an error. It
// blocks for at most 30s.
func (s *Staged) Check(ctx context.Context, argv []string) error {
	c := Command{Argv: argv}
	if err := c.Run(ctx, Notification{App: s.app, Generation: s.generation}); err != nil {
		return fmt.Errorf("check: %s: %w", c, err)
	}
	return nil
}

// Confirm is a command by which the application shows that it runs.
type Confirm struct {
	Argv   []string
	User   string        // empty: our own
	Within time.Duration // 0: 30s
}

// Await runs the command, again every second, until it ends with exit status
// 0, and returns nil then. When the time is over the last attempt is killed,
// and the error says what it, or the one before it, ended with.
func (c Confirm) Await(ctx context.Context, n Notification) error {
	command := Command{Argv: c.Argv, User: c.User, Timeout: c.within()}
	return c.await(ctx, func(ctx context.Context) error { return command.Run(ctx, n) })
}

func (c Confirm) within() time.Duration {
	if c.Within == 0 {
		return 30 * time.Second
	}
	return c.Within
}

func (c Confirm) await(ctx context.Context, attempt func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, c.within())
	defer cancel()
	again := time.NewTicker(time.Second)
	defer again.Stop()
	var last error
	for {
		err := attempt(limited)
		switch {
		case err == nil:
			return nil
		case last == nil || limited.Err() == nil: // one that was cut short says less
			last = err
		}
		select {
		case <-again.C:
		case <-limited.Done():
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if limited.Err() != nil {
			return fmt.Errorf("not confirmed within %s: %s: %w", c.within(), Command{Argv: c.Argv}, last)
		}
	}
}

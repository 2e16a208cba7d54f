package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"outrider/secret"
	"outrider/serve"
)

func newRefresh(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "refresh [APP...]", Short: "Make the running sidecar look now, and wait for the outcome",
		RunE: func(c *cobra.Command, apps []string) error {
			client, err := o.client()
			if err != nil {
				return err
			}
			outcomes, err := client.Refresh(c.Context(), apps)
			if err != nil {
				return err
			}
			return o.printOutcomes(outcomes)
		},
	}
}

func (o *options) printOutcomes(outcomes []serve.Outcome) error {
	var failed []error
	for _, out := range outcomes {
		switch {
		case out.Error != "":
			failed = append(failed, ofApp(out.App, out.Error))
		case out.Changed:
			_, _ = fmt.Fprintf(o.out, "%s: generation %d\n", out.App, out.Generation)
		default:
			_, _ = fmt.Fprintf(o.out, "%s: unchanged\n", out.App)
		}
	}
	return errors.Join(failed...)
}

func newWait(o *options) *cobra.Command {
	var timeout time.Duration
	c := &cobra.Command{
		Use: "wait APP", Short: "Return when the app's files are current", Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			ctx := c.Context()
			if timeout > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, timeout)
				defer cancel()
			}
			client, err := o.client()
			if err != nil {
				return err
			}
			return waitFor(ctx, client, args[0], timeout)
		},
	}
	c.Flags().DurationVar(&timeout, "timeout", 0, "give up after this long (default: never)")
	return c
}

// waitFor waits for the app, and for a sidecar that is still to start or is
// being restarted.
func waitFor(ctx context.Context, client serve.Client, app string, timeout time.Duration) error {
	for {
		err := client.Wait(ctx, app)
		if !errors.Is(err, serve.ErrNoSidecar) && !errors.Is(err, serve.ErrStopping) && ctx.Err() == nil {
			return err
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			if errors.Is(err, serve.ErrNoSidecar) {
				return fmt.Errorf("app %s: not current after %s: %w", app, timeout, err)
			}
			return fmt.Errorf("app %s: not current after %s; outrider status says why", app, timeout)
		}
	}
}

func newCredentials(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "credentials ROLE", Short: "Print a session as credential_process wants it", Args: exactly(1),
		Long: "Print the role's session as credential_process wants it: from the running sidecar, or without one from a session of its own.",
		RunE: func(c *cobra.Command, args []string) error {
			document, err := o.credentials(c.Context(), args[0])
			if err != nil {
				return err
			}
			_, err = o.out.Write(document.Reveal())
			return err
		},
	}
}

func (o *options) credentials(ctx context.Context, role string) (secret.Value, error) {
	client, err := o.client()
	if err != nil {
		return secret.Value{}, err
	}
	document, err := client.Credentials(ctx, role)
	if !errors.Is(err, serve.ErrNoSidecar) {
		return document, err
	}
	o.quiet = true
	a, _, _, err := o.agent(nil)
	if err != nil {
		return secret.Value{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	credentials, err := a.Session(ctx, role)
	return credentials.Document(), err
}

func newStatus(o *options) *cobra.Command {
	var asJSON, watch bool
	c := &cobra.Command{
		Use: "status", Short: "Show how the running sidecar stands", Args: exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := o.client()
			if err != nil {
				return err
			}
			for {
				status, err := client.Status(c.Context())
				away := errors.Is(err, serve.ErrNoSidecar) || errors.Is(err, serve.ErrStopping)
				if err == nil {
					err = o.printStatus(status, asJSON, watch)
				} else if away && watch {
					err = o.printAway(err, asJSON)
				}
				if err != nil || !watch {
					return err
				}
				select {
				case <-time.After(2 * time.Second):
				case <-c.Context().Done():
					return nil
				}
			}
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON, one object (docs/operations.md)")
	c.Flags().BoolVar(&watch, "watch", false, "go on, every two seconds")
	return c
}

// printAway says why there is nothing to watch now.
func (o *options) printAway(why error, asJSON bool) error {
	if asJSON {
		return nil
	}
	o.clear()
	_, err := fmt.Fprintln(o.out, "outrider:", why)
	return err
}

// clear begins a terminal anew: home, clear.
func (o *options) clear() {
	if terminal(o.out) {
		_, _ = io.WriteString(o.out, "\x1b[H\x1b[2J")
	}
}

func (o *options) printStatus(s serve.Status, asJSON, watch bool) error {
	if asJSON {
		encoder := json.NewEncoder(o.out)
		if !watch {
			encoder.SetIndent("", "  ")
		}
		return encoder.Encode(s)
	}
	var table bytes.Buffer
	if err := writeTable(&table, s); err != nil {
		return err
	}
	if watch {
		o.clear()
	}
	text := table.String()
	if o.coloured(o.out) {
		text = paint(text)
	}
	_, err := io.WriteString(o.out, text)
	return err
}

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"outrider/agent"
)

func newCheck(o *options) *cobra.Command {
	var online bool
	c := &cobra.Command{
		Use: "check", Short: "Check configuration, templates, identities and destinations", Args: exactly(0),
		Long: "Check configuration, templates, identities and destinations of this host. It asks nobody on the network and changes nothing.",
		RunE: func(c *cobra.Command, _ []string) error {
			if online {
				return usageError{errors.New("check --online: not built yet")}
			}
			return o.check(c.Context())
		},
	}
	c.Flags().BoolVar(&online, "online", false, "walk the chain to AWS, too (not built yet)")
	return c
}

func (o *options) check(ctx context.Context) error {
	o.quiet = true
	a, c, _, err := o.agent(nil)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(o.out, "%-4s  configuration: %s\n", agent.OK, c.File)
	var failed []error
	for _, f := range a.Check(ctx, time.Now()) {
		if f.Verdict == agent.Fail {
			failed = append(failed, fmt.Errorf("%s: %s", f.Subject, f.Text))
			continue
		}
		_, _ = fmt.Fprintf(o.out, "%-4s  %s: %s\n", f.Verdict, f.Subject, f.Text)
	}
	return errors.Join(failed...)
}

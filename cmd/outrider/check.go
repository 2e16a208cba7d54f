package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"outrider/doctor"
)

func newCheck(o *options) *cobra.Command {
	var online, asJSON bool
	c := &cobra.Command{
		Use: "check", Short: "Check configuration, templates, identities and destinations", Args: exactly(0),
		Long: "Check configuration, templates, identities and destinations of this host. It changes nothing, and asks nobody on the network but with --online, " +
			"which opens a session for each role, reads each secret, tries each login of verify once, and looks for the units and processes that are to be told.",
		RunE: func(c *cobra.Command, _ []string) error {
			return o.check(c.Context(), online, asJSON)
		},
	}
	c.Flags().BoolVar(&online, "online", false, "walk the whole chain, to AWS and to the applications; 30s at most")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}

func (o *options) check(ctx context.Context, online, asJSON bool) error {
	o.quiet = true
	a, c, _, err := o.agent(nil)
	if err != nil {
		return err
	}
	findings := []doctor.Finding{{Verdict: doctor.OK, Subject: "configuration", Text: c.File}}
	for _, reason := range c.Weak {
		findings = append(findings, doctor.Finding{Verdict: doctor.Warn, Subject: "configuration", Text: reason})
	}
	if online {
		findings = append(findings, a.Examine(ctx)...)
	} else {
		findings = append(findings, a.Check(ctx, time.Now())...)
	}
	var failed []error
	for _, f := range findings {
		if f.Verdict == doctor.Fail {
			failed = append(failed, errors.New(f.String()))
		}
		if !asJSON {
			_, _ = fmt.Fprintf(o.out, "%-4s  %s\n", f.Verdict, f)
		}
	}
	if asJSON {
		err = o.printJSON(checked{Failed: len(failed), Findings: findings})
	}
	return errors.Join(append(failed, err)...)
}

// checked is what check --json prints.
type checked struct {
	Failed   int              `json:"failed"` // how many findings are failures
	Findings []doctor.Finding `json:"findings"`
}

package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"outrider/agent"
	"outrider/deliver"
)

func newPlan(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "plan [APP...]", Short: "Show which files would change and how, values redacted",
		Long: "Show which files would change and how: it reads the secrets and renders the files, and writes, verifies and tells nothing. Lines are counted, never shown.",
		RunE: func(c *cobra.Command, apps []string) error {
			o.quiet = true
			a, _, _, err := o.agent(nil)
			if err != nil {
				return err
			}
			previews, err := a.Plan(c.Context(), apps)
			if err != nil {
				return err
			}
			return o.printPlan(previews)
		},
	}
}

func (o *options) printPlan(previews []agent.Preview) error {
	var failed []error
	for _, p := range previews {
		if p.Err != nil {
			failed = append(failed, ofApp(p.App, p.Err.Error()))
		}
		for _, f := range p.Files {
			if f.Err != nil {
				failed = append(failed, fmt.Errorf("app %s: %w", p.App, f.Err))
				continue
			}
			_, _ = fmt.Fprintf(o.out, "%s: %s: %s%s\n", p.App, f.Destination, f.Effect, hunks(f.Hunks))
		}
	}
	return errors.Join(failed...)
}

// ofApp names the app in each line of an error's text.
func ofApp(app, text string) error {
	return errors.New("app " + app + ": " + strings.ReplaceAll(text, "\n", "\napp "+app+": "))
}

// hunks says where lines change: "12" or "3-5" of the old file, and how many
// give way to how many.
func hunks(list []deliver.Hunk) string {
	var words []string
	for _, h := range list {
		where := fmt.Sprintf("%d", h.Old)
		if h.OldLines > 1 {
			where = fmt.Sprintf("%d-%d", h.Old, h.Old+h.OldLines-1)
		}
		words = append(words, fmt.Sprintf("%s (-%d +%d)", where, h.OldLines, h.NewLines))
	}
	if len(words) == 0 {
		return ""
	}
	return ", lines " + strings.Join(words, ", ")
}

package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"outrider/agent"
	"outrider/deliver"
	"outrider/serve"
)

func newRetry(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "retry APP", Short: "Try again what the application did not run on", Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			client, err := o.client()
			if err != nil {
				return err
			}
			outcome, err := client.Retry(c.Context(), args[0])
			if err != nil {
				return err
			}
			return o.printOutcomes([]serve.Outcome{outcome})
		},
	}
}

func newHistory(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "history APP", Short: "Show an app's last generations", Args: exactly(1),
		Long: "Show an app's last generations: when, from which versions, which files, who was told, and how it ended. It reads the state folder and asks nobody.",
		RunE: func(_ *cobra.Command, args []string) error {
			c, err := o.load()
			if err != nil {
				return err
			}
			if _, ok := c.Apps[args[0]]; !ok {
				return &agent.UnknownError{Kind: "app", Name: args[0], Known: slices.Sorted(maps.Keys(c.Apps))}
			}
			generations, err := deliver.History(c.State, args[0])
			if err != nil {
				return err
			}
			return writeHistory(o.out, generations)
		},
	}
}

// writeHistory writes the generations, the newest last.
func writeHistory(out io.Writer, generations []deliver.Generation) error {
	if len(generations) == 0 {
		_, err := fmt.Fprintln(out, "no generation yet")
		return err
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "GENERATION\tWHEN\tENDING\tVERSIONS\tFILES\tTOLD\tOWED")
	for _, g := range generations {
		when := g.Begun
		if !g.Committed.IsZero() {
			when = g.Committed
		}
		var versions, told []string
		for _, name := range slices.Sorted(maps.Keys(g.Versions)) {
			versions = append(versions, name+"="+g.Versions[name].ID)
		}
		for _, to := range g.Told {
			told = append(told, fmt.Sprintf("%s (%s)", to.Target, to.Outcome))
		}
		_, _ = fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", g.Number, when.Local().Format(time.DateTime), g.Ending,
			strings.Join(versions, " "), strings.Join(g.Files, " "), dash(told), dash(g.Owed))
		if g.Reason != "" {
			_, _ = fmt.Fprintf(t, "\t  %s\n", g.Reason)
		}
	}
	return t.Flush()
}

func dash(words []string) string { return first(strings.Join(words, ", "), "-") }

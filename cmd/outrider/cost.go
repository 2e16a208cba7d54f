package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"outrider/cost"
)

// bills is what cost prints.
type bills struct {
	Hosts           int       `json:"hosts"`
	IntervalSeconds float64   `json:"interval_seconds"`
	Changes         float64   `json:"changes_per_secret_per_month"`
	Queue           bool      `json:"queue_configured"`
	Polling         cost.Bill `json:"without_queue"`
	Pushed          cost.Bill `json:"with_queue"`
	Stored          float64   `json:"stored_usd_per_month"`
	AsOf            string    `json:"prices_as_of"`
	Sources         []string  `json:"price_sources"`
}

func newCost(o *options) *cobra.Command {
	var hosts int
	var changes float64
	var asJSON bool
	c := &cobra.Command{
		Use: "cost", Short: "Print what a configuration costs", Args: exactly(0),
		Long: "Print how many calls a day the configuration makes in the steady state, by API, and what they cost a month: as it is polled, and with watch.queue. It asks nobody on the network.",
		RunE: func(*cobra.Command, []string) error {
			if hosts < 1 || !(changes >= 0 && changes <= 1e6) { // NaN is neither
				return usageError{errors.New("--hosts takes 1 or more, --changes 0 to a million")}
			}
			return o.cost(hosts, changes, asJSON)
		},
	}
	c.Flags().IntVar(&hosts, "hosts", 1, "how many hosts have this configuration")
	c.Flags().Float64Var(&changes, "changes", 1, "how often each secret and parameter changes a month")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}

func (o *options) cost(hosts int, changes float64, asJSON bool) error {
	o.quiet = true
	a, _, _, err := o.agent(nil)
	if err != nil {
		return err
	}
	plan := a.Costs(changes * 24 / 730)
	b := bills{
		Hosts: hosts, IntervalSeconds: plan.Interval.Seconds(), Changes: changes, Queue: plan.Queue,
		Stored: plan.Stored(), AsOf: cost.AsOf, Sources: cost.Sources(),
	}
	plan.Queue = false
	b.Polling = plan.Bill(hosts)
	plan.Queue = true
	b.Pushed = plan.Bill(hosts)
	if asJSON {
		return o.printJSON(b)
	}
	return b.write(o.out)
}

// write writes the bills for a person, side by side.
func (b bills) write(out io.Writer) error {
	lines := map[string][2]cost.Line{}
	for i, bill := range []cost.Bill{b.Polling, b.Pushed} {
		for _, l := range bill.Calls {
			pair := lines[l.Service+"."+l.Operation]
			pair[i] = l
			lines[l.Service+"."+l.Operation] = pair
		}
	}
	var text strings.Builder
	row := func(cells ...any) {
		line := fmt.Sprintf("%-40s %11s %9s  %11s %9s", cells...)
		text.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	amounts := func(name string, polling, pushed cost.Line) {
		row(name, number(polling.PerDay), dollars(polling.Dollars), number(pushed.PerDay), dollars(pushed.Dollars))
	}
	fmt.Fprintf(&text, "Hosts: %d. A look every %gs. Changes of each secret a month: %g.\n\n", b.Hosts, b.IntervalSeconds, b.Changes)
	row("", "polled", "", "with a queue", "")
	row("API", "calls a day", "$ a month", "calls a day", "$ a month")
	for _, name := range slices.Sorted(maps.Keys(lines)) {
		amounts(name, lines[name][0], lines[name][1])
	}
	amounts("all", cost.Line{PerDay: b.Polling.PerDay, Dollars: b.Polling.Dollars}, cost.Line{PerDay: b.Pushed.PerDay, Dollars: b.Pushed.Dollars})
	row("KMS besides, at most", "", dollars(b.Polling.KMS), "", dollars(b.Pushed.KMS))
	row("Parameter Store, at higher throughput", "", dollars(b.Polling.SSM), "", dollars(b.Pushed.SSM))
	fmt.Fprintf(&text, `
The secrets themselves cost the account $%.2f a month, whoever reads them.
KMS charges for reads of what customer keys protect. A batch counts as one call for each secret in it.
A path of parameters counts as one page. Starts, failures and the closer looks during a rotation are left out.
Prices of %s for us-east-1, free tiers left out, from
  %s
`, b.Stored, b.AsOf, strings.Join(b.Sources, "\n  "))
	_, err := io.WriteString(out, text.String())
	return err
}

func number(n float64) string {
	switch {
	case n == 0:
		return "-"
	case n < 10:
		return fmt.Sprintf("%.1f", n)
	default:
		return fmt.Sprintf("%.0f", n)
	}
}

func dollars(n float64) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", n)
}

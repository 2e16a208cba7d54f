package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"outrider/policy"
)

// policyOptions choose what of the policies is printed.
type policyOptions struct {
	role, app, only string
}

func newPolicy(o *options) *cobra.Command {
	var p policyOptions
	c := &cobra.Command{
		Use: "policy", Short: "Print what IAM and EventBridge need", Args: exactly(0),
		Long: "Print, for each role, the IAM policy with the least that the configuration needs, the trust policy for this host's certificate, and with watch.queue the event rule's pattern and the queue's policy. " +
			"It asks nobody on the network. What a person must know besides is on stderr.",
		Example: "  outrider policy --role billing --only iam-policy > policy.json\n" +
			"  aws iam put-role-policy --role-name billing --policy-name outrider --policy-document file://policy.json",
		RunE: func(c *cobra.Command, _ []string) error { return o.policy(c.Context(), p) },
	}
	c.Flags().StringVar(&p.role, "role", "", "only this role of the configuration")
	c.Flags().StringVar(&p.app, "app", "", "only what this app needs")
	c.Flags().StringVar(&p.only, "only", "", "print one document bare: iam-policy, trust-policy, event-rule or queue-policy")
	return withSystemd(c, o)
}

func (o *options) policy(ctx context.Context, p policyOptions) error {
	o.quiet = true
	a, _, _, err := o.agent(nil)
	if err != nil {
		return err
	}
	var apps []string
	if p.app != "" {
		apps = []string{p.app}
	}
	documents, err := a.Policies(ctx, apps)
	if err != nil {
		return err
	}
	if p.role != "" {
		d, ok := documents[p.role]
		if !ok {
			return usageError{fmt.Errorf("no role %q here; there are %v", p.role, slices.Sorted(maps.Keys(documents)))}
		}
		documents = map[string]policy.Documents{p.role: d}
	}
	var out any = documents
	if p.only != "" {
		if out, err = bare(documents, p.only); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(documents)) {
		for _, note := range documents[name].Notes {
			_, _ = fmt.Fprintf(o.err, "outrider: role %s: %s\n", name, note)
		}
	}
	return o.printJSON(out)
}

// bare is one document of the one role that there is, as the AWS CLI takes it
// from a file.
func bare(documents map[string]policy.Documents, only string) (any, error) {
	names := slices.Sorted(maps.Keys(documents))
	if len(names) != 1 {
		return nil, usageError{fmt.Errorf("--only %s: of which role? --role takes one of %v", only, names)}
	}
	d := documents[names[0]]
	var document any
	there := true
	switch only {
	case "iam-policy":
		document, there = d.IAM, d.IAM != nil
	case "trust-policy":
		document = d.Trust
	case "event-rule":
		document, there = d.EventRule, d.EventRule != nil
	case "queue-policy":
		document, there = d.QueuePolicy, d.QueuePolicy != nil
	default:
		return nil, usageError{fmt.Errorf("--only %q: give iam-policy, trust-policy, event-rule or queue-policy", only)}
	}
	if !there {
		return nil, fmt.Errorf("role %s needs no %s by this configuration", names[0], only)
	}
	return document, nil
}

func (o *options) printJSON(v any) error {
	encoder := json.NewEncoder(o.out)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(v)
}

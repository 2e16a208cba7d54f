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
	c.Flags().StringVar(&p.role, "role", "", "only this role of the configuration, by its name or an ARN, also of a role that its session goes on to")
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
		known := slices.Sorted(maps.Keys(documents))
		maps.DeleteFunc(documents, func(name string, d policy.Documents) bool {
			return name != p.role && !slices.Contains(chain(d), p.role)
		})
		if len(documents) == 0 {
			return usageError{fmt.Errorf("no role %q here; there are %v", p.role, known)}
		}
	}
	var out any = documents
	if p.only != "" {
		if out, err = bare(documents, p); err != nil {
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

// chain are the ARNs of a role and of those that its session goes on to.
func chain(d policy.Documents) []string {
	arns := []string{d.Role}
	for _, next := range d.Assumed {
		arns = append(arns, next.Role)
	}
	return arns
}

// bare is one document of the one role that there is, as the AWS CLI takes it
// from a file.
func bare(documents map[string]policy.Documents, p policyOptions) (any, error) {
	names := slices.Sorted(maps.Keys(documents))
	if len(names) != 1 {
		return nil, usageError{fmt.Errorf("--only %s: of which role? --role takes one of %v", p.only, names)}
	}
	d := documents[names[0]]
	iam, trust, link := d.IAM, d.Trust, slices.Index(chain(d), p.role)
	if link > 0 {
		iam, trust = d.Assumed[link-1].IAM, d.Assumed[link-1].Trust
	}
	if ofOne := p.only == "iam-policy" || p.only == "trust-policy"; ofOne && link < 0 && len(d.Assumed) > 0 {
		return nil, usageError{fmt.Errorf("--only %s: of which role? The session of %s goes on to others; --role takes one of %v", p.only, names[0], chain(d))}
	}
	var document any
	there := true
	switch p.only {
	case "iam-policy":
		document, there = iam, iam != nil
	case "trust-policy":
		document = trust
	case "event-rule":
		document, there = d.EventRule, d.EventRule != nil
	case "queue-policy":
		document, there = d.QueuePolicy, d.QueuePolicy != nil
	default:
		return nil, usageError{fmt.Errorf("--only %q: give iam-policy, trust-policy, event-rule or queue-policy", p.only)}
	}
	if !there {
		return nil, fmt.Errorf("role %s needs no %s by this configuration", names[0], p.only)
	}
	return document, nil
}

func (o *options) printJSON(v any) error {
	encoder := json.NewEncoder(o.out)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(v)
}

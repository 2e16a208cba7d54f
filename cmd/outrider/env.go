package main

import (
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"outrider/agent"
	"outrider/internal/config"
	"outrider/serve"
)

func newEnv(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "env ROLE", Short: "Print the variables that point an SDK at the sidecar", Args: exactly(1),
		Long: "Print the variables that point an SDK at the sidecar's endpoint for the role, one NAME=VALUE a line, as a systemd EnvironmentFile has them.",
		RunE: func(_ *cobra.Command, args []string) error {
			c, err := o.load()
			if err != nil {
				return err
			}
			lines, err := environment(c, args[0])
			if err != nil {
				return err
			}
			for _, line := range lines {
				if _, err := fmt.Fprintln(o.out, line); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// environment returns the variables for a role, of the container endpoint
// where it is served there, else of the IMDS endpoint.
func environment(c *config.Config, name string) ([]string, error) {
	role, ok := c.Roles[name]
	if !ok {
		return nil, &agent.UnknownError{Kind: "role", Name: name, Known: slices.Sorted(maps.Keys(c.Roles))}
	}
	l := c.Listen
	switch {
	case l.Credentials.Network == "unix":
		return serve.ContainerEnvironment("unix:"+l.Credentials.Address, name, "", role.Region)
	case l.Credentials.Address != "" && role.Token != nil:
		return serve.ContainerEnvironment(l.Credentials.Address, name, role.Token.File, role.Region)
	case l.IMDS.Address.Address != "" && l.IMDS.Role == name:
		return serve.IMDSEnvironment(l.IMDS.Address.Address, role.Region)
	}
	return nil, fmt.Errorf("role %s: no endpoint serves it; set listen.credentials and roles.%s.token", name, name)
}

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

// withSystemd gives the policy command its other half: what this machine,
// rather than AWS, must allow.
func withSystemd(c *cobra.Command, o *options) *cobra.Command {
	var systemd bool
	var into string
	c.Flags().BoolVar(&systemd, "systemd", false, "print the unit's drop-in and the polkit rule that the configuration needs on this machine instead")
	c.Flags().StringVar(&into, "into", "", "with --systemd: write them below this folder, / for this machine, instead of printing them")
	aws := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		switch {
		case !systemd && into != "":
			return usageError{errors.New("--into says where --systemd writes; give both, or take stdout")}
		case !systemd:
			return aws(c, args)
		}
		return o.policySystemd(into)
	}
	return c
}

// policySystemd prints the files, each under its name, or writes them.
func (o *options) policySystemd(into string) error {
	config, err := o.load()
	if err != nil {
		return err
	}
	s := newSandbox(config, o.getenv("OUTRIDER_INSTANCE"), outriderUser())
	for _, note := range s.notes {
		_, _ = fmt.Fprintln(o.err, "outrider: "+note)
	}
	for _, f := range s.files() {
		if into == "" {
			_, _ = fmt.Fprintf(o.out, "==> %s <==\n%s\n", f.path, f.text)
			continue
		}
		path := filepath.Join(into, f.path)
		//nolint:gosec // they say what is allowed, which everybody may know
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("policy: %w", err)
		}
		//nolint:gosec // likewise
		if err := os.WriteFile(path, []byte(f.text), 0o644); err != nil {
			return fmt.Errorf("policy: %w", err)
		}
		_, _ = fmt.Fprintln(o.out, path)
	}
	return nil
}

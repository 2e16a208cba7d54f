package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"outrider/agent"
	"outrider/internal/config"
	"outrider/serve"
)

// The exit codes, as docs/operations.md has them.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 64 // EX_USAGE of sysexits(3)
	exitConfig = 78 // EX_CONFIG
)

// version is set by the linker.
var version = "dev"

const defaultConfig = "/etc/outrider/outrider.yaml"

// streams are what a command may read and write.
type streams struct {
	in     io.Reader
	out    io.Writer
	err    io.Writer
	getenv func(string) string
}

// options are the global flags.
type options struct {
	streams
	config   string
	socket   string
	logLevel string
	splay    time.Duration // before the first session
	watchdog time.Duration // how often systemd wants to hear from the sidecar; 0: never
	service  bool          // started by systemd, with the unit's environment
	quiet    bool          // the command says by itself what went wrong: log only what is asked for
}

// usageError is a command line that says something wrong.
type usageError struct{ error }

// configError is a configuration, or a template's text, that says something
// wrong.
type configError struct{ error }

// run runs one command line and returns its exit code.
func run(ctx context.Context, args []string, s streams) int {
	root := newRoot(s)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	var (
		silent  *silentError
		usage   usageError
		wrong   configError
		unknown interface{ Unknown() bool }
	)
	if errors.As(err, &silent) {
		return silent.code
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		_, _ = fmt.Fprintln(s.err, "outrider: "+line)
	}
	switch {
	case errors.As(err, &wrong):
		return exitConfig
	case errors.As(err, &usage), errors.As(err, &unknown) && unknown.Unknown():
		return exitUsage
	}
	return exitFailed
}

// silentError ends a command that has said everything already.
type silentError struct{ code int }

func (e *silentError) Error() string { return fmt.Sprintf("exit %d", e.code) }

func newRoot(s streams) *cobra.Command {
	o := &options{streams: s}
	root := &cobra.Command{
		Use:               "outrider",
		Short:             "Keeps applications outside AWS supplied with live secrets",
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDescriptions: true},
		RunE: func(*cobra.Command, []string) error {
			return usageError{errors.New("which command? outrider --help lists them")}
		},
	}
	root.Args = func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return usageError{fmt.Errorf("no command %q; outrider --help lists them", args[0])}
	}
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; see %s --help", err, c.CommandPath())}
	})
	flags := root.PersistentFlags()
	flags.StringVarP(&o.config, "config", "c", "", "configuration file (default $OUTRIDER_CONFIG, else "+defaultConfig+")")
	flags.StringVar(&o.socket, "socket", "", "admin socket (default $OUTRIDER_SOCKET, else the configuration's)")
	flags.StringVar(&o.logLevel, "log-level", "", "debug, info, warn or error (default the configuration's)")
	root.AddCommand(
		newRun(o), newOnce(o), newCheck(o), newStatus(o), newRefresh(o), newWait(o),
		newCredentials(o), newEnv(o), newPlan(o), newRetry(o), newHistory(o), newPolicy(o), newCost(o), newLab(o), newDemo(o), newVersion(o),
	)
	for name, short := range map[string]string{
		"exec": "Run a command with an app's secrets in its environment",
	} {
		root.AddCommand(notBuilt(name, short))
	}
	root.InitDefaultCompletionCmd()
	if completion, _, err := root.Find([]string{"completion"}); err == nil {
		strict(completion)
	}
	return root
}

// strict makes cobra's own command take wrong words for what they are.
func strict(c *cobra.Command) {
	c.Args = exactly(0)
	c.RunE = func(c *cobra.Command, _ []string) error {
		return usageError{fmt.Errorf("which shell? %s --help lists them", c.CommandPath())}
	}
	for _, sub := range c.Commands() {
		sub.Args = exactly(0)
	}
}

// notBuilt is a command that the design names and nobody has built.
func notBuilt(name, short string) *cobra.Command {
	return &cobra.Command{
		Use: name, Short: short + " (not built yet)", Hidden: true, DisableFlagParsing: true,
		RunE: func(*cobra.Command, []string) error {
			return usageError{fmt.Errorf("%s: not built yet", name)}
		},
	}
}

// exactly takes n arguments, whose names usage shows.
func exactly(n int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != n {
			return usageError{fmt.Errorf("%s: %d arguments given, %d wanted; usage: %s", c.Name(), len(args), n, c.UseLine())}
		}
		return nil
	}
}

func newVersion(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: exactly(0),
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(o.out, "outrider", version)
			return err
		},
	}
}

// load reads the configuration that the flags and the environment name.
func (o *options) load() (*config.Config, error) {
	path := first(o.config, o.getenv("OUTRIDER_CONFIG"), defaultConfig)
	c, err := config.Load(path, o.asTheUnit)
	if err != nil {
		return nil, configError{err}
	}
	if socket := first(o.socket, o.getenv("OUTRIDER_SOCKET")); socket != "" {
		c.Listen.Admin = strings.TrimPrefix(socket, "unix:")
	}
	return c, nil
}

// trusted loads a configuration to act by. To ask a running sidecar, one that
// others may have changed does.
func (o *options) trusted() (*config.Config, error) {
	c, err := o.load()
	if err == nil && len(c.Untrusted) > 0 {
		return nil, configError{c.Untrusted}
	}
	return c, err
}

// agent loads the configuration and wires an agent to it. From here on the
// process holds secrets.
func (o *options) agent(notify func(string)) (*agent.Agent, *config.Config, *slog.Logger, error) {
	c, err := o.trusted()
	if err != nil {
		return nil, nil, nil, err
	}
	log, err := o.logger(c.Log)
	if err != nil {
		return nil, nil, nil, err
	}
	a, err := agent.New(c, agent.Options{Log: log, Version: version, Notify: notify, Splay: o.splay, Watchdog: o.watchdog})
	if err != nil {
		return nil, nil, nil, configError{err}
	}
	if err := hideMemory(); err != nil {
		log.Warn("core dumps not turned off", "error", err)
	}
	return a, c, log, nil
}

// client asks the sidecar on the socket that the flags, the environment or
// the configuration name. Only the last needs the configuration.
func (o *options) client() (serve.Client, error) {
	path := first(o.socket, o.getenv("OUTRIDER_SOCKET"))
	if path != "" {
		return serve.Client{Path: strings.TrimPrefix(path, "unix:")}, nil
	}
	c, err := o.load()
	if err != nil {
		return serve.Client{}, err
	}
	return serve.Client{Path: c.Listen.Admin}, nil
}

// first returns the first word that is not empty.
func first(words ...string) string {
	for _, w := range words {
		if w != "" {
			return w
		}
	}
	return ""
}

package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"outrider/confine"
	"outrider/internal/config"
)

func newRun(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "run", Short: "Run the sidecar until SIGTERM or SIGINT", Args: exactly(0),
		Long: "Run the sidecar until SIGTERM or SIGINT. SIGHUP reloads the configuration; a bad one is refused and the old one goes on. SIGUSR1 makes it look at all secrets now.",
		RunE: func(c *cobra.Command, _ []string) error { return o.run(c.Context()) },
	}
}

func (o *options) run(ctx context.Context) error {
	// Caught before anything else, so that no early signal is lost.
	ctx, stop := signal.NotifyContext(ctx, unix.SIGTERM, unix.SIGINT)
	defer stop()
	hangups, looks := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(hangups, unix.SIGHUP)
	signal.Notify(looks, unix.SIGUSR1)
	defer signal.Stop(hangups)
	defer signal.Stop(looks)

	saveMemory()
	o.splay, o.service = startSplay(), true
	o.watchdog, _ = daemon.SdWatchdogEnabled(false) // a wish that cannot be read has no watchdog behind it
	a, c, log, err := o.agent(shedding(tellSystemd))
	if err != nil {
		return err
	}
	if c.Confine {
		if err := confine.Apply(reach(c)); err != nil {
			return err
		}
	}
	log.Info("starting", "version", version, "config", c.File, "pid", os.Getpid())
	warn(log, c)
	group, ctx := errgroup.WithContext(ctx)
	running, end := context.WithCancel(ctx)
	group.Go(func() error {
		defer end()
		return a.Run(running)
	})
	group.Go(func() error {
		return each(running, hangups, func() {
			load := func() (*config.Config, error) {
				c, err := o.trusted()
				warn(log, c)
				return c, err
			}
			if err := a.Reload(running, load); err != nil && running.Err() == nil {
				log.Error("configuration refused", "error", err, "going_on_with_old", true)
			}
		})
	})
	group.Go(func() error { return each(running, looks, func() { a.LookNow(running) }) })
	err = group.Wait()
	log.Info("stopped")
	return err
}

// warn tells what is weak about a configuration; nil: nothing.
func warn(log *slog.Logger, c *config.Config) {
	if c == nil {
		return
	}
	for _, reason := range c.Weak {
		log.Warn("configuration weak", "reason", reason)
	}
}

// each calls f at each signal, until ctx ends.
func each(ctx context.Context, signals <-chan os.Signal, f func()) error {
	for {
		select {
		case <-signals:
			f()
		case <-ctx.Done():
			return nil
		}
	}
}

// startSplay returns how far the first CreateSession is put off: an account
// may make ten a second, and after a power cut every host of a site asks. A
// sidecar that is started on a machine long up asks at once.
func startSplay() time.Duration {
	var up unix.Sysinfo_t
	if err := unix.Sysinfo(&up); err != nil || time.Duration(up.Uptime)*time.Second > 5*time.Minute {
		return 0
	}
	return 3 * time.Second
}

// tellSystemd sends a state to the service manager, if one started us. What
// it does not take is lost on it alone.
func tellSystemd(state string) {
	if state == "RELOADING=1" {
		state += "\n" + daemon.SdNotifyMonotonicUsec() // systemd wants the clock in the same datagram
	}
	_, _ = daemon.SdNotify(false, state)
}

func newOnce(o *options) *cobra.Command {
	var silent bool
	c := &cobra.Command{
		Use: "once [APP...]", Short: "Bring apps up to date once, and end",
		Long: "Bring the named apps, or all, up to date once: read, render, commit, notify. Ends with 0 when all are current and nothing is owed.",
		RunE: func(c *cobra.Command, apps []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), unix.SIGTERM, unix.SIGINT)
			defer stop()
			o.quiet = true
			a, _, _, err := o.agent(nil)
			if err != nil {
				return err
			}
			return a.Once(ctx, apps, !silent)
		},
	}
	c.Flags().BoolVar(&silent, "no-notify", false, "tell nobody")
	return c
}

package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"outrider/agent"
)

func newRun(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "run", Short: "Run the sidecar until SIGTERM or SIGINT", Args: exactly(0),
		Long: "Run the sidecar until SIGTERM or SIGINT. SIGHUP reloads the configuration; a bad one is refused and the old one goes on.",
		RunE: func(c *cobra.Command, _ []string) error { return o.run(c.Context()) },
	}
}

func (o *options) run(ctx context.Context) error {
	// Caught before anything else, so that no early signal is lost.
	ctx, stop := signal.NotifyContext(ctx, unix.SIGTERM, unix.SIGINT)
	defer stop()
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, unix.SIGHUP)
	defer signal.Stop(hangups)

	a, c, err := o.agent(tellSystemd)
	if err != nil {
		return err
	}
	log, err := o.logger(c.Log)
	if err != nil {
		return err
	}
	if err := hideMemory(); err != nil {
		log.Warn("core dumps not turned off", "error", err)
	}
	log.Info("starting", "version", version, "config", c.File, "pid", os.Getpid())
	group, ctx := errgroup.WithContext(ctx)
	running, end := context.WithCancel(ctx)
	group.Go(func() error {
		defer end()
		return a.Run(running)
	})
	group.Go(func() error {
		for {
			select {
			case <-hangups:
				o.reload(running, a, log)
			case <-running.Done():
				return nil
			}
		}
	})
	err = group.Wait()
	log.Info("stopped")
	return err
}

// reload puts the configuration as it is on disk now in force, if it is right.
func (o *options) reload(ctx context.Context, a *agent.Agent, log *slog.Logger) {
	// systemd waits for READY again; it wants the clock in the same datagram.
	tellSystemd("RELOADING=1\n" + daemon.SdNotifyMonotonicUsec())
	defer tellSystemd("READY=1")
	c, err := o.load()
	if err == nil {
		err = a.Reload(ctx, c)
	}
	if err == nil || ctx.Err() != nil {
		return
	}
	log.Error("configuration refused", "error", err, "going_on_with_old", true)
	line, _, _ := strings.Cut(err.Error(), "\n")
	tellSystemd("STATUS=configuration refused, the old one goes on: " + line)
}

// hideMemory turns off core dumps of this process, and its memory to others of
// the same user (prctl(2)). Programs that it starts are as they always are.
func hideMemory() error { return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) }

// tellSystemd sends a state to the service manager, if one started us. What
// it does not take is lost on it alone.
func tellSystemd(state string) { _, _ = daemon.SdNotify(false, state) }

func newOnce(o *options) *cobra.Command {
	var silent bool
	c := &cobra.Command{
		Use: "once [APP...]", Short: "Bring apps up to date once, and end",
		Long: "Bring the named apps, or all, up to date once: read, render, commit, notify. Ends with 0 when all are current and nothing is owed.",
		RunE: func(c *cobra.Command, apps []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), unix.SIGTERM, unix.SIGINT)
			defer stop()
			a, _, err := o.agent(nil)
			if err != nil {
				return err
			}
			if err := hideMemory(); err != nil {
				return fmt.Errorf("turn core dumps off: %w", err)
			}
			return a.Once(ctx, apps, !silent)
		},
	}
	c.Flags().BoolVar(&silent, "no-notify", false, "tell nobody")
	return c
}

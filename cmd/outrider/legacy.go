package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// newLegacy is the program of the demo: it knows a properties file and
// nothing of AWS. It reads the file at its start and again on SIGHUP, and
// says which password it has by the beginning of its SHA-256.
func newLegacy(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "legacy PROPERTIES PIDFILE", Hidden: true, Args: exactly(2),
		Short: "The demo's program: reads a properties file at start and on SIGHUP",
		RunE: func(c *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), unix.SIGTERM, unix.SIGINT)
			defer stop()
			return o.legacy(ctx, args[0], args[1])
		},
	}
}

func (o *options) legacy(ctx context.Context, path, pidFile string) error {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, unix.SIGHUP)
	defer signal.Stop(hangups)
	if err := os.WriteFile(pidFile, fmt.Appendln(nil, os.Getpid()), 0o600); err != nil {
		return err
	}
	for {
		properties, err := readProperties(path)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(o.out, fingerprint(properties["db.password"])); err != nil {
			return err
		}
		select {
		case <-hangups:
		case <-ctx.Done():
			return nil
		}
	}
}

// readProperties reads the plain lines of a Java properties file.
func readProperties(path string) (map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	properties := map[string]string{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if key, value, ok := strings.Cut(lines.Text(), "="); ok && !strings.HasPrefix(key, "#") {
			properties[strings.TrimSpace(key)] = strings.TrimSpace(value)
		}
	}
	return properties, lines.Err()
}

// fingerprint tells passwords apart without showing one.
func fingerprint(password string) string {
	sum := sha256.Sum256([]byte(password))
	return hex.EncodeToString(sum[:6])
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"outrider/awslab"
	"outrider/serve"
)

const (
	demoSecret = "prod/billing/db"
	demoLimit  = 55 * time.Second // for all of it, so that it ends within the minute
)

func newDemo(o *options) *cobra.Command {
	var stay bool
	c := &cobra.Command{
		Use: "demo", Short: "Show the main job on an AWS in this process", Args: exactly(0),
		Long: "Show the main job on an AWS in this process: a session, a rendered file, rotations, a renewed certificate, an outage. Ends with 0 when all went as it should.",
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), unix.SIGTERM, unix.SIGINT)
			defer stop()
			return o.demo(ctx, stay)
		},
	}
	c.Flags().BoolVar(&stay, "stay", false, "stay up afterwards, and say how to look around")
	c.AddCommand(newLegacy(o))
	return c
}

// demo is one run of the demonstration.
type demo struct {
	out     io.Writer
	dir     string
	lab     *awslab.Lab
	setup   awslab.Setup
	client  serve.Client
	program *program // the legacy application
	want    string   // fingerprint of the password that is current
	failed  int
}

func (o *options) demo(ctx context.Context, stay bool) (err error) {
	dir, err := os.MkdirTemp("", "outrider-demo-")
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	d := &demo{out: o.out, dir: dir, client: serve.Client{Path: filepath.Join(dir, "outrider.sock")}}
	if d.lab, err = awslab.New(awslab.Options{}); err != nil {
		return err
	}
	ctx, end := context.WithCancel(ctx)
	defer end()
	listener, err := listenLoopback(ctx, "127.0.0.1:0")
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return serveLab(ctx, d.lab, listener) })
	group.Go(func() error {
		defer end()
		return d.play(ctx, "http://"+listener.Addr().String(), stay)
	})
	return group.Wait()
}

// play sets the stage, starts the sidecar and shows every step.
func (d *demo) play(ctx context.Context, endpoint string, stay bool) error {
	began := time.Now()
	if err := d.prepare(endpoint); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(d.out, "AWS in this process on %s, a sidecar and a legacy program as processes of their own, files in %s\n\n", endpoint, d.dir)
	sidecar, err := start(ctx, d.dir, "sidecar.log", "run", "--config", d.path("outrider.yaml"))
	if err != nil {
		return err
	}
	defer sidecar.stop()
	acts, cancel := context.WithTimeout(ctx, demoLimit)
	defer cancel()
	d.acts(acts, sidecar)
	if d.program != nil {
		defer d.program.stop()
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	took := time.Since(began).Round(100 * time.Millisecond)
	if d.failed > 0 {
		_, _ = fmt.Fprintf(d.out, "\n%d steps did not go as they should, %s. The sidecar's log:\n\n%s", d.failed, took, sidecar.log())
		return &silentError{exitFailed}
	}
	_, _ = fmt.Fprintf(d.out, "\nAll went as it should, in %s.\n", took)
	if stay {
		_, _ = fmt.Fprint(d.out, d.hints())
		<-ctx.Done()
	}
	return nil
}

// step shows one step and how long it took; what it returns is the detail.
func (d *demo) step(name string, act func() (string, error)) {
	began := time.Now()
	detail, err := act()
	mark := "ok"
	if err != nil {
		mark, detail = "FAIL", err.Error()
		d.failed++
	}
	_, _ = fmt.Fprintf(d.out, "%-5s %-34s %8s  %s\n", mark, name, time.Since(began).Round(time.Millisecond), detail)
}

// acts are the steps, in order.
func (d *demo) acts(ctx context.Context, sidecar *program) {
	d.step("identity loaded", func() (string, error) {
		s, err := d.await(ctx, func(s serve.Status) bool { return s.Identities["host"].Subject != "" })
		return fmt.Sprintf("%s, %s", s.Identities["host"].Subject, s.Identities["host"].Key), err
	})
	d.step("session opened", func() (string, error) {
		s, err := d.await(ctx, func(s serve.Status) bool { return s.Roles["billing"].AccessKeyID != "" })
		return "CreateSession with the host's key: " + s.Roles["billing"].AccessKeyID, err
	})
	d.step("file rendered", func() (string, error) {
		if err := d.client.Wait(ctx, "billing"); err != nil {
			return "", err
		}
		return "billing.properties, mode 0600", d.checkFile()
	})
	d.step("program started", func() (string, error) {
		var err error
		d.program, err = start(ctx, d.dir, "program.log", "demo", "legacy", d.path("billing.properties"), d.path("billing.pid"))
		if err != nil {
			return "", err
		}
		return "has read the password", d.program.says(ctx, d.want)
	})
	if d.program == nil {
		return
	}
	for i := range 3 {
		d.step(fmt.Sprintf("rotation %d", i+1), func() (string, error) {
			return "label moved → file changed → SIGHUP → program has re-read", d.rotateAndSee(ctx)
		})
	}
	d.step("host certificate renewed on disk", func() (string, error) { return d.renew(ctx) })
	d.step("session with the new certificate", func() (string, error) { return d.reopen(ctx) })
	d.step("AWS away, secret rotated meanwhile", func() (string, error) { return d.outage(ctx) })
	d.step("AWS back", func() (string, error) {
		d.lab.ClearFaults()
		return "program has re-read the password of the rotation it missed", d.program.says(ctx, d.want)
	})
	d.step("one process all along", func() (string, error) {
		if !sidecar.alive() || !d.program.alive() {
			return "", errors.New("a process has ended")
		}
		return fmt.Sprintf("sidecar %d, program %d", sidecar.pid(), d.program.pid()), nil
	})
}

// hints say how to look around.
func (d *demo) hints() string {
	self, err := os.Executable()
	if err != nil {
		self = "outrider"
	}
	return fmt.Sprintf(`
It stays up until Ctrl-C. In another terminal:
  %[1]s status --config %[2]s/outrider.yaml
  cat %[2]s/billing.properties %[2]s/sidecar.log %[2]s/program.log
To rotate the secret with the AWS CLI:
  export AWS_DEFAULT_REGION=%[4]s AWS_ACCESS_KEY_ID=%[5]s AWS_SECRET_ACCESS_KEY=%[6]s
  aws --endpoint-url %[3]s secretsmanager put-secret-value --secret-id %[7]s --secret-string '{"username":"billing","password":"new"}'
`, self, d.dir, d.setup.Endpoint, d.setup.Region, d.setup.AccessKeyID, d.setup.SecretAccessKey, demoSecret)
}

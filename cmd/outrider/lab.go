package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"outrider/awslab"
)

func newLab(o *options) *cobra.Command {
	var dir, address string
	var asJSON bool
	c := &cobra.Command{
		Use: "lab", Short: "Run AWS in one process on loopback, for trial and tests", Args: exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), unix.SIGTERM, unix.SIGINT)
			defer stop()
			return o.lab(ctx, dir, address, asJSON)
		},
	}
	c.Flags().StringVar(&dir, "dir", "", "folder for the certificate authority and a host certificate (default: a new one below $TMPDIR)")
	c.Flags().StringVar(&address, "listen", "127.0.0.1:0", "loopback address to listen on; port 0 picks a free one")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object on the first line, then serve")
	return c
}

func (o *options) lab(ctx context.Context, dir, address string, asJSON bool) error {
	lab, err := awslab.New(awslab.Options{})
	if err != nil {
		return err
	}
	if dir == "" {
		if dir, err = os.MkdirTemp("", "outrider-lab-"); err != nil {
			return fmt.Errorf("lab: %w", err)
		}
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	setup, err := lab.Write(dir)
	if err != nil {
		return err
	}
	listener, err := listenLoopback(ctx, address)
	if err != nil {
		return err
	}
	setup.Endpoint = "http://" + listener.Addr().String()
	path, err := lab.CreateQueue("outrider-lab")
	if err == nil {
		err = lab.Subscribe("outrider-lab", awslab.EventForm{})
	}
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	setup.Queue = setup.Endpoint + path
	if asJSON {
		err = json.NewEncoder(o.out).Encode(setup)
	} else {
		_, err = fmt.Fprint(o.out, labWords(setup, dir))
	}
	return errors.Join(err, serveLab(ctx, lab, listener))
}

// listenLoopback refuses every other address: the lab's keys are no secret.
func listenLoopback(ctx context.Context, address string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		return nil, usageError{fmt.Errorf("listen %q: give a loopback address and a port, such as 127.0.0.1:0", address)}
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	return listener, nil
}

// serveLab serves until ctx ends.
func serveLab(ctx context.Context, lab *awslab.Lab, listener net.Listener) error {
	server := &http.Server{Handler: lab, ReadHeaderTimeout: 10 * time.Second}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		<-ctx.Done()
		return server.Close()
	})
	group.Go(func() error { return server.Serve(listener) })
	if err := group.Wait(); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("lab: %w", err)
	}
	return nil
}

// labWords says how to use the lab, so that a person can paste it. A CLI of
// before 2023, such as Debian 12's, would go past the variable to the real AWS.
func labWords(s awslab.Setup, dir string) string {
	return fmt.Sprintf(`AWS answers on %[1]s until this process ends. Files are in %[2]s

For the AWS CLI and SDKs:
  export AWS_ENDPOINT_URL=%[1]s AWS_REGION=%[3]s AWS_DEFAULT_REGION=%[3]s
  export AWS_ACCESS_KEY_ID=%[4]s AWS_SECRET_ACCESS_KEY=%[5]s
  aws --endpoint-url %[1]s secretsmanager create-secret --name prod/db --secret-string '{"username":"app","password":"first"}'

For outrider.yaml (start it with AWS_ENDPOINT_URL=%[1]s):
  identities:
    host: {certificate: %[6]s, private_key: %[7]s}
  roles:
    lab:
      region: %[3]s
      trust_anchor: %[8]s
      profile: %[9]s
      role: %[10]s
  watch: {queue: "%[11]s"}
`, s.Endpoint, dir, s.Region, s.AccessKeyID, s.SecretAccessKey, s.Certificate, s.PrivateKey, s.TrustAnchor, s.Profile, s.Role, s.Queue)
}

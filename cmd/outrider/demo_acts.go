package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"outrider/awslab"
	"outrider/serve"
)

func (d *demo) path(name string) string { return filepath.Join(d.dir, name) }

// prepare writes what the sidecar needs: certificate, configuration,
// template; and puts the secret into the lab.
func (d *demo) prepare(endpoint string) error {
	setup, err := d.lab.Write(d.path("pki"))
	if err != nil {
		return err
	}
	d.setup = setup
	d.setup.Endpoint = endpoint
	configuration := fmt.Sprintf(`version: 1
identities:
  host: {certificate: %s, private_key: %s}
roles:
  billing:
    region: %s
    trust_anchor: %s
    profile: %s
    role: %s
    endpoints: {rolesanywhere: %[7]s, secretsmanager: %[7]s}
apps:
  billing:
    secrets:
      db: {secret: %[8]s}
    files:
      - {template: billing.properties.tmpl, destination: billing.properties}
    notify:
      - {signal: HUP, pid_file: billing.pid}
watch: {interval: 1s}
listen: {admin: "unix:outrider.sock"}
state: state
`, setup.Certificate, setup.PrivateKey, setup.Region, setup.TrustAnchor, setup.Profile, setup.Role, endpoint, demoSecret)
	template := "# The billing program knows this file and nothing of AWS.\n" +
		"db.url=jdbc:mysql://{{ .db.host }}:{{ .db.port }}/billing\n" +
		"db.user={{ .db.username }}\n" +
		"db.password={{ .db.password }}\n"
	return errors.Join(d.rotate(),
		os.WriteFile(d.path("outrider.yaml"), []byte(configuration), 0o600),
		os.WriteFile(d.path("billing.properties.tmpl"), []byte(template), 0o600),
	)
}

// rotate does what a rotation does: a new version as AWSPENDING, then the
// label AWSCURRENT moved to it.
func (d *demo) rotate() error {
	password := rand.Text()
	value := fmt.Sprintf(`{"host":"db.internal","port":3306,"username":"billing","password":%q}`, password)
	id, err := d.lab.PutSecret(demoSecret, value, "AWSPENDING")
	if err != nil {
		return err
	}
	d.want = fingerprint(password)
	return d.lab.MoveLabel(demoSecret, "AWSCURRENT", id)
}

func (d *demo) rotateAndSee(ctx context.Context) error {
	if err := d.rotate(); err != nil {
		return err
	}
	if err := d.program.says(ctx, d.want); err != nil {
		return err
	}
	return d.checkFile()
}

// checkFile compares the file with the password that is current.
func (d *demo) checkFile() error {
	properties, err := readProperties(d.path("billing.properties"))
	if err != nil {
		return err
	}
	if got := fingerprint(properties["db.password"]); got != d.want {
		return fmt.Errorf("the file has password %s, current is %s", got, d.want)
	}
	return nil
}

// renew replaces key and certificate one after the other, as a renewal hook
// does, and waits for the sidecar to have taken both up.
func (d *demo) renew(ctx context.Context) (string, error) {
	before, err := d.client.Status(ctx)
	if err != nil {
		return "", err
	}
	certificate, key, _, err := d.lab.Issue(awslab.LeafOptions{})
	if err != nil {
		return "", err
	}
	if err := errors.Join(replaceFile(d.setup.PrivateKey, key), replaceFile(d.setup.Certificate, certificate)); err != nil {
		return "", err
	}
	old := before.Identities["host"].Serial
	after, err := d.await(ctx, func(s serve.Status) bool { return s.Identities["host"].Serial != old })
	return fmt.Sprintf("serial …%s, was …%s, no restart", tail(after.Identities["host"].Serial), tail(old)), err
}

// reopen has the lab forget every session, and waits for the one that
// replaces it.
func (d *demo) reopen(ctx context.Context) (string, error) {
	before, err := d.client.Status(ctx)
	if err != nil {
		return "", err
	}
	d.lab.RevokeSessions()
	old := before.Roles["billing"].AccessKeyID
	after, err := d.await(ctx, func(s serve.Status) bool {
		now := s.Roles["billing"].AccessKeyID
		return now != "" && now != old
	})
	return fmt.Sprintf("old one refused, %s opened at once", after.Roles["billing"].AccessKeyID), err
}

// outage takes AWS away for three seconds, rotates the secret in the middle,
// and sees that the program goes on with its last good file.
func (d *demo) outage(ctx context.Context) (string, error) {
	if err := d.lab.AddFault(awslab.Fault{Kind: awslab.Drop}); err != nil {
		return "", err
	}
	before := d.want
	if err := d.rotate(); err != nil {
		return "", err
	}
	missed := d.want
	d.want = before
	defer func() { d.want = missed }()
	status, err := d.await(ctx, func(s serve.Status) bool { return s.Apps["billing"].State == serve.Failing })
	if err != nil {
		return "", err
	}
	select {
	case <-time.After(3 * time.Second):
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	if !d.program.alive() {
		return "", errors.New("the program has ended")
	}
	return "3 s, program goes on with its last good file; status says " + string(status.Apps["billing"].State), d.checkFile()
}

// await asks the sidecar until its status is as wanted.
func (d *demo) await(ctx context.Context, wanted func(serve.Status) bool) (serve.Status, error) {
	for {
		status, err := d.client.Status(ctx)
		if err == nil && wanted(status) {
			return status, nil
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return status, errors.Join(errors.New("did not come about in time"), err)
		}
	}
}

func replaceFile(path string, content []byte) error {
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func tail(s string) string { return s[max(0, len(s)-6):] }

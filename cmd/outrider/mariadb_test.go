package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"outrider/awslab"
	"outrider/internal/mariadbtest"
)

// TestPasswordInTheFileLogsInToARealDatabase rotates the password of a user
// of a real MariaDB and, as a rotation does, the secret with it. After each
// rotation what the file says logs in, and what it said before does not.
func TestPasswordInTheFileLogsInToARealDatabase(t *testing.T) {
	root := mariadbtest.Start(t, mariadbtest.Options{})
	dir := t.TempDir()
	lab, err := awslab.New(awslab.Options{})
	if err != nil {
		t.Fatal(err)
	}
	setup, err := lab.Write(filepath.Join(dir, "pki"))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(lab)
	t.Cleanup(server.Close)
	config := filepath.Join(dir, "outrider.yaml")
	text := fmt.Sprintf(`version: 1
identities: {host: {certificate: %s, private_key: %s}}
roles: {billing: {region: %s, trust_anchor: %s, profile: %s, role: %s}}
apps:
  billing:
    secrets: {db: {secret: prod/db}}
    files: [{content: "db.user={{ .db.username }}\ndb.password={{ .db.password }}\n", destination: db.properties}]
listen: {admin: "unix:outrider.sock"}
state: state
`, setup.Certificate, setup.PrivateKey, setup.Region, setup.TrustAnchor, setup.Profile, setup.Role)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	outrider := func(args ...string) error {
		var complaints strings.Builder
		code := run(t.Context(), append(args, "--config", config), streams{
			out: io.Discard, err: &complaints,
			getenv: func(name string) string {
				return map[string]string{"AWS_ENDPOINT_URL": server.URL}[name]
			},
		})
		if code != exitDone {
			return fmt.Errorf("outrider %v ended with %d: %s", args, code, complaints.String())
		}
		return nil
	}
	rotate := func() {
		t.Helper()
		password := rand.Text()
		root.SetPassword(t, "billing", password)
		if _, err := lab.PutSecret("prod/db", `{"username":"billing","password":"`+password+`"}`); err != nil {
			t.Fatal(err)
		}
	}
	login := func() func() error {
		t.Helper()
		properties, err := readProperties(filepath.Join(dir, "db.properties"))
		if err != nil {
			t.Fatal(err)
		}
		c := mysql.NewConfig()
		c.Net, c.Addr, c.Timeout, c.Logger = "unix", root.Socket, time.Minute, &mysql.NopLogger{}
		c.User, c.Passwd = properties["db.user"], properties["db.password"]
		return func() error { return ping(t.Context(), c) }
	}
	rotate()
	sidecar, ended := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(ended)
		sidecar <- outrider("run")
	}()
	t.Cleanup(func() { <-ended }) // before its folder goes
	if err := outrider("wait", "billing", "--timeout", "60s"); err != nil {
		t.Fatal(err)
	}
	before := login()
	for i := range 5 {
		if err := before(); err != nil {
			t.Fatalf("rotation %d: the file's password is refused: %v", i, err)
		}
		rotate()
		if err := outrider("refresh"); err != nil {
			t.Fatal(err)
		}
		var refused *mysql.MySQLError
		if err := before(); !errors.As(err, &refused) || refused.Number != 1045 {
			t.Errorf("rotation %d: the old password is not refused: %v", i, err)
		}
		before = login()
	}
	if err := before(); err != nil {
		t.Errorf("the last password is refused: %v", err)
	}
	select {
	case err := <-sidecar:
		t.Errorf("the sidecar has ended: %v", err)
	default:
	}
}

// ping logs in once and out again.
func ping(ctx context.Context, c *mysql.Config) error {
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return err
	}
	connection, err := connector.Connect(ctx)
	if err != nil {
		return err
	}
	return connection.Close()
}

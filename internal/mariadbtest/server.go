// Package mariadbtest starts throwaway MariaDB servers for tests.
package mariadbtest

import (
	"context"
	"crypto/sha1" //nolint:gosec // it is what mysql_native_password is made of
	"database/sql"
	"encoding/hex"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"golang.org/x/sys/unix"

	"outrider/internal/porttest"
)

// Options say how a server differs from one without TLS.
type Options struct {
	Certificate string   // path of PEM; empty: no TLS
	PrivateKey  string   // likewise
	Arguments   []string // more of them
}

// Server is a running server. It serves as a connection of its root, over the
// socket.
type Server struct {
	*sql.DB
	Socket string // path
	Port   string // on 127.0.0.1
}

// Start starts a server with a new, empty database, ended with the test. It
// skips the test where MariaDB is not installed, unless CI is "true": then the
// test fails.
func Start(tb testing.TB, o Options) *Server {
	tb.Helper()
	install, err := exec.LookPath("mariadb-install-db")
	if err != nil {
		if os.Getenv("CI") == "true" {
			tb.Fatal("MariaDB is not installed; scripts/setup installs it")
		}
		tb.Skip("MariaDB is not installed (scripts/setup)")
	}
	// A socket's path is short: the test's own folder may not be.
	dir, err := os.MkdirTemp("", "mariadb-") //nolint:usetesting // see above
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	// In a shared tmpdir each server that starts removes the others' tables.
	base := []string{"--no-defaults", "--datadir=" + filepath.Join(dir, "data"), "--tmpdir=" + dir}
	if os.Geteuid() == 0 {
		base = append(base, "--user=root")
	}
	prepare := exec.CommandContext(tb.Context(), install, append(base, "--auth-root-authentication-method=normal", "--skip-test-db")...)
	if out, err := prepare.CombinedOutput(); err != nil {
		tb.Fatalf("mariadb-install-db: %v\n%s", err, out)
	}
	s := &Server{Socket: filepath.Join(dir, "sock")}
	_, s.Port, _ = net.SplitHostPort(porttest.Free(tb))
	arguments := append(base, "--socket="+s.Socket, "--bind-address=127.0.0.1", "--port="+s.Port)
	if o.Certificate == "" {
		arguments = append(arguments, "--skip-ssl")
	} else {
		arguments = append(arguments, "--ssl-cert="+o.Certificate, "--ssl-key="+o.PrivateKey)
	}
	run(tb, exec.CommandContext(context.WithoutCancel(tb.Context()), "/usr/sbin/mariadbd", append(arguments, o.Arguments...)...))
	s.connect(tb)
	return s
}

// run starts the server and ends it with the test.
func run(tb testing.TB, daemon *exec.Cmd) {
	tb.Helper()
	if err := daemon.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = daemon.Process.Signal(unix.SIGTERM)
		_ = daemon.Wait() // it ends by the signal
	})
}

// connect waits until the server answers.
func (s *Server) connect(tb testing.TB) {
	tb.Helper()
	c := mysql.NewConfig()
	c.User, c.Net, c.Addr, c.Timeout = "root", "unix", s.Socket, time.Second
	c.Logger = &mysql.NopLogger{}
	connector, err := mysql.NewConnector(c)
	if err != nil {
		tb.Fatal(err)
	}
	s.DB = sql.OpenDB(connector)
	tb.Cleanup(func() { _ = s.Close() })
	deadline, cancel := context.WithTimeout(tb.Context(), 3*time.Minute)
	defer cancel()
	for s.PingContext(deadline) != nil {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-deadline.Done():
			tb.Fatal("MariaDB does not answer within three minutes")
		}
	}
}

// Do executes a statement as root. When it does not go through the test fails
// without showing it: it may hold a password.
func (s *Server) Do(tb testing.TB, statement string) {
	tb.Helper()
	if _, err := s.ExecContext(tb.Context(), statement); err != nil {
		verb, _, _ := strings.Cut(statement, " ")
		tb.Fatalf("%s does not go through", verb)
	}
}

// SetPassword creates the user, unless it is there, and sets its password,
// both of any characters.
func (s *Server) SetPassword(tb testing.TB, user, password string) {
	tb.Helper()
	once := sha1.Sum([]byte(password)) //nolint:gosec // see above
	twice := sha1.Sum(once[:])         //nolint:gosec // see above
	s.Do(tb, "CREATE OR REPLACE USER "+Quote(user)+" IDENTIFIED BY PASSWORD '*"+strings.ToUpper(hex.EncodeToString(twice[:]))+"'")
}

// Quote returns text as a string of SQL.
func Quote(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\x00", `\0`).Replace(text) + "'"
}

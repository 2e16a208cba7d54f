package verify

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

const (
	connectLimit = 5 * time.Second
	loginLimit   = 10 * time.Second // in all
)

// TLS says how the connection to a server is protected.
type TLS string

// The kinds of protection, as libmysqlclient has them. None falls back to
// plaintext: a server that offers no TLS is Inconclusive unless it is Off.
// The empty TLS is VerifyFull.
const (
	VerifyFull TLS = "verify-full" // the certificate is trusted and names the host
	VerifyCA   TLS = "verify-ca"   // the certificate is trusted
	Require    TLS = "require"     // any certificate
	Off        TLS = "off"         // plaintext
)

// MySQL logs in to a MySQL or MariaDB server with the fields of a secret,
// asks SELECT 1 and says goodbye: one login, whose connection takes at most 5
// seconds and which takes at most 10 in all.
//
// The secret is a JSON object of the form that AWS's rotation functions use:
// username, password, and perhaps host, port (3306) and dbname. Its ssl is
// not heeded: what protects the password is for the configuration to say.
//
// Wrong is the server's error 1045 or 1698 on a connection as TLS asks for
// it. With Require or Off that server may be anybody, which is what the
// operator has chosen to accept.
type MySQL struct {
	Secret  string // its name in the snapshot
	Address string // host, host:port, or unix:/path of a socket, which needs no TLS; empty: the secret's host and port
	TLS     TLS
	CA      string // path of the authorities as PEM, read anew each time; empty: the system's

	// Dial connects; nil: as a net.Dialer does.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// String returns the name of the secret, and the address when it is not the
// secret's own.
func (m MySQL) String() string {
	s := "mysql " + m.Secret
	if m.Address != "" {
		s += " at " + m.Address
	}
	return s
}

// Verify logs in once.
func (m MySQL) Verify(ctx context.Context, t Trial) Result {
	a, err := accountOf(t.Snapshot, m.Secret)
	if err != nil {
		return Result{Inconclusive, err}
	}
	l := &login{dial: m.Dial}
	config, err := m.config(a, l)
	if err != nil {
		return Result{Inconclusive, err}
	}
	ctx, cancel := context.WithTimeout(ctx, loginLimit)
	defer cancel()
	return l.judge(ctx, l.try(ctx, config))
}

// config returns how to log in as a, watched by l.
func (m MySQL) config(a account, l *login) (*mysql.Config, error) {
	c := mysql.NewConfig()
	c.User, c.Passwd, c.DBName = a.user, a.password, a.database
	c.Timeout, c.WriteTimeout = connectLimit, connectLimit
	c.Logger = &mysql.NopLogger{}
	c.ConnectionAttributes = "program_name:outrider"
	c.DialFunc = l.connect
	if path, ok := strings.CutPrefix(m.Address, "unix:"); ok {
		c.Net, c.Addr, l.agreed = "unix", path, true
		c.AllowCleartextPasswords = true // for PAM: such a server gets the password itself
		return c, nil
	}
	host, port := a.host, cmp.Or(a.port, "3306")
	if m.Address != "" {
		host = strings.Trim(m.Address, "[]")
		if h, p, err := net.SplitHostPort(m.Address); err == nil {
			host, port = h, p
		}
	}
	if host == "" {
		return nil, fmt.Errorf("secret %s has no host: add it, or give the check an address", m.Secret)
	}
	c.Net, c.Addr = "tcp", net.JoinHostPort(host, port)
	if m.TLS == Off {
		l.agreed, l.plain = true, true
		return c, nil
	}
	var err error
	c.TLS, err = m.protection(host, l)
	c.AllowCleartextPasswords = m.TLS != Require // likewise
	return c, err
}

// protection returns the TLS that m asks for.
func (m MySQL) protection(host string, l *login) (*tls.Config, error) {
	c := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	if m.CA != "" {
		text, err := os.ReadFile(m.CA)
		if err != nil {
			return nil, fmt.Errorf("ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("ca: %s holds no certificate: put the authority's there, as PEM", m.CA)
		}
	}
	c.InsecureSkipVerify = m.TLS == Require || m.TLS == VerifyCA // the latter is verified here:
	c.VerifyConnection = func(s tls.ConnectionState) error {
		if m.TLS == VerifyCA {
			o := x509.VerifyOptions{Roots: c.RootCAs, Intermediates: x509.NewCertPool()}
			for _, above := range s.PeerCertificates[1:] {
				o.Intermediates.AddCert(above)
			}
			if _, err := s.PeerCertificates[0].Verify(o); err != nil {
				return err
			}
		}
		l.agreed = true
		return nil
	}
	return c, nil
}

// errWantsPassword is for a server that asks for more than a proof that the
// password is known, where others could read it.
var errWantsPassword = errors.New("the server wants the password itself, which is not sent without TLS: set tls: verify-full")

// login is one login, and what is learnt on the way.
type login struct {
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
	plain  bool     // over TCP without TLS
	conn   net.Conn // once connected
	agreed bool     // the connection is protected as asked for: what the server says counts
	asked  bool     // errWantsPassword
}

// try logs in and out again. The driver is used without database/sql, which
// would log in again by itself when a connection breaks.
func (l *login) try(ctx context.Context, config *mysql.Config) (err error) {
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return err
	}
	defer func() {
		// The driver trusts the length of what it reads. Nothing that a
		// server sends may end this process.
		if recover() != nil {
			err = mysql.ErrMalformPkt
			if l.conn != nil {
				_ = l.conn.Close()
			}
		}
	}()
	connection, err := connector.Connect(ctx)
	if err != nil {
		return err
	}
	defer connection.Close()
	// MariaDB lets a user in whose password has expired, and tells by this.
	if q, ok := connection.(driver.ExecerContext); ok {
		_, err = q.ExecContext(ctx, "SELECT 1", nil)
	}
	return err
}

func (l *login) connect(ctx context.Context, network, address string) (net.Conn, error) {
	dial := l.dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	conn, err := dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	l.conn = conn
	if l.plain {
		return &plaintext{Conn: conn, login: l}, nil
	}
	return conn, nil
}

// plaintext is a connection that others can read and change.
type plaintext struct {
	net.Conn
	login *login
}

// Write refuses the request for a public key to encrypt the password with:
// whoever answers with a key of his own gets the password. The driver writes
// one whole packet at a time.
//
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_caching_sha2_authentication_exchanges.html
func (p *plaintext) Write(b []byte) (int, error) {
	// One byte, and not the first packet of a command: there 1 is COM_QUIT.
	if len(b) == 5 && b[3] != 0 && (b[4] == 1 || b[4] == 2) {
		p.login.asked = true
		return 0, errWantsPassword
	}
	return p.Conn.Write(b)
}

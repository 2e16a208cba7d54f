package verify

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/go-sql-driver/mysql"
)

// judge turns what came of a login into a result. Nobody else's text is in
// it: a server's names the user, a resolver's the host.
func (l *login) judge(ctx context.Context, err error) Result {
	var refused *mysql.MySQLError
	switch {
	case err == nil:
		return Result{Verdict: OK}
	case errors.As(err, &refused):
		return l.refusal(refused.Number)
	case l.asked:
		return Result{Inconclusive, errWantsPassword}
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return Result{Inconclusive, fmt.Errorf("no answer within %s: see whether the server is well and what is between", loginLimit)}
	case ctx.Err() != nil:
		return Result{Inconclusive, fmt.Errorf("called off: %w", context.Cause(ctx))}
	}
	return Result{Inconclusive, errors.New(trouble(err))}
}

// refusal is the result for an error of the server's.
func (l *login) refusal(code uint16) Result {
	reason := fmt.Errorf("MySQL error %d: %s", code, meaning(code))
	switch {
	case code != 1045 && code != 1698:
		return Result{Inconclusive, reason}
	case !l.agreed:
		return Result{Inconclusive, fmt.Errorf("%w, but said before TLS was agreed on, as anybody could: see what is between", reason)}
	case l.plain:
		return Result{Wrong, fmt.Errorf("%w; without TLS that may also be since the server wants TLS for this user", reason)}
	}
	return Result{Wrong, reason}
}

// meaning explains an error of MySQL or MariaDB.
//
// https://dev.mysql.com/doc/mysql-errors/en/server-error-reference.html,
// https://mariadb.com/kb/en/mariadb-error-code-reference/
func meaning(code uint16) string {
	switch code {
	case 1045, 1698:
		return "access denied for this user name and password"
	case 1040, 1203, 1226:
		return "too many connections: see what holds them, or allow more"
	case 1044:
		return "the user may not use the database that dbname names: grant it, or correct dbname"
	case 1049:
		return "there is no database of the name in dbname: create it, or correct dbname"
	case 1129:
		return "this host is blocked after too many connection errors: FLUSH HOSTS on the server"
	case 1130:
		return "this host may not connect: allow the user from this host"
	case 1251, 1524:
		return "server and client have no way of authentication in common: give the user another plugin"
	case 1820, 1862:
		return "the password has expired: set it anew, or let it not expire"
	case 3118, 4151:
		return "the account is locked: ALTER USER … ACCOUNT UNLOCK on the server"
	case 3955, 4150:
		return "the account is blocked after too many wrong passwords: unblock it on the server"
	case 3159:
		return "the server takes no connection without TLS: set tls: verify-full"
	}
	return "the server does not let this login through: look the number up in its manual"
}

// trouble explains what kept a login from being judged by the server.
func trouble(err error) string {
	var (
		name      *net.DNSError
		errno     syscall.Errno
		timeout   net.Error
		host      x509.HostnameError
		authority x509.UnknownAuthorityError
		invalid   x509.CertificateInvalidError
		alert     tls.AlertError
		record    tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &host) && len(host.Certificate.DNSNames)+len(host.Certificate.IPAddresses) == 0:
		return "TLS: the server's certificate has no names in it: issue it anew, or set tls: verify-ca"
	case errors.As(err, &host):
		return "TLS: the server's certificate is for " + names(host.Certificate) + ", not for the host asked for: correct the address, or issue it anew"
	case errors.As(err, &authority):
		return "TLS: the server's certificate is of an authority that is not trusted: name its file as ca"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "TLS: the server's certificate is not valid at this time: renew it, or set this host's clock"
	case errors.As(err, &invalid):
		return "TLS: the server's certificate is not fit for its use: issue it anew"
	case errors.As(err, &alert), errors.As(err, &record):
		return "TLS: the server and this host do not agree: see which versions of TLS it offers"
	case errors.Is(err, mysql.ErrNoTLS):
		return "TLS: the server offers none: turn it on there, or set tls: off to do without"
	case errors.As(err, &name):
		return "the host's name cannot be resolved: correct it, or see to the resolver"
	case errors.As(err, &errno):
		return "cannot connect: " + errno.Error() + ": see whether the server is up, and the address right"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Sprintf("cannot connect within %s: see what is between this host and the server", connectLimit)
	case errors.Is(err, mysql.ErrInvalidConn):
		return "the connection broke off: see the server's log"
	case errors.Is(err, mysql.ErrUnknownPlugin), errors.Is(err, mysql.ErrCleartextPassword), errors.Is(err, mysql.ErrOldPassword):
		return "the user's way of authentication is not known here, or not safe on this connection: give the user another plugin"
	}
	return "the server does not speak MySQL's protocol: see whether the port is right"
}

// names lists what a certificate is for.
func names(c *x509.Certificate) string {
	all := c.DNSNames
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	return strings.Join(all, ", ")
}

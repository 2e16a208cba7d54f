package verify

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"go.uber.org/goleak"

	"outrider/internal/mariadbtest"
	"outrider/internal/pkitest"
	"outrider/secret"
)

func TestMain(m *testing.M) {
	// The driver's own goroutine stays when the driver panics on what it reads.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/go-sql-driver/mysql.(*mysqlConn).startWatcher.func1"))
}

// fields are those of a secret.
type fields map[string]any

func versionOf(t *testing.T, f fields) secret.Version {
	t.Helper()
	text, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	return secret.Version{Value: secret.NewValue(text)}
}

// trial returns a trial of one secret, db.
func trial(t *testing.T, f fields) Trial {
	t.Helper()
	versions := map[string]secret.Version{"db": versionOf(t, f)}
	return Trial{App: "billing", Generation: 7, Now: time.Now(), Snapshot: secret.NewSnapshot(time.Now(), versions)}
}

// pki is what a server and its clients trust and show.
type pki struct{ certificate, key, ca, otherCA string }

func newPKI(t *testing.T) pki {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ca, other := pkitest.NewRoot(t, "ca"), pkitest.NewRoot(t, "another ca")
	leaf := ca.Leaf(t, pkitest.Options{Edit: func(c *x509.Certificate) {
		c.DNSNames, c.IPAddresses = []string{"db.test"}, []net.IP{net.IPv4(127, 0, 0, 1)}
	}})
	return pki{
		certificate: write("server.pem", leaf.Certificate), key: write("server.key", leaf.PrivateKey),
		ca: write("ca.pem", pkitest.CertificatePEM(ca.Certificate)), otherCA: write("other.pem", pkitest.CertificatePEM(other.Certificate)),
	}
}

// expect fails the test unless the result is of that verdict, with a reason
// that holds want, and shows none of the secret's fields.
func expect(t *testing.T, got Result, verdict Verdict, want string, f fields) {
	t.Helper()
	if got.Verdict != verdict || (got.Err == nil) != (verdict == OK) {
		t.Fatalf("got %q, %v; want %q, %s", got.Verdict, got.Err, verdict, want)
	}
	if verdict == OK {
		return
	}
	if !strings.Contains(got.Err.Error(), want) {
		t.Errorf("got %v, want %q", got.Err, want)
	}
	for name, value := range f {
		if text, ok := value.(string); ok && len(text) > 3 && strings.Contains(got.Err.Error(), text) {
			t.Errorf("the reason shows the secret's %s", name)
		}
	}
}

// nasty is a password of every character below 128 and some beyond.
func nasty() string {
	var b strings.Builder
	for c := range rune(128) {
		b.WriteRune(c)
	}
	return b.String() + "ä€😀\u2028\ufeff" + strings.Repeat("x", 100)
}

func TestMySQLAgainstAServerWithTLS(t *testing.T) {
	const user, password = "canary_user", "canary-password"
	files := newPKI(t)
	db := mariadbtest.Start(t, mariadbtest.Options{Certificate: files.certificate, PrivateKey: files.key})
	address := "127.0.0.1:" + db.Port
	good := MySQL{Secret: "db", Address: address, CA: files.ca}
	right := fields{"username": user, "password": password}
	with := func(changed fields) fields {
		all := fields{"username": user, "password": password}
		maps.Copy(all, changed)
		return all
	}
	at := func(change func(*MySQL)) MySQL {
		m := good
		change(&m)
		return m
	}
	otherPort := func(m *MySQL) { m.Address = "db.test:1" }
	port, err := strconv.Atoi(db.Port)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		check   MySQL
		fields  fields
		setup   []string // statements
		verdict Verdict
		want    string
	}{
		{"the right password", good, right, nil, OK, ""},
		{"a wrong password", good, with(fields{"password": "canary-wrong"}), nil, Wrong, "1045: access denied"},
		{"an empty password", good, with(fields{"password": ""}), nil, Wrong, "1045: access denied"},
		{"an unknown user", good, with(fields{"username": "canary-nobody"}), nil, Wrong, "1045: access denied"},
		{"a user who comes in by the socket alone", good, right, []string{"CREATE OR REPLACE USER canary_user IDENTIFIED VIA unix_socket"}, Wrong, "access denied"},
		{"a database that there is", good, with(fields{"dbname": "mysql"}), []string{"GRANT ALL ON mysql.* TO canary_user"}, OK, ""},
		{"a database that there is not", good, with(fields{"dbname": "canary_none"}), []string{"GRANT ALL ON *.* TO canary_user"}, Inconclusive, "1049: "},
		{"a database that is not granted", good, with(fields{"dbname": "mysql"}), nil, Inconclusive, "1044: "},
		{"a locked account", good, right, []string{"ALTER USER canary_user ACCOUNT LOCK"}, Inconclusive, "4151: the account is locked"},
		{"an expired password, when the server refuses it", good, right,
			[]string{"ALTER USER canary_user PASSWORD EXPIRE", "SET GLOBAL disconnect_on_expired_password = ON"}, Inconclusive, "1862: the password has expired"},
		{"an expired password, when the server lets it in", good, right,
			[]string{"ALTER USER canary_user PASSWORD EXPIRE", "SET GLOBAL disconnect_on_expired_password = OFF"}, Inconclusive, "1820: the password has expired"},
		{"a user of whom TLS is required, without it", at(func(m *MySQL) { m.TLS = Off }), right, []string{"ALTER USER canary_user REQUIRE SSL"}, Wrong, "wants TLS for this user"},
		{"a server that takes TLS alone, without it", at(func(m *MySQL) { m.TLS = Off }), right, []string{"SET GLOBAL require_secure_transport = ON"}, Wrong, "wants TLS for this user"},
		{"an authority that is not trusted", at(func(m *MySQL) { m.CA = files.otherCA }), right, nil, Inconclusive, "of an authority that is not trusted"},
		{"the same with verify-ca", at(func(m *MySQL) { m.CA, m.TLS = files.otherCA, VerifyCA }), right, nil, Inconclusive, "of an authority that is not trusted"},
		{"the same with require", at(func(m *MySQL) { m.CA, m.TLS = files.otherCA, Require }), right, nil, OK, ""},
		{"a wrong password with require", at(func(m *MySQL) { m.CA, m.TLS = files.otherCA, Require }), with(fields{"password": "canary-wrong"}), nil, Wrong, "1045: access denied"},
		{"the system's authorities, which do not know the server", at(func(m *MySQL) { m.CA = "" }), right, nil, Inconclusive, "name its file as ca"},
		{"a wrong host name", at(func(m *MySQL) { m.Address = "localhost:" + db.Port }), right, nil, Inconclusive, "is for db.test, 127.0.0.1, not for the host"},
		{"a wrong host name with verify-ca", at(func(m *MySQL) { m.Address, m.TLS = "localhost:"+db.Port, VerifyCA }), right, nil, OK, ""},
		{"an authority's file that is not there", at(func(m *MySQL) { m.CA = "/no/such/ca.pem" }), right, nil, Inconclusive, "ca: open /no/such/ca.pem: no such file"},
		{"an authority's file without a certificate", at(func(m *MySQL) { m.CA = files.key }), right, nil, Inconclusive, "holds no certificate"},
		{"no server there", at(func(m *MySQL) { m.Address = "127.0.0.1:1" }), right, nil, Inconclusive, "connection refused: see whether the server is up"},
		{"a host that has no address", at(otherPort), right, nil, Inconclusive, "cannot be resolved"},
		{"plaintext, when it is asked for", at(func(m *MySQL) { m.TLS = Off }), right, nil, OK, ""},
		{"a wrong password in plaintext", at(func(m *MySQL) { m.TLS = Off }), with(fields{"password": "canary-wrong"}), nil, Wrong, "1045: access denied"},
		{"the secret's own host and port", at(func(m *MySQL) { m.Address = "" }), with(fields{"host": "127.0.0.1", "port": port}), nil, OK, ""},
		{"a port that is text", at(func(m *MySQL) { m.Address = "" }), with(fields{"host": "127.0.0.1", "port": db.Port}), nil, OK, ""},
		{"an address without a port", at(func(m *MySQL) { m.Address = "127.0.0.1" }), with(fields{"host": "canary.test", "port": port}), nil, OK, ""},
		{"a secret that says ssl: false, which is not heeded", at(func(m *MySQL) { m.CA = files.otherCA }), with(fields{"ssl": false}), nil, Inconclusive, "TLS: "},
		{"the socket, which needs no TLS", MySQL{Secret: "db", Address: "unix:" + db.Socket}, right, nil, OK, ""},
		{"a wrong password by the socket", MySQL{Secret: "db", Address: "unix:" + db.Socket}, with(fields{"password": "canary-wrong"}), nil, Wrong, "1045: access denied"},
		{"a socket that is not there", MySQL{Secret: "db", Address: "unix:/no/such/socket"}, right, nil, Inconclusive, "no such file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			db.Do(t, "SET GLOBAL disconnect_on_expired_password = OFF")
			db.Do(t, "SET GLOBAL require_secure_transport = OFF")
			db.SetPassword(t, user, password)
			for _, statement := range tt.setup {
				db.Do(t, statement)
			}
			expect(t, tt.check.Verify(t.Context(), trial(t, tt.fields)), tt.verdict, tt.want, tt.fields)
		})
	}
	t.Run("any characters in user name and password", func(t *testing.T) {
		for _, user := range []string{"o'brien", "a\"b`c\\d%20@ :/?", "größe€"} {
			db.SetPassword(t, user, nasty())
			f := fields{"username": user, "password": nasty()}
			expect(t, good.Verify(t.Context(), trial(t, f)), OK, "", f)
			f["password"] = nasty() + "y"
			expect(t, good.Verify(t.Context(), trial(t, f)), Wrong, "1045", f)
		}
	})
	t.Run("an account that wrong passwords have blocked", func(t *testing.T) {
		db.Do(t, "SET GLOBAL max_password_errors = 1")
		db.SetPassword(t, user, password)
		wrong := with(fields{"password": "canary-wrong"})
		expect(t, good.Verify(t.Context(), trial(t, wrong)), Wrong, "1045", wrong)
		expect(t, good.Verify(t.Context(), trial(t, right)), Inconclusive, "4150: the account is blocked", right)
	})
	t.Run("too many connections", func(t *testing.T) {
		db.SetPassword(t, user, password)
		db.Do(t, "SET GLOBAL max_connections = 10")
		for range 10 {
			hold(t, db, user, password)
		}
		expect(t, good.Verify(t.Context(), trial(t, right)), Inconclusive, "1040: too many connections", right)
	})
}

// hold keeps a connection open until the test ends, if the server lets it.
func hold(t *testing.T, db *mariadbtest.Server, user, password string) {
	t.Helper()
	c := mysql.NewConfig()
	c.User, c.Passwd, c.Net, c.Addr, c.Logger = user, password, "unix", db.Socket, &mysql.NopLogger{}
	connector, err := mysql.NewConnector(c)
	if err != nil {
		t.Fatal(err)
	}
	if connection, err := connector.Connect(t.Context()); err == nil {
		t.Cleanup(func() { _ = connection.Close() })
	}
}

func TestMySQLSaysGoodbye(t *testing.T) {
	db := mariadbtest.Start(t, mariadbtest.Options{})
	db.SetPassword(t, "billing", "p")
	f := fields{"username": "billing", "password": "p"}
	for range 3 {
		expect(t, MySQL{Secret: "db", Address: "127.0.0.1:" + db.Port, TLS: Off}.Verify(t.Context(), trial(t, f)), OK, "", f)
	}
	if n := status(t, db, "Aborted_clients"); n != "0" {
		t.Errorf("%s connections were broken off", n)
	}
	for _, mode := range []TLS{"", VerifyFull, VerifyCA, Require} {
		got := MySQL{Secret: "db", Address: "127.0.0.1:" + db.Port, TLS: mode}.Verify(t.Context(), trial(t, f))
		expect(t, got, Inconclusive, "the server offers none: turn it on there, or set tls: off", f)
	}
}

func status(t *testing.T, db *mariadbtest.Server, variable string) string {
	t.Helper()
	var name, value string
	if err := db.QueryRowContext(t.Context(), "SHOW GLOBAL STATUS LIKE '"+variable+"'").Scan(&name, &value); err != nil {
		t.Fatal(err)
	}
	return value
}

func TestSecretsThatCannotBeLoggedInWith(t *testing.T) {
	tests := []struct {
		name string
		text string
		want string
	}{
		{"plain text", "canary", "secret db is not a JSON object with username and password"},
		{"a list", `["canary"]`, "is not a JSON object"},
		{"null", `null`, "has no username"},
		{"no user name", `{"password":"canary","Username":"canary"}`, "has no username: add it"},
		{"no password", `{"username":"canary"}`, "has no password: add it"},
		{"a password that is null", `{"username":"canary","password":null}`, "has no password: add it"},
		{"a user name that is an object", `{"username":{"canary":1},"password":"canary"}`, "username is neither text nor a number"},
		{"a port that is a list", `{"username":"u","password":"canary","port":[1]}`, "port is neither text nor a number"},
		{"a NUL in the user name", `{"username":"canary\u0000\u0000","password":"canary"}`, "username holds a NUL"},
		{"no host", `{"username":"u","password":"canary"}`, "has no host: add it, or give the check an address"},
	}
	dial := func(context.Context, string, string) (net.Conn, error) {
		t.Error("it connects nevertheless")
		return nil, net.ErrClosed
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := secret.NewSnapshot(time.Now(), map[string]secret.Version{"db": {Value: secret.Text(tt.text)}})
			got := MySQL{Secret: "db", Dial: dial}.Verify(t.Context(), Trial{Snapshot: s})
			expect(t, got, Inconclusive, tt.want, fields{"": "canary"})
		})
	}
	got := MySQL{Secret: "another"}.Verify(t.Context(), trial(t, fields{}))
	expect(t, got, Inconclusive, "secret another is not a JSON object", nil)
}

func FuzzAccount(f *testing.F) {
	f.Add([]byte(`{"username":"u","password":"p","host":"h","port":3306,"dbname":null}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s := secret.NewSnapshot(time.Time{}, map[string]secret.Version{"db": {Value: secret.NewValue(text)}})
		a, err := accountOf(s, "db")
		if err != nil {
			return
		}
		var object map[string]any
		if err := json.Unmarshal(text, &object); err != nil {
			t.Fatalf("an account of what is no object: %v", err)
		}
		if user, ok := object["username"].(string); ok && user != a.user {
			t.Error("the user name is another one")
		}
		if strings.ContainsRune(a.user+a.host+a.port+a.database, 0) {
			t.Error("a NUL comes through")
		}
	})
}

func TestStringsNameTheCheck(t *testing.T) {
	for want, check := range map[string]Check{
		"mysql db":                 MySQL{Secret: "db"},
		"mysql db at db.test:3306": MySQL{Secret: "db", Address: "db.test:3306"},
		"run /usr/local/bin/try":   Command{Argv: []string{"/usr/local/bin/try", "it"}},
		"tls_pair":                 TLSPair{},
	} {
		if got := check.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

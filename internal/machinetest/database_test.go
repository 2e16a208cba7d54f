package machinetest

import (
	"fmt"
	"testing"
)

const database = `apps:
  billing:
    secrets: {db: {secret: prod/billing/db}}
    verify: [{mysql: {secret: db, address: "unix:/run/mysqld/mysqld.sock"}}]
    files:
      - content: |
          [client]
          user={{ .db.username }}
          password={{ .db.password }}
        destination: /etc/billing/my.cnf
        format: my.cnf
        group: billing
        mode: "0640"
    notify: [{reload_unit: billing.service}]
`

func TestApplicationLogsInToItsDatabaseThroughRotations(t *testing.T) {
	s := newScene(t, "0.0.2")
	s.unit("mariadb.service", `[Service]
Type=notify
User=mysql
RuntimeDirectory=mysqld
StateDirectory=mysql
ExecStartPre=/usr/bin/mariadb-install-db --force --skip-test-db --datadir=/var/lib/mysql --auth-root-authentication-method=normal
ExecStart=/usr/sbin/mariadbd --no-defaults --datadir=/var/lib/mysql --socket=/run/mysqld/mysqld.sock --skip-networking
`)
	s.do("systemctl start mariadb.service")
	sql := func(statement string) {
		t.Helper()
		if _, err := s.sh("mariadb --socket=/run/mysqld/mysqld.sock --user=root <<'E'\n" + statement + "\nE\n"); err != nil {
			t.Fatal("a statement did not go through") // it may hold a password
		}
	}
	secret := func(password string) string {
		return fmt.Sprintf(`{"engine":"mariadb","username":"app","password":%q}`, password)
	}
	sql("CREATE USER app IDENTIFIED BY 'first \"one\"'")
	s.put("prod/billing/db", secret(`first "one"`))
	s.user("billing")
	s.script("/usr/local/bin/billing", `
login() { mariadb --defaults-file=/etc/billing/my.cnf --socket=/run/mysqld/mysqld.sock --skip-column-names --execute="SELECT CONCAT('$1 as ', CURRENT_USER())"; }
login started
trap 'login reloaded' HUP
while :; do sleep 1000 & wait || :; done
`)
	s.unit("billing.service", `[Unit]
After=outrider.service mariadb.service
[Service]
User=billing
ExecStart=/usr/local/bin/billing
ExecReload=/bin/kill -HUP $MAINPID
`)
	s.configure(database)
	s.start()
	s.do("systemctl start billing.service")
	s.says("billing.service", "started as app@%")

	// What does not log in is not delivered.
	before := s.do("stat -c '%i %y' /etc/billing/my.cnf")
	s.put("prod/billing/db", secret("a mistake"))
	s.says("outrider.service", "access denied for this user name and password")
	s.want("stat -c '%i %y' /etc/billing/my.cnf", before)
	sql("SET PASSWORD FOR app = PASSWORD('second')")
	s.put("prod/billing/db", secret("second"))
	s.says("billing.service", "reloaded as app@%")
	if got := s.said("billing.service", "Access denied"); got != 0 {
		t.Errorf("the application was refused %d times", got)
	}
}

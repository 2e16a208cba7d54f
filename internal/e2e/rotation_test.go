package e2e

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"outrider/internal/mariadbtest"
	"outrider/internal/pkitest"
	"outrider/serve"
)

// account is what the application reads, and what the secret holds.
type account struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

// newAccount returns one with a new password of all kinds of characters.
func newAccount(user string) account {
	return account{user, rand.Text() + "'\"\\$#%{{ ü\n"}
}

func (a account) String() string {
	text, _ := json.Marshal(a)
	return string(text)
}

// shop is an application that logs in to a real database with what its file
// says, and a sidecar that verifies, over TLS, what it is going to write there.
type shop struct {
	*scene
	db   *mariadbtest.Server
	turn sync.Mutex // held from the look at the file to the end of the login
}

// newShop returns one with a password that works in database and file. More
// of the configuration may name the database's PORT.
func newShop(t *testing.T, more string) (*shop, account) {
	t.Helper()
	s := newScene(t, "")
	ca := pkitest.NewRoot(t, "database CA")
	leaf := ca.Leaf(t, pkitest.Options{Edit: func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} }})
	for name, pem := range map[string][]byte{
		"db.pem": leaf.Certificate, "db.key": leaf.PrivateKey, "ca.pem": pkitest.CertificatePEM(ca.Certificate),
		"other.pem": pkitest.CertificatePEM(pkitest.NewRoot(t, "another CA").Certificate),
	} {
		s.write(name, string(pem))
	}
	h := &shop{scene: s, db: mariadbtest.Start(t, mariadbtest.Options{Certificate: s.path("db.pem"), PrivateKey: s.path("db.key")})}
	s.configure(`
apps:
  shop:
    secrets: {db: {secret: db}}
    verify: [{mysql: {secret: db, address: "127.0.0.1:` + h.db.Port + `", ca: ca.pem}}]
    files:
      - content: '{"username": {{ .db.username }}, "password": {{ .db.password }}}'
        destination: shop.json
        format: json
` + strings.ReplaceAll(more, "PORT", h.db.Port))
	first := newAccount("shop")
	h.apply(first)
	h.put("db", first.String())
	h.start()
	h.do("wait", "shop", "--timeout", patience.String())
	return h, first
}

// apply sets a password in the database.
func (h *shop) apply(a account) {
	h.t.Helper()
	h.db.SetPassword(h.t, a.Username, a.Password)
}

// file returns what the application reads.
func (h *shop) file() (account, error) {
	var a account
	text, err := os.ReadFile(h.path("shop.json"))
	if err == nil {
		err = json.Unmarshal(text, &a)
	}
	return a, err
}

// login logs in and out again.
func (h *shop) login(ctx context.Context, a account) error {
	c := mysql.NewConfig()
	c.User, c.Passwd, c.Net, c.Addr = a.Username, a.Password, "unix", h.db.Socket
	c.Logger = &mysql.NopLogger{}
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

// span is from when to when something took place.
type span struct{ from, to time.Time }

func (s span) length() time.Duration { return s.to.Sub(s.from) }

// clients is what came of logging in.
type clients struct {
	logins  int
	refused []span
}

// logInAllTheTime logs in a hundred times a second with what the file says,
// until the function that it returns is called.
func (h *shop) logInAllTheTime() (stop func() clients) {
	ctx, cancel := context.WithCancel(h.t.Context())
	var c clients
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			h.turn.Lock()
			from := time.Now()
			a, err := h.file()
			if err == nil {
				err = h.login(context.WithoutCancel(ctx), a)
			}
			h.turn.Unlock()
			var refusal *mysql.MySQLError
			switch {
			case errors.As(err, &refusal) && refusal.Number == 1045:
				c.refused = append(c.refused, span{from, time.Now()})
			case err != nil:
				h.t.Errorf("neither in nor refused: %v", err)
				return
			}
			c.logins++
			<-tick.C
		}
	})
	return func() clients { cancel(); running.Wait(); return c }
}

// rotate rotates the secret as AWS's functions do, with time for the client
// between the steps. It returns from when to when the database knew the new
// password and the file did not have it, and what of that was ours: after the
// label had moved.
func (h *shop) rotate(a account) (gap, ours span) {
	h.t.Helper()
	wait := func() { <-time.NewTimer(60 * time.Millisecond).C }
	version := h.put("db", a.String(), "AWSPENDING") // createSecret
	wait()
	gap.from = time.Now()
	h.apply(a) // setSecret
	wait()
	if err := h.login(h.t.Context(), a); err != nil { // testSecret
		h.t.Fatal("the new password is refused")
	}
	ours.from = time.Now()
	h.label("db", "AWSCURRENT", version) // finishSecret
	h.label("db", "AWSPENDING", "")
	if !poll(h.t.Context(), time.Millisecond, func() bool { got, err := h.file(); return err == nil && got == a }) {
		h.t.Fatal("the rotated password is not in the file")
	}
	gap.to, ours.to = time.Now(), time.Now()
	h.turn.Lock() // whoever has still seen the old file is in before the next rotation
	defer h.turn.Unlock()
	return gap, ours
}

func TestRotationsOfARealDatabase(t *testing.T) {
	t.Parallel()
	h, _ := newShop(t, pushed)
	const rotations = 30

	t.Run("alternating users are never refused", func(t *testing.T) {
		stop := h.logInAllTheTime()
		for n := range rotations {
			h.rotate(newAccount([]string{"shop_clone", "shop"}[n%2]))
		}
		c := stop()
		if len(c.refused) > 0 || c.logins == 0 {
			t.Errorf("%d of %d logins were refused, want none", len(c.refused), c.logins)
		}
		t.Logf("%d rotations, %d logins", rotations, c.logins)
	})

	t.Run("a single user is refused until its label has moved", func(t *testing.T) {
		stop := h.logInAllTheTime()
		var gaps []span
		var longest time.Duration
		for range rotations {
			gap, ours := h.rotate(newAccount("shop"))
			gaps = append(gaps, gap)
			longest = max(longest, ours.length())
		}
		c := stop()
		for _, r := range c.refused {
			inGap := false
			for _, g := range gaps {
				inGap = inGap || !r.to.Before(g.from) && !r.from.After(g.to)
			}
			if !inGap {
				t.Error("a login was refused outside of the gap")
			}
		}
		if len(c.refused) == 0 || c.logins == 0 {
			t.Errorf("%d of %d logins refused: nothing was proved", len(c.refused), c.logins)
		}
		t.Logf("%d rotations, %d logins, of them %d refused in the gap; from the label's move to the file at most %s", rotations, c.logins, len(c.refused), longest)
	})
}

// The label moves before the database knows the password, by hand or by a
// rotation function that is wrong.
func TestLabelThatMovesBeforeTheDatabase(t *testing.T) {
	t.Parallel()
	h, first := newShop(t, `
  misled:
    secrets: {db: {secret: db}}
    verify: [{mysql: {secret: db, address: "127.0.0.1:PORT", ca: other.pem}, on_inconclusive: hold}]
    files: [{content: "{{ .db.username }}", destination: misled}]
`)
	second := newAccount("shop")
	before := h.traces("shop.json")

	h.put("db", second.String())
	app := h.fails("shop", "verify mysql db at 127.0.0.1:"+h.db.Port, "1045", "no rotation is under way")
	if app.State != serve.Failing || app.Generation != 1 {
		t.Errorf("state %s, generation %d; want failing, 1", app.State, app.Generation)
	}
	if now := h.traces("shop.json"); now[0] != before[0] {
		t.Error("the file was touched")
	}
	if got, err := h.file(); err != nil || h.login(t.Context(), got) != nil {
		t.Errorf("what the file says does not log in (%v)", err)
	}

	h.apply(second)
	h.until("shop", "at its second generation", func(a serve.App) bool { return a.Generation == 2 && a.Error == "" })
	if got, err := h.file(); err != nil || got != second {
		t.Errorf("the password that works now is not in the file (%v)", err)
	}

	// An app that trusts another authority hands its password to nobody.
	h.fails("misled", "verify mysql db at 127.0.0.1:"+h.db.Port, "of an authority that is not trusted")
	if _, err := os.Stat(h.path("misled")); !errors.Is(err, os.ErrNotExist) {
		t.Error("what could not be verified was delivered in spite of hold")
	}
	for _, a := range []account{first, second} {
		if strings.Contains(h.read("log"), a.Password[:26]) || strings.Contains(h.do("status"), a.Password[:26]) {
			t.Error("a password can be seen in the log or in status")
		}
	}
}

// The application does not come up on the new password, and by now the
// database refuses the one before it: there is nothing to go back to.
func TestNoWayBackToAPasswordThatWasRotatedAway(t *testing.T) {
	t.Parallel()
	h, _ := newShop(t, "    confirm: {run: [DIR/healthy], within: 2s}\n")
	h.script("healthy", "test ! -e DIR/ill")
	h.current("shop")
	second := newAccount("shop")
	h.write("ill", "")
	h.apply(second)
	h.put("db", second.String())
	h.do("refresh", "shop")
	app := h.fails("shop", "not confirmed within 2s", "not rolled back, since what was there before is refused by now", "1045")
	if got, err := h.file(); err != nil || got != second || app.Generation != 2 {
		t.Errorf("generation %d; want the new password to stay (%v)", app.Generation, err)
	}
	if out := h.do("history", "shop"); !strings.Contains(out, "unconfirmed") {
		t.Errorf("history does not say so:\n%s", out)
	}
	// It is said for as long as it is so: several looks later, too.
	for range 3 {
		h.do("refresh", "shop")
	}
	h.fails("shop", "not confirmed within 2s")
}

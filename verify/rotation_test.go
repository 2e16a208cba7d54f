package verify

import (
	"context"
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"outrider/internal/mariadbtest"
	"outrider/secret"
)

// rotation is a secret of a user, or of two in turn, of a real database, how
// it is rotated, and an app that follows it by a ledger. The clock is the
// test's, the logins are real.
type rotation struct {
	t      *testing.T
	db     *mariadbtest.Server
	ledger Ledger
	rules  []Rule
	now    time.Time
	serial int

	accounts                   map[string]fields // by version
	current, pending, previous string            // labels; empty: on none
	delivered                  string            // version in the app's files
	refused                    int               // tries that the server refused
}

func newRotation(t *testing.T, db *mariadbtest.Server, early bool, ca string) *rotation {
	r := &rotation{t: t, db: db, now: epoch(), accounts: map[string]fields{}}
	r.rules = []Rule{{
		Check: MySQL{Secret: "db", Address: "127.0.0.1:" + db.Port, CA: ca},
		Name:  "mysql", Secrets: []string{"db"}, EarlyPending: early,
	}}
	return r
}

// create is createSecret: a pending version with a new password.
func (r *rotation) create(user string) {
	r.serial++
	r.pending = fmt.Sprintf("v%d", r.serial)
	r.accounts[r.pending] = fields{"username": user, "password": nasty() + rand.Text()}
}

// set is setSecret: the database takes the pending password.
func (r *rotation) set() { r.apply(r.pending) }

func (r *rotation) apply(id string) {
	user, password := r.account(id)
	r.db.SetPassword(r.t, user, password)
}

// finish is finishSecret: the label moves.
func (r *rotation) finish() {
	r.previous, r.current, r.pending = r.current, r.pending, ""
}

func (r *rotation) account(id string) (user, password string) {
	user, _ = r.accounts[id]["username"].(string)
	password, _ = r.accounts[id]["password"].(string)
	return user, password
}

func (r *rotation) snapshot(id string) secret.Snapshot {
	v := versionOf(r.t, r.accounts[id])
	v.ARN, v.ID = "arn", id
	return secret.NewSnapshot(r.now, map[string]secret.Version{"db": v})
}

func (r *rotation) versions(id string) Versions {
	if id == "" {
		return nil
	}
	return VersionsOf(r.snapshot(id))
}

// look is what an app does when it looks, until the ledger says wait or
// deliver. It returns when it wants to look again; zero after a delivery.
func (r *rotation) look() time.Time {
	r.t.Helper()
	s := Situation{Rules: r.rules, Current: r.versions(r.current), Delivered: r.versions(r.delivered)}
	ids := map[Candidate]string{Current: r.current, Pending: r.pending, Previous: r.previous}
	for range 10 {
		switch step := r.ledger.Next(s, r.now); step.Do {
		case Try:
			got := s.Rules[step.Rule].Check.Verify(r.t.Context(), Trial{Snapshot: r.snapshot(ids[step.Candidate]), Now: r.now})
			if got.Verdict == Inconclusive {
				r.t.Fatalf("inconclusive: %v", got.Err)
			}
			if got.Verdict == Wrong {
				r.refused++
			}
			r.ledger.Note(step, got, r.now)
		case Survey:
			s.Surveyed, s.Pending = true, r.versions(r.pending)
			if s.Delivered == nil {
				s.Previous = r.versions(r.previous)
			}
		case Deliver:
			r.delivered = ids[step.Candidate]
			return time.Time{}
		case Wait:
			return step.At
		}
	}
	r.t.Fatal("a look without end")
	return time.Time{}
}

// works reports whether the app can log in with what it has.
func (r *rotation) works() bool {
	r.t.Helper()
	c := mysql.NewConfig()
	c.User, c.Passwd = r.account(r.delivered)
	c.Net, c.Addr, c.Logger = "unix", r.db.Socket, &mysql.NopLogger{}
	connector, err := mysql.NewConnector(c)
	if err != nil {
		r.t.Fatal(err)
	}
	connection, err := connector.Connect(context.Background())
	if err != nil {
		return false
	}
	_ = connection.Close()
	return true
}

// startRotations starts a server with TLS.
func startRotations(t *testing.T) (*mariadbtest.Server, string) {
	t.Helper()
	files := newPKI(t)
	return mariadbtest.Start(t, mariadbtest.Options{Certificate: files.certificate, PrivateKey: files.key}), files.ca
}

func TestRotationsOfAlternatingUsersNeverRefuseALogin(t *testing.T) {
	db, ca := startRotations(t)
	r := newRotation(t, db, false, ca)
	r.create("billing")
	r.set()
	r.finish()
	r.look()
	for n := range 50 {
		user := []string{"billing_clone", "billing"}[n%2]
		for _, step := range []func(){func() { r.create(user) }, r.set, func() {}, r.finish} {
			step()
			if !r.works() {
				t.Fatalf("rotation %d: refused before the app has looked", n)
			}
			r.look()
			r.now = r.now.Add(time.Second)
			if !r.works() {
				t.Fatalf("rotation %d: refused after the app has looked", n)
			}
		}
		if r.delivered != r.current {
			t.Fatalf("rotation %d: %s is delivered, %s is current", n, r.delivered, r.current)
		}
	}
	if r.refused != 0 {
		t.Errorf("%d tries were refused", r.refused)
	}
}

func TestRotationsOfASingleUserRefuseLoginsInTheGapAlone(t *testing.T) {
	db, ca := startRotations(t)
	r := newRotation(t, db, false, ca)
	r.create("billing")
	r.set()
	r.finish()
	r.look()
	for n := range 50 {
		steps := []struct {
			name  string
			do    func()
			works bool
		}{
			{"createSecret", func() { r.create("billing") }, true},
			{"setSecret", r.set, false},
			{"testSecret", func() {}, false},
			{"finishSecret", r.finish, true},
		}
		for _, step := range steps {
			step.do()
			r.look()
			r.now = r.now.Add(time.Second)
			if got := r.works(); got != step.works {
				t.Fatalf("rotation %d, after %s: the app's login works: %v, want %v", n, step.name, got, step.works)
			}
		}
	}
	if r.refused != 0 {
		t.Errorf("%d tries were refused", r.refused)
	}
}

// The app starts, or comes back, between setSecret and finishSecret: what the
// label holds is refused.
func TestAnAppThatComesIntoTheGap(t *testing.T) {
	db, ca := startRotations(t)
	for _, first := range []bool{true, false} {
		for _, early := range []bool{false, true} {
			t.Run(fmt.Sprintf("first start %v, early_pending %v", first, early), func(t *testing.T) {
				r := newRotation(t, db, early, ca)
				r.create("billing")
				r.set()
				r.finish()
				if !first {
					r.look()
				}
				r.create("billing")
				r.set()
				r.finish()
				r.create("billing")
				r.set()
				for range 5 {
					wait := r.look()
					if early != r.works() {
						t.Fatalf("the app's login works: %v, want %v", r.works(), early)
					}
					r.now = r.now.Add(2 * time.Second)
					if !wait.IsZero() && wait.After(r.now) {
						t.Fatalf("it wants to wait until %s, past %s", wait, r.now)
					}
				}
				r.finish()
				r.look()
				if !r.works() || r.delivered != r.current {
					t.Errorf("after finishSecret %s is delivered, %s is current", r.delivered, r.current)
				}
				if want := map[bool]int{true: 2, false: 1}[first && !early]; r.refused != want {
					t.Errorf("%d logins were refused, want %d", r.refused, want)
				}
			})
		}
	}
}

// A label that moves before the password does: by hand, or by a rotation
// function that does it in the wrong order.
func TestALabelThatMovesBeforeTheDatabase(t *testing.T) {
	db, ca := startRotations(t)
	for _, first := range []bool{true, false} {
		t.Run(fmt.Sprintf("first start %v", first), func(t *testing.T) {
			r := newRotation(t, db, false, ca)
			r.create("billing")
			r.set()
			r.finish()
			if !first {
				r.look()
			}
			r.create("billing")
			r.finish()
			for range 3 {
				wait := r.look()
				if !r.works() {
					t.Fatal("the app has got a password that is refused")
				}
				if !wait.IsZero() {
					r.now = wait
				}
			}
			r.apply(r.current)
			if wait := r.look(); !wait.IsZero() {
				r.now = wait
				r.look()
			}
			if !r.works() || r.delivered != r.current {
				t.Errorf("%s is delivered, %s is current", r.delivered, r.current)
			}
		})
	}
}

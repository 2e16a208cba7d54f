package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"
)

// pair is a user and a password in two secrets, which rotate together, in one
// file.
type pair struct {
	*scene
	user, password *pool
}

func newPair(t *testing.T) *pair {
	t.Helper()
	s := newScene(t, "")
	number := func(n int) string { return fmt.Sprint(n) }
	s.configure(`
apps:
  billing:
    secrets: {db_user: {secret: user}, db_password: {secret: password}}
    together: [[db_user, db_password]]
    files: [{content: "user={{ .db_user }}\npassword={{ .db_password }}\n", destination: pair}]
` + pushed)
	return &pair{s, newPool(s, "user", number), newPool(s, "password", number)}
}

// mixed reads the file. It reports whether it is there, and a pair of a user
// and somebody else's password.
func (p *pair) mixed() (there, mixed bool) {
	text, err := os.ReadFile(p.path("pair"))
	if os.IsNotExist(err) {
		return false, false
	}
	var user, password int
	_, scanErr := fmt.Sscanf(string(text), "user=%d\npassword=%d\n", &user, &password)
	return true, err != nil || scanErr != nil || user != password
}

// refresh has the sidecar look once more.
func (p *pair) refresh() {
	p.t.Helper()
	out, err := p.client().Refresh(p.t.Context(), nil)
	if err != nil || out[0].Error != "" {
		p.t.Fatalf("refresh: %+v, %v", out, err)
	}
}

// reads counts the reads that an event brings.
func (p *pair) reads() int { return p.lab.Calls()["secretsmanager.GetSecretValue"] }

// holds fails the test unless the file holds the current pair.
func (p *pair) holds() {
	p.t.Helper()
	if !p.delivered() {
		p.t.Fatalf("the file holds %q, want %d", p.read("pair"), p.user.at)
	}
}

func (p *pair) delivered() bool {
	return p.read("pair") == fmt.Sprintf("user=%d\npassword=%[1]d\n", p.user.at)
}

// Two secrets that rotate together are two calls of AWS, and between them a
// look may come: the one that the first of them brings by its event.
func TestPairIsNeverMixed(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.ready("billing")
	ctx, stop := context.WithCancel(t.Context())
	reads := 0
	var reader sync.WaitGroup
	reader.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			if there, mixed := p.mixed(); !there || mixed {
				t.Errorf("the file is there: %v, mixed: %v", there, mixed)
				return
			}
			reads++
			<-tick.C
		}
	})
	const rotations = 200
	begun, waited := time.Now(), 0
	for n := range rotations {
		looking := time.Now()
		first, second := p.user, p.password
		if n%2 == 1 {
			first, second = second, first
		}
		between := rand.N(2 * time.Millisecond)
		before := p.reads()
		first.rotate()
		if n%20 == 0 { // the look comes between for certain, and must wait
			poll(t.Context(), time.Millisecond, func() bool { return p.reads() > before })
			between = 100 * time.Millisecond
		}
		<-time.NewTimer(between).C
		second.rotate()
		poll(t.Context(), time.Millisecond, p.delivered)
		if time.Since(looking) > 900*time.Millisecond {
			waited++
		}
		p.holds()
	}
	stop()
	reader.Wait()
	if waited < rotations/20 {
		t.Errorf("%d looks waited for the other half: too few", waited)
	}
	t.Logf("%d rotations in %v, in %d of them a look came between the halves, %d reads", rotations, time.Since(begun).Round(time.Second), waited, reads)
}

// A sidecar that comes up while only half of the pair has rotated knows from
// its journal what the file holds.
func TestPairIsNotMixedByARestart(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*sidecar){"stopped": (*sidecar).stop, "killed": (*sidecar).kill} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			end(p.ready("billing"))
			p.user.rotate()
			p.start()
			halves := time.NewTimer(3 * time.Second)
			defer halves.Stop()
			poll(t.Context(), 5*time.Millisecond, func() bool {
				if _, mixed := p.mixed(); mixed {
					t.Fatal("half a pair was delivered after a restart")
				}
				select {
				case <-halves.C:
					return true
				default:
					return false
				}
			})
			poll(t.Context(), 5*time.Millisecond, func() bool { _, err := p.client().Status(t.Context()); return err == nil })
			p.password.rotate()
			p.refresh()
			p.holds()
		})
	}
}

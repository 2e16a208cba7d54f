package agent

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"outrider/awslab"
)

// TestThirtyDaysOfSessionsAndSecretsWithOutages lives through a month: every
// secret is rotated at random, AWS throttles, fails, hangs and is away,
// sessions are refused and certificates renewed. Whatever happened, each file
// holds the newest value soon after AWS can be reached, and until then the
// last good one.
func TestThirtyDaysOfSessionsAndSecretsWithOutages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const interval = 20 * time.Minute
		h := newHouse(t)
		dice := rand.New(rand.NewPCG(2026, 11))
		m := &month{house: h, dice: dice, began: time.Now(), last: map[string]string{}}
		for _, id := range []string{"a", "b", "c"} {
			m.rotate(id)
		}
		a := h.agent(h.config(interval, h.app("one", "a"), h.app("two", "b", "c"), h.app("both", "a", "b")))
		stop := h.run(a)
		defer stop()
		m.settle(interval)
		for day := range 30 {
			m.day(day, interval)
		}
		m.check("after thirty days")
		calls := h.lab.Calls()
		sessions := calls["rolesanywhere.CreateSession"]
		t.Logf("%d rotations, %v of trouble, %d attempts at a session, %d reads", m.rotations, m.trouble, sessions, calls["secretsmanager.GetSecretValue"])
		// One session in half an hour, one for every refusal or renewal, and
		// in an outage an attempt every thirty seconds on average.
		if most := 30*24*2*12/10 + 2*m.rotations + int(m.trouble/(20*time.Second)); sessions > most {
			t.Errorf("%d attempts at a session in thirty days, want at most %d", sessions, most)
		}
	})
}

type month struct {
	*house
	dice      *rand.Rand
	began     time.Time
	last      map[string]string // newest value by secret
	rotations int
	trouble   time.Duration // how long AWS was in trouble, in all
}

func (m *month) rotate(id string) {
	m.rotations++
	m.last[id] = m.put(id, fmt.Sprintf("value-%s-%d", id, m.rotations))
}

// day is four quarters, each with a rotation and perhaps with trouble.
func (m *month) day(day int, interval time.Duration) {
	faults := []awslab.Fault{
		{Kind: awslab.Drop},
		{Kind: awslab.Hang},
		{Kind: awslab.Throttle},
		{Kind: awslab.Fail},
		{Kind: awslab.Fail, Service: "rolesanywhere"},
		{Kind: awslab.Throttle, Service: "secretsmanager"},
	}
	for quarter := range 4 {
		before := map[string]string{"one": m.read("one"), "two": m.read("two"), "both": m.read("both")}
		trouble := m.dice.IntN(2) == 0
		if trouble {
			if err := m.lab.AddFault(faults[m.dice.IntN(len(faults))]); err != nil {
				m.t.Fatal(err)
			}
		}
		m.rotate(string(rune('a' + m.dice.IntN(3))))
		switch m.dice.IntN(6) {
		case 0:
			m.lab.RevokeSessions()
		case 1:
			m.renewCertificate(awslab.LeafOptions{})
		case 2:
			m.lab.SetSkew(time.Duration(m.dice.IntN(40)-20) * time.Minute)
		}
		lasts := time.Duration(1+m.dice.IntN(180)) * time.Minute
		time.Sleep(lasts)
		if trouble {
			m.trouble += lasts
			for name, content := range before {
				if got := m.read(name); got == "" {
					m.t.Errorf("day %d: file %s lost its last good content of %d bytes in an outage", day, name, len(content))
				}
			}
			m.lab.ClearFaults()
		}
		m.settle(interval)
		m.check(fmt.Sprintf("day %d, quarter %d", day, quarter))
		time.Sleep(time.Until(m.began.Add(time.Duration(day*4+quarter+1) * 6 * time.Hour)))
	}
}

// settle waits as long as the slowest way to the newest value takes: the
// longest back-off of the session, the longest poll, and a call that hangs.
func (m *month) settle(interval time.Duration) {
	time.Sleep(interval*12/10 + 2*time.Minute)
	synctest.Wait()
}

func (m *month) check(when string) {
	m.t.Helper()
	for name, ids := range map[string][]string{"one": {"a"}, "two": {"b", "c"}, "both": {"a", "b"}} {
		var want strings.Builder
		for _, id := range ids {
			want.WriteString(m.last[id] + "\n")
		}
		if got := m.read(name); got != want.String() {
			m.t.Fatalf("%s: file %s is not of the newest versions of %v", when, name, ids)
		}
	}
}

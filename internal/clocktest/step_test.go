package clocktest

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"outrider/awslab"
	"outrider/internal/pkitest"
)

// from returns by how much a clock is off that shows another year.
func from(year int) time.Duration {
	return time.Until(time.Date(year, time.January, 1, 0, 1, 0, 0, time.UTC)).Truncate(time.Second)
}

// withTLS has AWS answer over TLS only, with a certificate that is valid now.
func (s *scene) withTLS() {
	s.t.Helper()
	root := pkitest.NewRoot(s.t, "web PKI")
	leaf := root.Leaf(s.t, pkitest.Options{Edit: func(c *x509.Certificate) {
		c.IPAddresses, c.ExtKeyUsage = []net.IP{{127, 0, 0, 1}}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}})
	pair, err := tls.X509KeyPair(leaf.Certificate, leaf.PrivateKey)
	if err != nil {
		s.t.Fatal(err)
	}
	s.write("ca.pem", string(pkitest.CertificatePEM(root.Certificate)))
	s.server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	s.server.StartTLS()
	s.configure(5*time.Minute, "aws: {ca_bundle: ca.pem}\n")
}

func TestAClockThatIsDecadesOffIsNamedAndOnceItIsSetAllGoesOn(t *testing.T) {
	for _, tc := range []struct {
		name string
		year int
		says []string
	}{
		{"there is no clock that survives a power cut", 1970, []string{"is before", "clock off", "set this machine's clock"}},
		{"the clock was set by a fool", 2050, []string{"is after"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newScene(t, 0)
			s.withTLS()
			off := from(tc.year)
			s.start(off)
			for _, text := range append(tc.says, "identity out of date", "check this host's clock") {
				s.says(text)
			}
			if calls := s.lab.Calls(); len(calls) > 0 {
				t.Errorf("AWS was asked by a host that could not know it: %v", calls)
			}
			s.clock.Step(t, -off, 0)
			s.delivered("1")
			if got := strings.Contains(s.said.String(), "clock right"); got != (tc.year == 1970) {
				t.Errorf("the log says that the clock is right: %t", got)
			}
		})
	}
}

func TestAWSsTimeIsTakenFromItsAnswerInAnyYear(t *testing.T) {
	for _, tc := range []struct {
		name string
		year int
	}{
		{"the past", 1970},
		{"the future", 2050},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newScene(t, 0)
			s.configure(2*time.Second, "")
			off := from(tc.year)
			s.start(off)
			s.delivered("1")
			s.says("clock off")
			s.rotate("2")
			s.delivered("2")
			if left := s.handed().Expiration.Sub(time.Now().Add(off)); left < 0 || left > 61*time.Minute {
				t.Errorf("the session seems to hold for %v by the host's clock, want an hour at the most", left)
			}
			s.clock.Step(t, -off, 0)
			s.says("clock right")
			s.eventually("the state notes when the files were seen, by the clock that is right", func() error {
				seen, err := os.Stat(s.path("state/billing.seen"))
				if err == nil && time.Since(seen.ModTime()).Abs() > time.Hour {
					return errNotYet
				}
				return err
			})
			s.rotate("3")
			s.delivered("3")
		})
	}
}

func TestAWallClockThatIsSetBackDelaysNoLook(t *testing.T) {
	s := newScene(t, 0)
	s.configure(2*time.Second, "")
	s.start(0)
	s.delivered("1")
	s.clock.Step(t, -24*time.Hour, 0)
	s.rotate("2")
	s.delivered("2")
}

func TestAWallClockThatIsSetBackMakesNoSessionLastLonger(t *testing.T) {
	const life, back = 10 * time.Second, time.Hour
	s := newScene(t, life)
	s.configure(12*time.Hour, "")
	s.start(0)
	s.handed()
	if err := s.lab.AddFault(awslab.Fault{Kind: awslab.Fail, Service: "rolesanywhere"}); err != nil {
		t.Fatal(err)
	}
	end := time.Now().Add(life) // of the last that can have been opened
	s.clock.Step(t, -back, 0)
	s.eventually("the session has ended", func() error {
		asked := time.Now()
		h, err := s.ask()
		if err != nil {
			return nil //nolint:nilerr // what is waited for
		}
		if asked.After(end.Add(time.Second)) {
			t.Fatalf("a session is given out %v after its end", asked.Sub(end))
		}
		if left := h.Expiration.Sub(asked.Add(-back)); left > life+time.Second {
			t.Fatalf("a session of %v seems to hold for %v", life, left)
		}
		return errNotYet
	})
}

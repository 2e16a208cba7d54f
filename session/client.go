package session

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"outrider/signer"
)

const (
	defaultTimeout = 10 * time.Second
	// skewTolerance is how far AWS's clock and ours may stand apart before
	// signing is corrected. AWS takes about five minutes; Date has whole seconds.
	skewTolerance = time.Minute
)

// Client opens sessions. The zero Client is ready to use; it is safe for
// concurrent use and must not be copied. Nothing of the environment's AWS
// settings is read.
type Client struct {
	Transport http.RoundTripper // nil: http.DefaultTransport; redirects are not followed
	Timeout   time.Duration     // of one attempt, body included; 0: 10s

	skew atomic.Int64 // as the last answer showed it, however little
}

// Skew returns AWS's clock minus this host's as the last answer showed it: 0
// when a minute or less, or unknown. Later signings are corrected by it.
func (c *Client) Skew() time.Duration {
	if skew := time.Duration(c.skew.Load()); skew.Abs() > skewTolerance {
		return skew
	}
	return 0
}

// Create calls CreateSession once, and once more when it is refused with a
// Date that shows this host's clock off. It returns after twice the Timeout
// at the latest. Every error is an *Error. It leaves the certificate's dates
// to AWS, whose clock is right.
//
// Source: https://docs.aws.amazon.com/rolesanywhere/latest/userguide/authentication-create-session.html
func (c *Client) Create(ctx context.Context, role Role, id *signer.Identity) (Session, error) {
	used := c.Skew()
	s, err := c.attempt(ctx, role, id, used)
	if err != nil && err.Status == http.StatusForbidden && (err.Skew-used).Abs() > skewTolerance {
		s, err = c.attempt(ctx, role, id, err.Skew)
	}
	if err != nil {
		return Session{}, err
	}
	return s, nil
}

func (c *Client) attempt(ctx context.Context, role Role, id *signer.Identity, skew time.Duration) (Session, *Error) {
	ctx, cancel := c.deadline(ctx)
	defer cancel()

	x := &exchange{transport: c.Transport, id: id, region: role.Region, skew: skew}
	out, err := x.client(role).CreateSession(ctx, role.input())
	c.learn(x)
	var s Session
	if err == nil {
		s, err = newSession(out, time.Now().Add(c.Skew()))
	}
	if err != nil {
		return Session{}, c.explain(ctx, x, role, err)
	}
	s.Region, s.Skew = role.Region, c.sessionSkew()
	return s, nil
}

// sessionSkew is Skew, but tells also of a clock of ours that is only a little
// behind: by it a session would seem to hold beyond its end.
func (c *Client) sessionSkew() time.Duration {
	return max(c.Skew(), time.Duration(c.skew.Load()))
}

// learn keeps the difference of the clocks. Any answer with a Date counts,
// so that a clock that has been set is noticed as well; a cached one does not.
func (c *Client) learn(x *exchange) {
	date, err := http.ParseTime(x.header.Get("Date"))
	if err != nil || x.header.Get("Age") != "" {
		return
	}
	c.skew.Store(int64(date.Sub(x.answered).Round(time.Second)))
}

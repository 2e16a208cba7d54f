package store

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"outrider/refresher"
	"outrider/store/internal/wire"
)

// together is how many calls to one service fail in a row before none is made
// for a while: more than one secret that AWS cannot read.
const together = 8

// budget returns how many calls of an operation one role makes at most: a
// small part of what AWS allows to a whole account, with a burst for the start.
// The two of Parameter Store share the one for its reads.
//
//	operation             account's quota a second
//	GetSecretValue        10,000
//	DescribeSecret        40,000
//	BatchGetSecretValue   100
//	GetParameters         40, with GetParameter and GetParametersByPath
//
// https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html
// https://docs.aws.amazon.com/general/latest/gr/ssm.html (November 2026)
func budget(operation string) refresher.Bucket {
	switch operation {
	case "GetSecretValue":
		return refresher.Bucket{Rate: 100, Burst: 200}
	case "DescribeSecret":
		return refresher.Bucket{Rate: 400, Burst: 400}
	case "BatchGetSecretValue":
		return refresher.Bucket{Rate: 10, Burst: 100}
	default:
		return refresher.Bucket{Rate: 10, Burst: 20}
	}
}

// gate keeps calls from a service that throttles, or that has failed too often
// in a row.
type gate struct {
	breaker refresher.Breaker
	row     int   // failures in a row that are the service's own
	opened  int   // how often it was opened
	err     error // what opened it last
}

// record notes what became of a call.
func (g *gate) record(err error, now time.Time, roll float64) {
	switch c := classify(err); {
	case c == server:
		g.row++
	case c != throttled:
		g.row = 0
		g.breaker.Record(true, now, roll)
		return
	}
	if !g.breaker.Open(now) && (classify(err) == throttled || g.row >= together) {
		g.breaker.Record(false, now, roll)
		g.opened++
		g.err = err
	}
}

// call says how one call is made.
type call struct {
	operation string
	gate      *gate
	opened    int // how often the gate had been opened when the call was decided on; negative: it does not matter
	slots     chan struct{}
	limit     time.Duration // of the call itself
	ready     *bool         // its first attempt has waited for its turn; nil: none has
}

// do makes one call within its limits, as wire.Signed does.
func do[Out any](ctx context.Context, s *Store, c call, operation func(context.Context, aws.CredentialsProvider) (Out, error)) (Out, error) {
	refusal := func(err error) (spent, offClock bool) {
		told := classify(err)
		return told == refused, told == misdated
	}
	return wire.Signed(ctx, s.sessions, refusal, func(as aws.CredentialsProvider) (Out, error) {
		return attempt(ctx, s, c, as, operation)
	})
}

func attempt[Out any](ctx context.Context, s *Store, c call, as aws.CredentialsProvider, operation func(context.Context, aws.CredentialsProvider) (Out, error)) (Out, error) {
	var none Out
	if c.ready != nil && *c.ready {
		*c.ready = false // another session or region takes a turn of its own
	} else if err := pause(ctx, s.turn(c.operation)); err != nil {
		return none, err
	}
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
	if err := s.shut(c); err != nil {
		return none, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	out, err := operation(ctx, as)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.operation != describeSecret { // which has a quota of its own, and others tell what it does not
		c.gate.record(err, time.Now(), s.roll())
	}
	return out, err
}

// turn takes a token for a call and returns how long to wait before it.
func (s *Store) turn(operation string) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if operation == "GetParametersByPath" {
		operation = "GetParameters"
	}
	return s.bucket(operation).Take(time.Now())
}

// shut returns the error of the call that has opened the gate since this one
// was decided on, if one has: then it is not made.
func (s *Store) shut(c call) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.opened >= 0 && c.gate.opened != c.opened && c.gate.breaker.Open(time.Now()) {
		return shutError{c.gate.err}
	}
	return nil
}

// shutError is why a call was not made: what has become of others.
type shutError struct{ error }

// Unwrap returns the error of the call that was made.
func (e shutError) Unwrap() error { return e.error }

// pause waits, but no longer than for ctx, whose cause it then returns.
func pause(ctx context.Context, wait time.Duration) error {
	if wait <= 0 {
		return nil
	}
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"outrider/refresher"
	"outrider/session"
	"outrider/signer"
)

// place is one region in which a role's sessions can be opened, and how it
// has answered lately.
type place struct {
	session.Role
	breaker refresher.Breaker
}

// newPlaces returns the role's own region and its fallbacks, in order.
func (r *role) newPlaces() []*place {
	own := session.Role{
		Region: r.Region, TrustAnchor: r.TrustAnchor, Profile: r.Profile, Role: r.Role.Role,
		Duration: r.SessionDuration, Name: r.SessionName, Endpoint: r.Endpoints.RolesAnywhere,
		FIPS: r.FIPS, DualStack: r.DualStack,
	}
	places := []*place{{Role: own}}
	for _, f := range r.Fallback {
		other := own
		other.Region, other.TrustAnchor, other.Profile = f.Region, f.TrustAnchor, f.Profile
		places = append(places, &place{Role: other})
	}
	for _, p := range places {
		p.breaker.Retry = refresher.Backoff{First: 30 * time.Second, Limit: 10 * time.Minute}
	}
	return places
}

// openSomewhere opens a session in the first region that can: one that is
// down is passed over while its breaker is open, unless all are, and used
// again as soon as it answers. A refusal is the answer, not an outage.
func (r *role) openSomewhere(ctx context.Context, set *signer.Identity) (session.Session, error) {
	var errs []error
	for _, p := range r.inTurn(time.Now()) {
		s, err := r.client.Create(ctx, p.Role, set)
		refusal, told := errors.AsType[*session.Error](err)
		down := told && refusal.Temporary() && ctx.Err() == nil
		if ctx.Err() == nil {
			p.breaker.Record(!down, time.Now(), r.roll())
		}
		if err == nil || !down {
			return s, err
		}
		if len(r.places) > 1 {
			err = fmt.Errorf("region %s: %w", p.Region, err)
		}
		errs = append(errs, err)
	}
	return session.Session{}, errors.Join(errs...)
}

// inTurn returns the regions to ask now: those whose breaker is closed, or
// when all are open the one that is due first.
func (r *role) inTurn(now time.Time) []*place {
	var turn []*place
	first := r.places[0]
	for _, p := range r.places {
		if !p.breaker.Open(now) {
			turn = append(turn, p)
		}
		if p.breaker.Until().Before(first.breaker.Until()) {
			first = p
		}
	}
	if len(turn) == 0 {
		turn = append(turn, first)
	}
	return turn
}

// chain assumes the role's further roles, one from the other.
func (r *role) chain(ctx context.Context, s session.Session, set *signer.Identity) (session.Session, error) {
	name := r.SessionName
	if name == "" {
		name = hexSerial(set.Leaf().SerialNumber)
	}
	for _, arn := range r.Assume {
		var err error
		s, err = r.client.Assume(ctx, session.Chained{
			Region: s.Region, Role: arn, Name: name, Endpoint: r.Endpoints.STS, FIPS: r.FIPS, DualStack: r.DualStack,
		}, s)
		if err != nil {
			return session.Session{}, err
		}
	}
	return s, nil
}

package store

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"outrider/refresher"
	"outrider/store/internal/wire"
)

// secretsManager is what Secrets Manager is asked; see parameterStore.
type secretsManager struct {
	get      func(context.Context, *secretsmanager.GetSecretValueInput, ...func(*secretsmanager.Options)) (*secretsmanager.GetSecretValueOutput, error)
	batch    func(context.Context, *secretsmanager.BatchGetSecretValueInput, ...func(*secretsmanager.Options)) (*secretsmanager.BatchGetSecretValueOutput, error)
	describe func(context.Context, *secretsmanager.DescribeSecretInput, ...func(*secretsmanager.Options)) (*secretsmanager.DescribeSecretOutput, error)
}

// region is Secrets Manager in one region, and how it has answered lately.
type region struct {
	name    string
	manager secretsManager
	gate    gate
	breaker refresher.Breaker // open while the region is away
}

func newRegion(name string, o Options) *region {
	options := secretsmanager.Options{
		Region:      name,
		Credentials: o.Sessions,
		HTTPClient:  &http.Client{Transport: o.Transport, CheckRedirect: wire.Stay},
		Retryer:     aws.NopRetryer{}, // the loop that called backs off
	}
	if o.FIPS {
		options.EndpointOptions.UseFIPSEndpoint = aws.FIPSEndpointStateEnabled
	}
	if o.DualStack {
		options.EndpointOptions.UseDualStackEndpoint = aws.DualStackEndpointStateEnabled
	}
	if o.Endpoint != "" {
		options.BaseEndpoint = aws.String(o.Endpoint)
	}
	client := secretsmanager.New(options)
	return &region{
		name:    name,
		manager: secretsManager{get: client.GetSecretValue, batch: client.BatchGetSecretValue, describe: client.DescribeSecret},
		breaker: refresher.Breaker{Retry: refresher.Backoff{First: 30 * time.Second, Limit: 10 * time.Minute}},
	}
}

// anywhere asks one region after the other until one has answered: a region
// that is away is passed over while its breaker is open. What a fallback region
// refuses may only not be replicated there, so that this is no answer.
func anywhere[Out any](ctx context.Context, s *Store, ask func(*region) (Out, error)) (Out, *region, error) {
	var first error
	for _, p := range s.inTurn(time.Now()) {
		out, err := ask(p)
		down := classify(err) == server && ctx.Err() == nil
		if ctx.Err() == nil && !wire.Is[wire.SessionError](err) {
			s.answered(p, !down)
		}
		if err == nil || !down && p == s.regions[0] || ctx.Err() != nil {
			return out, p, err
		}
		if first == nil || p == s.regions[0] {
			first = err
		}
	}
	var none Out
	return none, s.regions[0], first
}

// inTurn returns the regions to ask: those whose breaker is closed, and the own
// one in any case.
func (s *Store) inTurn(now time.Time) []*region {
	s.mu.Lock()
	defer s.mu.Unlock()
	var turn []*region
	for _, p := range s.regions {
		if !p.breaker.Open(now) {
			turn = append(turn, p)
		}
	}
	if len(turn) == 0 || turn[0] != s.regions[0] {
		turn = append(turn, s.regions[0])
	}
	return turn
}

func (s *Store) answered(p *region, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// What was under way when it opened says nothing new.
	if now := time.Now(); ok || !p.breaker.Open(now) {
		p.breaker.Record(ok, now, s.roll())
	}
}

// in returns how the region knows a secret: an ARN names the region.
func (p *region) in(id string) string { return inRegion(id, p.name) }

// inRegion returns an ARN with another region; a name stays as it is.
func inRegion(id, region string) string {
	parts := strings.SplitN(id, ":", 5)
	if len(parts) < 5 || parts[0] != "arn" {
		return id
	}
	return fmt.Sprintf("arn:%s:%s:%s:%s", parts[1], parts[2], region, parts[4])
}

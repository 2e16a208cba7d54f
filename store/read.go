package store

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/aws/smithy-go"

	"outrider/secret"
	"outrider/store/internal/wire"
)

// carryOut ends every read in f, several at a time.
func (s *Store) carryOut(ctx context.Context, f fresh) {
	var calls sync.WaitGroup
	single, shared := s.crowded(f.single)
	for batch := range slices.Chunk(f.batch, batchSize) {
		calls.Go(func() { s.readBundle(ctx, batch, 0) })
	}
	for batch := range slices.Chunk(shared, batchSize) {
		calls.Go(func() { s.readBundle(ctx, batch, company) })
	}
	for _, r := range single {
		calls.Go(func() { s.readOne(ctx, r) })
	}
	for _, names := range inTens(f.parameters) {
		calls.Go(func() { s.readParameters(ctx, names) })
	}
	for _, r := range f.paths {
		calls.Go(func() { s.readPath(ctx, r) })
	}
	calls.Wait()
}

// callOf returns how an entry's calls are made. Secrets that hang leave room
// for the others.
func (s *Store) callOf(e *entry, operation string) call {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := call{operation: operation, gate: s.gateOf(e.ref), opened: e.opened, slots: s.slots, limit: s.timeout}
	if e.suspect {
		c.slots = s.few
	}
	return c
}

// to returns the call as it is made to a region.
func (c call) to(r, own *region) call {
	if c.gate = &r.gate; r != own {
		c.opened = -1
	}
	return c
}

// readOne ends one read by GetSecretValue.
func (s *Store) readOne(ctx context.Context, r *read) {
	ref, c := r.entry.ref, s.callOf(r.entry, "GetSecretValue")
	out, p, err := anywhere(ctx, s, func(p *region) (*secretsmanager.GetSecretValueOutput, error) {
		in := &secretsmanager.GetSecretValueInput{SecretId: aws.String(p.in(ref.ID))}
		if ref.VersionID != "" {
			in.VersionId = aws.String(ref.VersionID)
		} else {
			in.VersionStage = aws.String(ref.Stage)
		}
		return do(ctx, s, c.to(p, s.regions[0]), func(ctx context.Context, as aws.CredentialsProvider) (*secretsmanager.GetSecretValueOutput, error) {
			return p.manager.get(ctx, in, func(o *secretsmanager.Options) { o.Credentials = as })
		})
	})
	if err != nil {
		s.end(r, secret.Version{}, explain(ref, "GetSecretValue", err))
		return
	}
	v, err := s.version(ref, p, types.SecretValueEntry{
		ARN: out.ARN, CreatedDate: out.CreatedDate, VersionId: out.VersionId,
		SecretBinary: out.SecretBinary, SecretString: out.SecretString,
	})
	s.end(r, v, err)
}

// readBatch ends up to twenty reads by BatchGetSecretValue, whose turn it is. It
// returns those that are to be read singly: which the answer does not settle, and
// all where batches are not allowed, fail, or this one was called off.
func (s *Store) readBatch(ctx context.Context, batch []*read) []*read {
	const operation = "BatchGetSecretValue"
	c := s.callOf(batch[0].entry, operation)
	// One secret that hangs must not hold up nineteen others for long.
	c.slots, c.limit, c.ready = s.slots, min(s.timeout, batchTimeout), new(true)
	out, p, err := anywhere(ctx, s, func(p *region) (*secretsmanager.BatchGetSecretValueOutput, error) {
		in := &secretsmanager.BatchGetSecretValueInput{}
		for _, r := range batch {
			in.SecretIdList = append(in.SecretIdList, p.in(r.entry.ref.ID))
		}
		return do(ctx, s, c.to(p, s.regions[0]), func(ctx context.Context, as aws.CredentialsProvider) (*secretsmanager.BatchGetSecretValueOutput, error) {
			return p.manager.batch(ctx, in, func(o *secretsmanager.Options) { o.Credentials = as })
		})
	})
	switch c := classify(err); {
	case c == denied, c == other && wire.Is[smithy.APIError](err): // what stands in for AWS may not know it
		s.mu.Lock()
		s.noBatch = time.Now().Add(forgiving)
		s.mu.Unlock()
	case c == gone: // one of them is asked for wrongly, or cannot be decrypted
	case err != nil && ctx.Err() != nil: // not by those whose reads came along
	case errors.Is(err, context.DeadlineExceeded):
	case c == server: // single reads may go well
		s.spare()
	case c == throttled: // a quota of its own; all wait for a moment, and are then read singly
		s.spare()
		fallthrough
	case err != nil:
		for _, r := range batch {
			s.end(r, secret.Version{}, explain(r.entry.ref, operation, err))
		}
		return nil
	default:
		return slices.DeleteFunc(slices.Clone(batch), func(r *read) bool { return s.settle(r, p, out) })
	}
	return batch
}

// spare leaves batches alone for a while.
func (s *Store) spare() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noBatch = time.Now().Add(sparing)
}

// settle ends r with what the batch says of it, if it says anything. What a
// fallback region refuses, the own one is asked for.
func (s *Store) settle(r *read, p *region, out *secretsmanager.BatchGetSecretValueOutput) bool {
	ref := r.entry.ref
	id := p.in(ref.ID)
	for _, v := range out.SecretValues {
		if aws.ToString(v.ARN) == id || aws.ToString(v.Name) == id {
			got, err := s.version(ref, p, v)
			s.end(r, got, err)
			return true
		}
	}
	for _, e := range out.Errors {
		if aws.ToString(e.SecretId) == id && p == s.regions[0] {
			s.end(r, secret.Version{}, &Error{
				Ref: ref, Operation: "BatchGetSecretValue",
				Code: aws.ToString(e.ErrorCode), Message: aws.ToString(e.Message),
			})
			return true
		}
	}
	return false
}

// version makes a version of what a region says of a secret. A copy is the same
// secret: its ARN is that in the own region.
func (s *Store) version(ref secret.Ref, p *region, v types.SecretValueEntry) (secret.Version, error) {
	got := secret.Version{
		Ref: ref, ID: aws.ToString(v.VersionId), ARN: inRegion(aws.ToString(v.ARN), s.regions[0].name),
		Region: p.name, Created: aws.ToTime(v.CreatedDate),
	}
	switch {
	case v.SecretString != nil:
		got.Value = secret.Text(*v.SecretString)
	case v.SecretBinary != nil:
		got.Value, got.Binary = secret.NewValue(v.SecretBinary), true
	default:
		return secret.Version{}, &Error{Ref: ref, Operation: "GetSecretValue", Message: "the answer holds no value"}
	}
	if got.ID == "" {
		return secret.Version{}, &Error{Ref: ref, Operation: "GetSecretValue", Message: "the answer holds no version id"}
	}
	return got, nil
}

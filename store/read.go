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

	"outrider/secret"
)

// fresh is what a caller has announced and must carry out.
type fresh struct {
	batch  []*read // twenty a call
	single []*read
}

// carryOut ends every read in f, several at a time.
func (s *Store) carryOut(ctx context.Context, f fresh) {
	var calls sync.WaitGroup
	for batch := range slices.Chunk(f.batch, batchSize) {
		calls.Go(func() { s.readBatch(ctx, batch) })
	}
	for _, r := range f.single {
		calls.Go(func() { s.readOne(ctx, r) })
	}
	calls.Wait()
}

// readOne ends one read by GetSecretValue.
func (s *Store) readOne(ctx context.Context, r *read) {
	ref := r.version.Ref
	in := &secretsmanager.GetSecretValueInput{SecretId: aws.String(ref.ID)}
	if ref.VersionID != "" {
		in.VersionId = aws.String(ref.VersionID)
	} else {
		in.VersionStage = aws.String(ref.Stage)
	}
	slots := s.slots
	if r.suspect {
		slots = s.few // so that secrets which hang leave room for the others
	}
	out, err := call(ctx, s, slots, s.timeout, in, s.client.GetSecretValue)
	if err != nil {
		r.end(secret.Version{}, explain(ref, "GetSecretValue", err))
		return
	}
	r.end(s.version(ref, types.SecretValueEntry{
		ARN: out.ARN, CreatedDate: out.CreatedDate, VersionId: out.VersionId,
		SecretBinary: out.SecretBinary, SecretString: out.SecretString,
	}))
}

// readBatch ends up to twenty reads by BatchGetSecretValue. Those that the
// answer does not settle, and all where batch is not allowed, are read singly.
func (s *Store) readBatch(ctx context.Context, batch []*read) {
	in := &secretsmanager.BatchGetSecretValueInput{}
	for _, r := range batch {
		in.SecretIdList = append(in.SecretIdList, r.version.Ref.ID)
	}
	// One secret that hangs must not hold up nineteen others for long.
	out, err := call(ctx, s, s.slots, min(s.timeout, batchTimeout), in, s.client.BatchGetSecretValue)
	switch {
	case err != nil && classify(err) == denied:
		s.mu.Lock()
		s.noBatch = true
		s.mu.Unlock()
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
	case err != nil:
		for _, r := range batch {
			r.end(secret.Version{}, explain(r.version.Ref, "BatchGetSecretValue", err))
		}
		return
	default:
		batch = slices.DeleteFunc(slices.Clone(batch), func(r *read) bool { return s.settle(r, out) })
	}
	s.carryOut(ctx, fresh{single: batch})
}

// settle ends r with what the batch says of it, if it says anything.
func (s *Store) settle(r *read, out *secretsmanager.BatchGetSecretValueOutput) bool {
	ref := r.version.Ref
	for _, v := range out.SecretValues {
		if aws.ToString(v.ARN) == ref.ID || aws.ToString(v.Name) == ref.ID {
			r.end(s.version(ref, v))
			return true
		}
	}
	for _, e := range out.Errors {
		if aws.ToString(e.SecretId) == ref.ID {
			r.end(secret.Version{}, &Error{
				Ref: ref, Operation: "BatchGetSecretValue",
				Code: aws.ToString(e.ErrorCode), Message: aws.ToString(e.Message),
			})
			return true
		}
	}
	return false
}

func (s *Store) version(ref secret.Ref, v types.SecretValueEntry) (secret.Version, error) {
	got := secret.Version{
		Ref: ref, ID: aws.ToString(v.VersionId), ARN: aws.ToString(v.ARN),
		Region: s.region, Created: aws.ToTime(v.CreatedDate),
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

func (r *read) end(v secret.Version, err error) {
	if err == nil {
		r.version = v
	}
	r.err = err
	close(r.done)
}

// call makes one call within a time limit and a number of slots. When AWS
// refuses the credentials it is made once more, with the session that
// replaces them, or by the clock that the refusal showed.
func call[In, Out any](ctx context.Context, s *Store, slots chan struct{}, limit time.Duration, in In, operation func(context.Context, In, ...func(*secretsmanager.Options)) (Out, error)) (Out, error) {
	var none Out
	for second := false; ; second = true {
		credentials, err := s.sessions.Retrieve(ctx)
		if err != nil {
			return none, sessionError{err}
		}
		out, err := attempt(ctx, slots, limit, in, credentials, operation)
		c := classify(err)
		if second || c != refused && c != misdated {
			return out, err
		}
		if c == refused {
			s.sessions.Spent(credentials)
		}
	}
}

func attempt[In, Out any](ctx context.Context, slots chan struct{}, limit time.Duration, in In, credentials aws.Credentials, operation func(context.Context, In, ...func(*secretsmanager.Options)) (Out, error)) (Out, error) {
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
	case <-ctx.Done():
		var none Out
		return none, context.Cause(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return operation(ctx, in, func(o *secretsmanager.Options) {
		o.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return credentials, nil
		})
	})
}

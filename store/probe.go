package store

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"outrider/secret"
)

// Batches reports whether secrets may be read in batches (BatchGetSecretValue),
// by one with the given secret in it. It blocks until AWS has answered.
func (s *Store) Batches(ctx context.Context, ref secret.Ref) error {
	const operation = "BatchGetSecretValue"
	own := s.regions[0]
	in := &secretsmanager.BatchGetSecretValueInput{SecretIdList: []string{ref.ID}}
	c := call{operation: operation, gate: &own.gate, slots: s.slots, limit: s.timeout}
	_, err := do(ctx, s, c, func(ctx context.Context, as aws.CredentialsProvider) (*secretsmanager.BatchGetSecretValueOutput, error) {
		return own.manager.batch(ctx, in, func(o *secretsmanager.Options) { o.Credentials = as })
	})
	if err != nil {
		return explain(ref, operation, err)
	}
	return nil
}

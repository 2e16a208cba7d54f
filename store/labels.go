package store

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"outrider/secret"
)

// Labels returns which version each staging label of a secret is on
// (DescribeSecret). It blocks until AWS has answered.
func (s *Store) Labels(ctx context.Context, ref secret.Ref) (map[string]string, error) {
	in := &secretsmanager.DescribeSecretInput{SecretId: aws.String(ref.ID)}
	out, err := call(ctx, s, s.slots, s.timeout, in, s.client.DescribeSecret)
	if err != nil {
		return nil, explain(ref, "DescribeSecret", err)
	}
	labels := map[string]string{}
	for version, stages := range out.VersionIdsToStages {
		for _, stage := range stages {
			labels[stage] = version
		}
	}
	return labels, nil
}

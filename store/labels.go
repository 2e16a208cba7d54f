package store

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"outrider/secret"
)

// sight is what DescribeSecret tells of a secret.
type sight struct {
	labels   map[string]string // staging label to version
	rotation time.Time         // no later than this AWS means to rotate it; zero: it does not
	deleted  bool              // it waits for its deletion
	region   string            // that answered
}

// moved reports whether the entry's label is no longer on the version held.
func (s sight) moved(e *entry) bool {
	return s.deleted || e.ref.VersionID == "" && s.labels[e.ref.Stage] != e.held.ID
}

// Labels returns which version each staging label of a secret is on
// (DescribeSecret). It blocks until AWS has answered.
func (s *Store) Labels(ctx context.Context, ref secret.Ref) (map[string]string, error) {
	seen, err := s.describe(ctx, ref, call{operation: "DescribeSecret", opened: -1, slots: s.slots, limit: s.timeout})
	if err != nil {
		return nil, explain(ref, "DescribeSecret", err)
	}
	return seen.labels, nil
}

func (s *Store) describe(ctx context.Context, ref secret.Ref, c call) (sight, error) {
	out, p, err := anywhere(ctx, s, func(p *region) (*secretsmanager.DescribeSecretOutput, error) {
		in := &secretsmanager.DescribeSecretInput{SecretId: aws.String(p.in(ref.ID))}
		return do(ctx, s, c.to(p, s.regions[0]), func(ctx context.Context, as aws.CredentialsProvider) (*secretsmanager.DescribeSecretOutput, error) {
			return p.manager.describe(ctx, in, func(o *secretsmanager.Options) { o.Credentials = as })
		})
	})
	if err != nil {
		return sight{}, err
	}
	seen := sight{labels: map[string]string{}, deleted: out.DeletedDate != nil, region: p.name}
	if aws.ToBool(out.RotationEnabled) {
		seen.rotation = aws.ToTime(out.NextRotationDate)
	}
	for version, stages := range out.VersionIdsToStages {
		for _, stage := range stages {
			seen.labels[stage] = version
		}
	}
	return seen, nil
}

package store

import (
	"context"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"outrider/refresher"
	"outrider/secret"
)

// sight is what DescribeSecret tells of a secret.
type sight struct {
	labels   map[string]string // staging label to version
	rotation time.Time         // no later than this AWS means to rotate it; zero: it does not
	deleted  bool              // it waits for its deletion
	region   string            // that answered
	primary  string            // the region that the secret is of; empty: AWS does not say
	copies   map[string]bool   // the regions that have one; false: not in step
}

// moved reports whether the entry's label is no longer on the version held.
func (s sight) moved(e *entry) bool {
	return s.deleted || e.ref.VersionID == "" && s.labels[e.ref.Stage] != e.held.ID
}

const describeSecret = "DescribeSecret"

// darkness is DescribeSecret while it fails: values are read in its place. It is
// over when it has worked where it failed first, as long as that can be read.
type darkness struct {
	breaker refresher.Breaker // open while values are read at once
	ref     secret.Ref
	err     error // once such a read went well; nil: there is nothing to say
}

// darken notes that DescribeSecret has failed. The caller holds the lock.
func (s *Store) darken() {
	// What was under way when it opened says nothing new.
	if now := time.Now(); !s.dark.breaker.Open(now) {
		s.dark.breaker.Record(false, now, s.roll())
	}
}

// outshone notes that a read has told what DescribeSecret would not.
func (s *Store) outshone(e *entry) {
	if e.dark != nil && s.dark.err == nil {
		s.dark.ref, s.dark.err = e.ref, e.dark
	}
}

// lit notes that DescribeSecret has answered about ref. The caller holds the
// lock.
func (s *Store) lit(ref secret.Ref) {
	// Where it failed first it is not asked while the value cannot be read.
	if s.dark.err == nil || s.dark.ref == ref || s.entry(s.dark.ref).err != nil {
		s.dark = darkness{}
	}
}

// probes reports whether DescribeSecret is asked about an entry: while it is
// dark one asks for all, since calls that hang would take the slots of the reads.
func (s *Store) probes(e *entry, now time.Time) bool {
	one := s.dark.err != nil && s.entry(s.dark.ref).err == nil
	return !s.dark.breaker.Open(now) && (!one || s.dark.ref == e.ref)
}

// Labels returns which version each staging label of a secret is on
// (DescribeSecret). It blocks until AWS has answered.
func (s *Store) Labels(ctx context.Context, ref secret.Ref) (map[string]string, error) {
	seen, err := s.describe(ctx, ref, call{operation: describeSecret, opened: -1, slots: s.slots, limit: s.timeout})
	if err != nil {
		return nil, explain(ref, describeSecret, err)
	}
	return seen.labels, nil
}

// Unreplicated returns the fallback regions that have no copy of a secret which
// its own region keeps in step (DescribeSecret), sorted. A copy itself, or one
// whose own region is away, tells of none. It blocks until AWS has answered.
func (s *Store) Unreplicated(ctx context.Context, ref secret.Ref) ([]string, error) {
	seen, err := s.describe(ctx, ref, call{operation: describeSecret, opened: -1, slots: s.slots, limit: s.timeout})
	if err != nil {
		return nil, explain(ref, describeSecret, err)
	}
	own := s.regions[0].name
	if seen.region != own || seen.primary != "" && seen.primary != own {
		return nil, nil
	}
	var missing []string
	for _, r := range s.regions[1:] {
		if !seen.copies[r.name] {
			missing = append(missing, r.name)
		}
	}
	slices.Sort(missing)
	return missing, nil
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
	seen := sight{
		labels: map[string]string{}, deleted: out.DeletedDate != nil, region: p.name,
		primary: aws.ToString(out.PrimaryRegion), copies: map[string]bool{},
	}
	for _, r := range out.ReplicationStatus {
		seen.copies[aws.ToString(r.Region)] = r.Status != types.StatusTypeFailed
	}
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

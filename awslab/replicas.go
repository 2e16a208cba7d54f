package awslab

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Replicate gives a secret a replica in another region of the account, a
// Neighbor: with an ARN of that region and the same versions. It can be read
// there alone, and emits no events.
func (l *Lab) Replicate(name string, neighbor *Lab) error {
	if l.mu != neighbor.mu || l == neighbor {
		return fmt.Errorf("lab: secret %s: replicas go to a neighbor of its own lab", name)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.vault.find(name, l.nowLocked())
	if s == nil || s.source != nil || neighbor.vault.secrets[s.name] != nil {
		return fmt.Errorf("lab: secret %s: not there, a replica itself, or its name is taken there", name)
	}
	s.region = l.opts.Region
	s.replicas = append(s.replicas, neighbor.opts.Region)
	neighbor.vault.secrets[s.name] = &secret{
		name: s.name, arn: neighbor.vault.prefix + strings.TrimPrefix(s.arn, l.vault.prefix), source: s,
	}
	return nil
}

// SetReplicationLag sets how much later than their primaries the replicas in
// this region change: an hour at most, and zero at the start.
func (l *Lab) SetReplicationLag(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lag = min(d, memory)
}

// seen is the secret as a read sees it, which may be as it was; nil when it
// is not there yet.
func (l *Lab) seen(s *secret) *secret {
	if s.source == nil {
		return look(l, &s.history, s, 0)
	}
	original := look(l, &s.source.history, s.source, l.lag)
	if original == nil {
		return nil
	}
	replica := original.copied()
	replica.arn = s.arn
	return replica
}

// replicaStatus is DescribeSecret's, for a primary.
type replicaStatus struct {
	Region string
	Status string
}

func (s *secret) replication() []replicaStatus {
	var list []replicaStatus
	for _, region := range slices.Sorted(slices.Values(s.replicas)) {
		list = append(list, replicaStatus{Region: region, Status: "InSync"})
	}
	return list
}

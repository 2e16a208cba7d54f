package awslab

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// quota is a token bucket that operations of an account share. It holds one
// second's worth, at least one call.
type quota struct {
	operations []string // "ssm.GetParameter"
	perSecond  float64
	tokens     float64
	filled     time.Time // zero: never, and full
}

// documentedQuotas are AWS's for one account in one region. Secrets Manager:
// https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html (2025-03-04).
// Parameter Store at its default throughput:
// https://docs.aws.amazon.com/general/latest/gr/ssm.html (2022). CreateSession:
// https://docs.aws.amazon.com/general/latest/gr/rolesanywhere.html.
// SQS has none for a standard queue.
func documentedQuotas() []*quota {
	return []*quota{
		{operations: []string{"secretsmanager.GetSecretValue"}, perSecond: 10000},
		{operations: []string{"secretsmanager.DescribeSecret"}, perSecond: 40000},
		{operations: []string{"secretsmanager.BatchGetSecretValue"}, perSecond: 100},
		{operations: []string{"secretsmanager.ListSecrets", "secretsmanager.ListSecretVersionIds"}, perSecond: 100},
		{operations: []string{"secretsmanager.PutSecretValue", "secretsmanager.UpdateSecretVersionStage", "secretsmanager.UpdateSecret"}, perSecond: 50},
		{operations: []string{"secretsmanager.RotateSecret"}, perSecond: 50},
		{operations: []string{"rolesanywhere.CreateSession"}, perSecond: 10},
		{operations: []string{"ssm.GetParameter", "ssm.GetParameters", "ssm.GetParametersByPath"}, perSecond: 40},
	}
}

// EnableQuotas throttles at the quotas that AWS documents, besides those set
// before. SetQuota changes one after that.
func (l *Lab) EnableQuotas() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.quotas = append(l.quotas, documentedQuotas()...)
}

// SetQuota throttles an operation that the lab plays, such as
// "ssm.GetParameters", to so many calls a second on the lab's clock, instead
// of by the quotas that it had; zero ends those alone. At the start there are none.
func (l *Lab) SetQuota(operation string, perSecond float64) error {
	service, name, _ := strings.Cut(operation, ".")
	if !(call{service: service, operation: name}).played() || perSecond < 0 {
		return fmt.Errorf("lab: quota of %q: give a SERVICE.OPERATION that the lab plays, and no negative number", operation)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, q := range l.quotas {
		q.operations = slices.DeleteFunc(q.operations, func(o string) bool { return o == operation })
	}
	if perSecond > 0 {
		l.quotas = append(l.quotas, &quota{operations: []string{operation}, perSecond: perSecond})
	}
	return nil
}

// Throttled returns how often each operation was refused by a quota or a
// Throttle fault, keyed as Calls, which counts those too.
func (l *Lab) Throttled() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.throttled)
}

// withinQuotas takes the call off its quotas.
func (l *Lab) withinQuotas(c call) bool {
	now := l.nowLocked()
	for _, q := range l.quotas {
		if slices.Contains(q.operations, c.String()) && !q.take(now) {
			return false
		}
	}
	return true
}

func (q *quota) take(now time.Time) bool {
	most := max(q.perSecond, 1)
	if q.filled.IsZero() {
		q.tokens = most
	} else if gone := now.Sub(q.filled); gone > 0 { // a clock set back fills nothing
		q.tokens = min(most, q.tokens+gone.Seconds()*q.perSecond)
	}
	q.filled = now
	if q.tokens < 1 {
		return false
	}
	q.tokens--
	return true
}

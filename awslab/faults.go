package awslab

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"
)

// FaultKind says what a fault does to a call.
type FaultKind string

// The kinds of fault.
const (
	Throttle FaultKind = "throttle" // 400 ThrottlingException; SQS's RequestThrottled
	Fail     FaultKind = "fail"     // 500 InternalServiceError, or what the fault says
	Delay    FaultKind = "delay"    // the call is done after the fault's delay
	Hang     FaultKind = "hang"     // no answer until the client gives up
	Drop     FaultKind = "drop"     // the connection is reset: AWS is away
)

// Fault makes matching calls go wrong.
type Fault struct {
	Kind      FaultKind `json:"kind"`
	Service   string    `json:"service,omitempty"`   // rolesanywhere, secretsmanager, ssm, sqs, sts; empty: every service
	Operation string    `json:"operation,omitempty"` // GetSecretValue or ssm.GetParameters, say; empty: every operation
	Count     int       `json:"count,omitempty"`     // how many calls it strikes; zero: all, until cleared

	Status  int           `json:"status,omitempty"`  // of Throttle and Fail; zero: the kind's
	Code    string        `json:"code,omitempty"`    // of Throttle and Fail; empty: the kind's
	Message string        `json:"message,omitempty"` // of Throttle and Fail; empty: the kind's
	Delay   time.Duration `json:"-"`                 // of Delay
}

// AddFault puts a fault behind those already set. Of several that match a
// call the first strikes, alone.
func (l *Lab) AddFault(f Fault) error {
	kinds := []FaultKind{Throttle, Fail, Delay, Hang, Drop}
	if !slices.Contains(kinds, f.Kind) {
		return fmt.Errorf("lab: fault kind %q: give one of %q", f.Kind, kinds)
	}
	if f.Count < 0 || f.Delay < 0 || (f.Status != 0 && (f.Status < 300 || f.Status > 599)) {
		return fmt.Errorf("lab: fault %q: count and delay must not be negative, status must be 300 to 599", f.Kind)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults = append(l.faults, f)
	return nil
}

// ClearFaults removes all faults. Calls that hang or wait go on doing so.
func (l *Lab) ClearFaults() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults = nil
}

// SetSkew sets how far the lab's clock is ahead of Options.Now (behind, when
// negative): in its Date header, and in all it decides by time.
func (l *Lab) SetSkew(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.skew = d
}

// Calls returns how often each operation was called, keyed
// "secretsmanager.GetSecretValue". Calls that were refused or struck by a
// fault count too.
func (l *Lab) Calls() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.calls)
}

// ResetCalls starts the counts anew, those of Throttled too.
func (l *Lab) ResetCalls() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.calls)
	clear(l.throttled)
}

// strike counts the call and applies the fault that is set for it. It returns
// AWS's refusal as struck, and as err that there is to be no answer.
func (l *Lab) strike(ctx context.Context, c call) (struck *apiError, err error) {
	f, ok := l.takeFault(c)
	if !ok {
		return nil, nil
	}
	switch f.Kind {
	case Throttle:
		code := "ThrottlingException"
		if c.service == queueService {
			code = "RequestThrottled"
		}
		return f.refusal(http.StatusBadRequest, code, "Rate exceeded"), nil
	case Fail:
		return f.refusal(http.StatusInternalServerError, "InternalServiceError", "An error occurred on the server side."), nil
	case Delay:
		return nil, pause(ctx, f.Delay)
	case Hang:
		return nil, pause(ctx, -1)
	}
	return nil, errDropped()
}

func (l *Lab) takeFault(c call) (Fault, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls[c.String()]++
	i := slices.IndexFunc(l.faults, func(f Fault) bool {
		return (f.Service == "" || f.Service == c.service) && (f.Operation == "" || c.is(f.Operation))
	})
	if i < 0 {
		if l.withinQuotas(c) {
			return Fault{}, false
		}
		l.throttled[c.String()]++
		return Fault{Kind: Throttle}, true
	}
	f := l.faults[i]
	if f.Kind == Throttle {
		l.throttled[c.String()]++
	}
	switch f.Count {
	case 0:
	case 1:
		l.faults = slices.Delete(l.faults, i, i+1)
	default:
		l.faults[i].Count--
	}
	return f, true
}

func (f Fault) refusal(status int, code, message string) *apiError {
	e := &apiError{status: status, code: code, message: message}
	if f.Status != 0 {
		e.status = f.Status
	}
	if f.Code != "" {
		e.code = f.Code
	}
	if f.Message != "" {
		e.message = f.Message
	}
	return e
}

package store

import (
	"context"
	"errors"
	"testing"

	"github.com/aws/smithy-go"

	"outrider/secret"
)

func TestErrorTellsARefusalFromAnOutage(t *testing.T) {
	tests := map[string]struct {
		err               error
		temporary, denied bool
	}{
		"denied":                       {err: &smithy.GenericAPIError{Code: "AccessDeniedException", Message: "KMS"}, denied: true},
		"throttled":                    {err: &smithy.GenericAPIError{Code: "ThrottlingException"}, temporary: true},
		"no answer in time":            {err: context.DeadlineExceeded, temporary: true},
		"an answer that is no JSON":    {err: &smithy.DeserializationError{}, temporary: true},
		"a secret that is not there":   {err: &smithy.GenericAPIError{Code: "ResourceNotFoundException"}},
		"a quota":                      {err: &smithy.GenericAPIError{Code: "LimitExceededException"}},
		"called off by who asked":      {err: context.Canceled},
		"a session that is not wanted": {err: &smithy.GenericAPIError{Code: "ExpiredTokenException"}},
	}
	for name, test := range tests {
		got, ok := errors.AsType[*Error](explain(secret.Ref{ID: "a", Stage: secret.Current}, "GetSecretValue", test.err))
		if !ok || got.Temporary() != test.temporary || got.Denied() != test.denied {
			t.Errorf("%s: temporary %v, denied %v", name, got.Temporary(), got.Denied())
		}
	}
	inBatch := &Error{Code: "AccessDeniedException"}
	if !inBatch.Denied() || inBatch.Temporary() {
		t.Error("a refusal inside a batch is not taken for one")
	}
}

package store

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"outrider/secret"
)

// answers gives the same answer to a few calls, and then none: pages may have
// no end.
type answers struct {
	status int
	kind   string
	body   []byte
	left   atomic.Int32
}

func (a *answers) RoundTrip(r *http.Request) (*http.Response, error) {
	if a.left.Add(-1) < 0 {
		return nil, errors.New("no more answers")
	}
	return &http.Response{
		StatusCode: a.status, Request: r, Body: io.NopCloser(bytes.NewReader(a.body)),
		Header: http.Header{"Content-Type": {a.kind}, "X-Amzn-Errortype": {a.kind}},
	}, nil
}

// known hands out credentials that nobody looks at.
type known struct{}

func (known) Retrieve(context.Context) (aws.Credentials, error) {
	return aws.Credentials{AccessKeyID: "ASIAX", SecretAccessKey: "s", SessionToken: "t"}, nil
}

func (known) Spent(aws.Credentials) {}

// FuzzAnswer gives a Store what may come in AWS's place, for every way to read
// there is. It is a whole snapshot, or errors that each tell their reference in
// one line, and what is no error of AWS's is not quoted.
func FuzzAnswer(f *testing.F) {
	const value = "canary-4711"
	for _, body := range []string{
		`{"ARN":"arn:aws:secretsmanager:eu-west-3:111122223333:secret:db-AbCdEf","VersionId":"v","SecretString":"` + value + `","CreatedDate":1.7e9}`,
		`{"SecretBinary":"Y2FuYXJ5LTQ3MTE=","VersionId":"v"}`, `{"SecretString":"` + value, `{"SecretString":["` + value + `"]}`, `{"CreatedDate":"` + value + `"}`,
		`{"SecretValues":[{"Name":"db","VersionId":"v","VersionStages":["AWSCURRENT"],"SecretString":"` + value + `"}],"Errors":[{"SecretId":"b","ErrorCode":"AccessDeniedException","Message":"no"}]}`,
		`{"Parameters":[{"Name":"/p","ARN":"arn:aws:ssm:eu-west-3:111122223333:parameter/p","Type":"SecureString","Value":"` + value + `","Version":3,"LastModifiedDate":1.7e9}],"InvalidParameters":["/q"]}`,
		`{"Parameters":[{"Name":"/path/a","Value":"","Version":1},{"Name":"/path/a/b","Version":-9223372036854775808}],"NextToken":"more"}`,
		`{"VersionIdsToStages":{"v":["AWSCURRENT"],"w":null},"DeletedDate":1,"RotationEnabled":true}`, `null`, `[]`, ``,
	} {
		f.Add(200, "application/x-amz-json-1.1", []byte(body))
	}
	f.Add(400, "AccessDeniedException", []byte(`{"Message":"not\u001b[31m\nauthorized to perform: kms:Decrypt"}`))
	f.Add(400, "", []byte(`{"__type":"com.amazonaws#ResourceNotFoundException"}`))
	f.Add(503, "text/html", []byte("<html>log in</html>"))
	refs := map[string]map[string]secret.Ref{
		"one":       {"db": {ID: "db", Stage: secret.Current}},
		"a version": {"db": {ID: "db", VersionID: "v"}},
		"a batch":   {"db": {ID: "db", Stage: secret.Current}, "b": {ID: "b", Stage: secret.Current}},
		"parameter": {"p": {Kind: secret.Parameter, ID: "/p"}, "q": {Kind: secret.Parameter, ID: "/q:3"}},
		"path":      {"all": {Kind: secret.Parameters, ID: "/path/", Recursive: true}},
	}
	f.Fuzz(func(t *testing.T, status int, kind string, body []byte) {
		if status < 200 || status > 999 {
			return // the transport has dealt with these
		}
		for name, wanted := range refs {
			a := &answers{status: status, kind: kind, body: body}
			a.left.Store(12)
			s := New(Options{Region: "eu-west-3", Transport: a, Sessions: known{}})
			shot, err := s.Get(t.Context(), wanted, time.Now(), secret.Snapshot{})
			if err == nil {
				whole(t, name, shot, wanted)
			}
			_, labels := s.Labels(t.Context(), secret.Ref{ID: "db", Stage: secret.Current})
			for _, err := range []error{err, labels} {
				if err == nil {
					continue
				}
				if text := err.Error(); len(text) > 10_000 || strings.Count(text, "\n") >= len(wanted) || strings.ContainsAny(text, "\r\x1b") {
					t.Errorf("%s: got %q, want a short line for each", name, text)
				}
				quiet := status == http.StatusOK && !bytes.Contains(body, []byte("rror")) && !bytes.Contains(body, []byte("essage"))
				if quiet && strings.Contains(err.Error(), value) {
					t.Errorf("%s: the error shows a value", name)
				}
			}
		}
	})
}

// whole fails the test unless the snapshot has a version of each reference.
func whole(t *testing.T, name string, shot secret.Snapshot, wanted map[string]secret.Ref) {
	t.Helper()
	for key, ref := range wanted {
		v, ok := shot.Get(key)
		if !ok || v.ID == "" || v.Ref != ref || ref.Kind == secret.Parameters && len(v.Below) == 0 {
			t.Errorf("%s: got a snapshot without a version of %s", name, key)
		}
	}
}

package awslab

import (
	"context"
	"net/http"
	"strconv"
	"time"
)

// The content types of AWS's JSON protocols.
const (
	json10 = "application/x-amz-json-1.0"
	json11 = "application/x-amz-json-1.1"
)

// answerJSON answers a call of a service that speaks JSON.
func (l *Lab) answerJSON(c call, r *http.Request, body []byte) (*response, error) {
	do := operationOf(c)
	if do == nil {
		return nil, errUnknownOperation(c)
	}
	who, err := l.authenticate(c, r, body)
	if err != nil {
		return nil, err
	}
	contentType := json11
	switch {
	case c.query:
		return l.answerQuery(c, r, who, body, do)
	case c.service == queueService:
		contentType = json10
	}
	if r.Method != http.MethodPost || r.Header.Get("Content-Type") != contentType {
		return nil, errValidation("the request must be a POST of %s", contentType)
	}
	out, err := do(r.Context(), l, who, body)
	if err != nil {
		return nil, err
	}
	return jsonResponse(http.StatusOK, contentType, out), nil
}

// operation reads its input, does the work under the lab's lock and returns
// what is sent as JSON. Only ReceiveMessage waits, without the lock.
type operation func(ctx context.Context, l *Lab, c caller, body []byte) (any, error)

// op makes an operation of a function with a typed input.
func op[In any](do func(*Lab, caller, In) (any, error)) operation {
	return func(_ context.Context, l *Lab, c caller, body []byte) (any, error) {
		var in In
		if err := decodeStrict(body, &in); err != nil {
			return nil, err
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if err := l.authorize(c); err != nil {
			return nil, err
		}
		return do(l, c, in)
	}
}

// operationOf returns nil when the lab does not play the operation.
func operationOf(c call) operation {
	switch c.service {
	case secretsManager:
		return secretOperation(c.operation)
	case systemsManager:
		return parameterOperation(c.operation)
	case queueService:
		return queueOperation(c.operation)
	}
	return nil
}

// played reports whether the lab knows the operation.
func (c call) played() bool {
	switch c.service {
	case rolesAnywhere:
		return c.operation == "CreateSession"
	case sts:
		return c.operation == "GetCallerIdentity" || c.operation == "AssumeRole"
	}
	return operationOf(c) != nil
}

func secretOperation(name string) operation {
	switch name {
	case "BatchGetSecretValue":
		return op((*Lab).batchGetSecretValue)
	case "CreateSecret":
		return op((*Lab).createSecret)
	case "DeleteSecret":
		return op((*Lab).deleteSecret)
	case "DescribeSecret":
		return op((*Lab).describeSecret)
	case "GetRandomPassword":
		return op((*Lab).getRandomPassword)
	case "GetSecretValue":
		return op((*Lab).getSecretValue)
	case "ListSecretVersionIds":
		return op((*Lab).listSecretVersionIDs)
	case "ListSecrets":
		return op((*Lab).listSecrets)
	case "PutSecretValue":
		return op((*Lab).putSecretValue)
	case "RestoreSecret":
		return op((*Lab).restoreSecret)
	case "RotateSecret":
		return op((*Lab).rotateSecret)
	case "TagResource":
		return op((*Lab).tagResource)
	case "UntagResource":
		return op((*Lab).untagResource)
	case "UpdateSecret":
		return op((*Lab).updateSecret)
	case "UpdateSecretVersionStage":
		return op((*Lab).updateSecretVersionStage)
	}
	return nil
}

// known resolves an id that the caller may use; the secret may be deleted.
func (l *Lab) known(c caller, id string) (*secret, error) {
	if id == "" || len(id) > 2048 {
		return nil, errValidation("SecretId: must have 1 to 2048 characters")
	}
	s := l.vault.find(id, l.nowLocked())
	if s == nil {
		if err := l.authorize(c, id); err != nil {
			return nil, err
		}
		return nil, errNoSecret()
	}
	return s, l.authorize(c, id, s.name, s.arn)
}

func errNoSecret() error { return errNotFound("Secrets Manager can't find the specified secret.") }

// live is known less the deleted secrets.
func (l *Lab) live(c caller, id string) (*secret, error) {
	s, err := l.known(c, id)
	if err == nil && !s.deleted.IsZero() {
		err = errRequest("You can't perform this operation on the secret because it was marked for deletion.")
	}
	return s, err
}

// primary is live less the replicas, which cannot be written.
func (l *Lab) primary(c caller, id string) (*secret, error) {
	s, err := l.live(c, id)
	if err == nil && s.source != nil {
		err = errReplica()
	}
	return s, err
}

// epoch is a time as JSON 1.1 has it: seconds, with a fraction.
type epoch time.Time

// IsZero lets omitzero leave the time out.
func (e epoch) IsZero() bool { return time.Time(e).IsZero() }

// MarshalJSON gives milliseconds as the fraction.
func (e epoch) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, float64(time.Time(e).UnixMilli())/1000, 'f', -1, 64), nil
}

// secretValue is what GetSecretValue returns, and BatchGetSecretValue for
// each secret.
type secretValue struct {
	ARN           string
	Name          string
	VersionID     string   `json:"VersionId"`
	SecretString  *string  `json:",omitempty"`
	SecretBinary  []byte   `json:",omitempty"`
	VersionStages []string `json:",omitempty"`
	CreatedDate   epoch
}

func (l *Lab) read(c caller, id, versionID, stage string) (*secretValue, error) {
	s, err := l.live(c, id)
	if err != nil {
		return nil, err
	}
	s.accessed = l.nowLocked().UTC().Truncate(24 * time.Hour)
	if s = l.seen(s); s == nil {
		return nil, errNoSecret()
	}
	v, err := s.pick(versionID, stage)
	if err != nil {
		return nil, err
	}
	out := &secretValue{ARN: s.arn, Name: s.name, VersionID: v.id, VersionStages: s.labels.of(v.id), CreatedDate: epoch(v.created)}
	if v.content.binary {
		out.SecretBinary = []byte(v.content.data)
	} else {
		out.SecretString = &v.content.data
	}
	return out, nil
}

func (l *Lab) getSecretValue(c caller, in struct {
	SecretID     string `json:"SecretId"`
	VersionID    string `json:"VersionId"`
	VersionStage string
},
) (any, error) {
	return l.read(c, in.SecretID, in.VersionID, in.VersionStage)
}

type batchError struct {
	SecretID  string `json:"SecretId"`
	ErrorCode string
	Message   string
}

// batchGetSecretValue answers 200 also when no secret could be read: each
// one's error stands in the answer.
func (l *Lab) batchGetSecretValue(c caller, in struct {
	SecretIDList []string `json:"SecretIdList"`
	Filters      []filter
	MaxResults   *int
	NextToken    string
},
) (any, error) {
	if (len(in.SecretIDList) > 0) == (len(in.Filters) > 0) {
		return nil, errParameter("Give either SecretIdList or Filters.")
	}
	if len(in.SecretIDList) > 20 {
		return nil, errValidation("SecretIdList: %d ids, at most 20", len(in.SecretIDList))
	}
	if len(in.SecretIDList) > 0 && (in.MaxResults != nil || in.NextToken != "") {
		return nil, errParameter("MaxResults and NextToken go with Filters only.")
	}
	out := struct {
		SecretValues []*secretValue
		Errors       []batchError
		NextToken    string `json:",omitempty"`
	}{SecretValues: []*secretValue{}, Errors: []batchError{}}
	ids := in.SecretIDList
	if len(in.Filters) > 0 {
		lister := c
		lister.operation = "ListSecrets"
		if err := l.authorize(lister); err != nil {
			return nil, err
		}
		page, next, err := l.filtered(in.Filters, l.sorted("", "", false), in.MaxResults, 20, in.NextToken)
		if err != nil {
			return nil, err
		}
		out.NextToken = next
		for _, s := range page {
			ids = append(ids, s.arn)
		}
	}
	reader := c
	reader.operation = "GetSecretValue"
	for _, id := range ids {
		value, err := l.read(reader, id, "", "")
		if err != nil {
			e := asAPIError(err)
			out.Errors = append(out.Errors, batchError{SecretID: id, ErrorCode: e.code, Message: e.message})
			continue
		}
		out.SecretValues = append(out.SecretValues, value)
	}
	return out, nil
}

// description is what DescribeSecret and ListSecrets say of a secret.
type description struct {
	ARN                    string
	Name                   string
	Description            string `json:",omitempty"`
	KmsKeyID               string `json:"KmsKeyId,omitempty"`
	Tags                   []tag
	CreatedDate            epoch
	LastChangedDate        epoch
	LastAccessedDate       epoch               `json:",omitzero"`
	DeletedDate            epoch               `json:",omitzero"`
	RotationEnabled        *bool               `json:",omitempty"`
	NextRotationDate       epoch               `json:",omitzero"`
	PrimaryRegion          string              `json:",omitempty"`
	ReplicationStatus      []replicaStatus     `json:",omitempty"`
	VersionIDsToStages     map[string][]string `json:"VersionIdsToStages,omitempty"`
	SecretVersionsToStages map[string][]string `json:",omitempty"`
}

func (s *secret) describe() description {
	return description{
		ARN: s.arn, Name: s.name, Description: s.description, KmsKeyID: s.kmsKeyID, Tags: append([]tag{}, s.tags...),
		CreatedDate: epoch(s.created), LastChangedDate: epoch(s.changed), LastAccessedDate: epoch(s.accessed), DeletedDate: epoch(s.deleted),
		RotationEnabled: s.rotates, NextRotationDate: epoch(s.rotation), PrimaryRegion: s.region,
	}
}

type secretID struct {
	SecretID string `json:"SecretId"`
}

func (l *Lab) describeSecret(c caller, in secretID) (any, error) {
	s, err := l.known(c, in.SecretID)
	if err != nil {
		return nil, err
	}
	if s = l.seen(s); s == nil {
		return nil, errNoSecret()
	}
	out := s.describe()
	out.VersionIDsToStages = s.labels.byVersion()
	if s.region == l.opts.Region {
		out.ReplicationStatus = s.replication()
	}
	return out, nil
}

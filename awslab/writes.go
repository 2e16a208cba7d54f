package awslab

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// valueInput is the part of an input that carries a value.
type valueInput struct {
	ClientRequestToken string
	SecretString       *string
	SecretBinary       []byte
}

// content returns the value, and whether there is one.
func (in valueInput) content() (content, bool, error) {
	text, binary := in.SecretString != nil && *in.SecretString != "", len(in.SecretBinary) > 0
	switch {
	case text && binary:
		return content{}, false, errParameter("You can't specify both a binary secret value and a string secret value.")
	case (text || binary) && in.ClientRequestToken == "":
		return content{}, false, errRequest("You must provide a ClientRequestToken value. We recommend a UUID-type value.")
	case text:
		return content{data: *in.SecretString}, true, nil
	case binary:
		return content{data: string(in.SecretBinary), binary: true}, true, nil
	}
	return content{}, false, nil
}

// written is what the writing operations return; each sets its own members.
type written struct {
	ARN           string
	Name          string
	VersionID     string   `json:"VersionId,omitempty"`
	VersionStages []string `json:",omitempty"`
	DeletionDate  epoch    `json:",omitzero"`
}

func (s *secret) written() written { return written{ARN: s.arn, Name: s.name} }

func (l *Lab) createSecret(c caller, in struct {
	valueInput
	Name        string
	Description string
	KmsKeyID    string `json:"KmsKeyId"`
	Tags        []tag
},
) (any, error) {
	now := l.nowLocked()
	value, hasValue, err := in.content()
	if err != nil {
		return nil, err
	}
	if err := l.authorize(c, in.Name); err != nil {
		return nil, err
	}
	if s := l.vault.find(in.Name, now); s != nil {
		return s.createdAgain(in.ClientRequestToken, value)
	}
	s, err := l.vault.add(in.Name, now)
	if err != nil {
		return nil, err
	}
	out := s.written()
	if err = s.addTags(in.Tags); err == nil && hasValue {
		_, err = s.put(in.ClientRequestToken, value, nil, now)
		out.VersionID = in.ClientRequestToken
	}
	if err != nil {
		delete(l.vault.secrets, s.name)
		return nil, err
	}
	s.description, s.kmsKeyID = in.Description, in.KmsKeyID
	l.labelsMoved(s, nil)
	return out, nil
}

// createdAgain answers a CreateSecret whose name is taken: success when it
// is the same request once more.
func (s *secret) createdAgain(token string, value content) (any, error) {
	if !s.deleted.IsZero() {
		return nil, errRequest("You can't create this secret because a secret with this name is already scheduled for deletion.")
	}
	if v := s.version(token); v == nil || v.content != value {
		return nil, &apiError{code: "ResourceExistsException", message: "The operation failed because the secret " + s.name + " already exists."}
	}
	out := s.written()
	out.VersionID = token
	return out, nil
}

func (l *Lab) putSecretValue(c caller, in struct {
	valueInput
	SecretID      string `json:"SecretId"`
	VersionStages []string
},
) (any, error) {
	s, err := l.primary(c, in.SecretID)
	if err != nil {
		return nil, err
	}
	value, ok, err := in.content()
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, errRequest("You must provide either SecretString or SecretBinary.")
	}
	if in.VersionStages != nil && len(in.VersionStages) == 0 || slices.Contains(in.VersionStages, "") {
		return nil, errValidation("VersionStages: must not be empty, nor any label in it")
	}
	before := maps.Clone(s.labels)
	v, err := s.put(in.ClientRequestToken, value, in.VersionStages, l.nowLocked())
	if err != nil {
		return nil, err
	}
	l.labelsMoved(s, before)
	l.trail(s, "PutSecretValue", putRequest(in.SecretID, v.id, in.VersionStages))
	out := s.written()
	out.VersionID, out.VersionStages = v.id, s.labels.of(v.id)
	return out, nil
}

func (l *Lab) updateSecret(c caller, in struct {
	valueInput
	SecretID    string `json:"SecretId"`
	Description *string
	KmsKeyID    *string `json:"KmsKeyId"`
},
) (any, error) {
	s, err := l.primary(c, in.SecretID)
	if err != nil {
		return nil, err
	}
	value, hasValue, err := in.content()
	if err != nil {
		return nil, err
	}
	out := s.written()
	if hasValue {
		// Unlike PutSecretValue's, this version always becomes the current one.
		before := maps.Clone(s.labels)
		v, err := s.put(in.ClientRequestToken, value, []string{current}, l.nowLocked())
		if err != nil {
			return nil, err
		}
		out.VersionID = v.id
		l.labelsMoved(s, before)
	}
	if in.Description != nil {
		s.description = *in.Description
	}
	if in.KmsKeyID != nil {
		s.kmsKeyID = *in.KmsKeyID
	}
	s.changed = l.nowLocked()
	request := map[string]any{"secretId": in.SecretID}
	if hasValue {
		request["clientRequestToken"] = in.ClientRequestToken
	}
	l.trail(s, "UpdateSecret", request)
	return out, nil
}

// putRequest and moveRequest are what a trail keeps of a request: no values.
func putRequest(id, token string, stages []string) map[string]any {
	request := map[string]any{"secretId": id, "clientRequestToken": token}
	if len(stages) > 0 {
		request["versionStages"] = stages
	}
	return request
}

func moveRequest(id, label, to, from string) map[string]any {
	request := map[string]any{"secretId": id, "versionStage": label}
	if to != "" {
		request["moveToVersionId"] = to
	}
	if from != "" {
		request["removeFromVersionId"] = from
	}
	return request
}

func (l *Lab) updateSecretVersionStage(c caller, in struct {
	SecretID            string `json:"SecretId"`
	VersionStage        string
	MoveToVersionID     string `json:"MoveToVersionId"`
	RemoveFromVersionID string `json:"RemoveFromVersionId"`
},
) (any, error) {
	s, err := l.primary(c, in.SecretID)
	if err != nil {
		return nil, err
	}
	if in.VersionStage == "" || len(in.VersionStage) > 256 {
		return nil, errValidation("VersionStage: must have 1 to 256 characters")
	}
	before := maps.Clone(s.labels)
	if err := s.moveLabel(in.VersionStage, in.MoveToVersionID, in.RemoveFromVersionID, l.nowLocked()); err != nil {
		return nil, err
	}
	l.labelsMoved(s, before)
	l.trail(s, "UpdateSecretVersionStage", moveRequest(in.SecretID, in.VersionStage, in.MoveToVersionID, in.RemoveFromVersionID))
	return s.written(), nil
}

func (l *Lab) deleteSecret(c caller, in struct {
	SecretID                   string `json:"SecretId"`
	RecoveryWindowInDays       *int
	ForceDeleteWithoutRecovery bool
},
) (any, error) {
	now := l.nowLocked()
	s, err := l.known(c, in.SecretID)
	if err == nil && s.source != nil {
		err = errReplica()
	}
	if err == nil && len(s.replicas) > 0 {
		err = errParameter("You can't delete secret " + s.name + " that still has replica regions " + strings.Join(s.replicas, ", ") + ".")
	}
	if err != nil {
		return nil, err
	}
	days := 30
	if in.RecoveryWindowInDays != nil {
		if days = *in.RecoveryWindowInDays; days < 7 || days > 30 || in.ForceDeleteWithoutRecovery {
			return nil, errParameter("RecoveryWindowInDays: must be 7 to 30, and not go with ForceDeleteWithoutRecovery.")
		}
	}
	out := s.written()
	if in.ForceDeleteWithoutRecovery {
		delete(l.vault.secrets, s.name)
		out.DeletionDate = epoch(now)
		l.trail(s, "DeleteSecret", map[string]any{"secretId": in.SecretID, "forceDeleteWithoutRecovery": true})
		return out, nil
	}
	if !s.deleted.IsZero() {
		return nil, errRequest("You can't perform this operation on the secret because it was already scheduled for deletion.")
	}
	s.deleted, s.gone = now, now.Add(time.Duration(days)*24*time.Hour)
	out.DeletionDate = epoch(s.gone)
	l.trail(s, "DeleteSecret", map[string]any{"secretId": in.SecretID, "recoveryWindowInDays": days})
	return out, nil
}

func (l *Lab) restoreSecret(c caller, in secretID) (any, error) {
	s, err := l.known(c, in.SecretID)
	if err == nil && s.source != nil {
		err = errReplica()
	}
	if err != nil {
		return nil, err
	}
	s.deleted, s.gone = time.Time{}, time.Time{}
	l.trail(s, "RestoreSecret", map[string]any{"secretId": in.SecretID})
	return s.written(), nil
}

// rotateSecret refuses as AWS does for a secret without a rotation function,
// which the lab has no place for.
func (l *Lab) rotateSecret(c caller, in struct {
	SecretID           string `json:"SecretId"`
	ClientRequestToken string
	RotateImmediately  *bool
},
) (any, error) {
	s, err := l.primary(c, in.SecretID)
	if err != nil {
		return nil, err
	}
	if id, ok := s.labels[pending]; ok && id != s.labels[current] {
		return nil, errRequest("A previous rotation isn't complete. That rotation will be reattempted.")
	}
	return nil, errRequest("No Lambda rotation function ARN is associated with this secret.")
}

func (l *Lab) tagResource(c caller, in struct {
	SecretID string `json:"SecretId"`
	Tags     []tag
},
) (any, error) {
	s, err := l.primary(c, in.SecretID)
	if err != nil {
		return nil, err
	}
	return struct{}{}, s.addTags(in.Tags)
}

func (l *Lab) untagResource(c caller, in struct {
	SecretID string `json:"SecretId"`
	TagKeys  []string
},
) (any, error) {
	s, err := l.primary(c, in.SecretID)
	if err != nil {
		return nil, err
	}
	s.tags = slices.DeleteFunc(s.tags, func(t tag) bool { return slices.Contains(in.TagKeys, t.Key) })
	return struct{}{}, nil
}

// addTags replaces tags of the same key.
func (s *secret) addTags(tags []tag) error {
	kept := slices.Clone(s.tags)
	for _, t := range tags {
		if t.Key == "" || len(t.Key) > 128 || len(t.Value) > 256 {
			return errValidation("Tags: a key has 1 to 128 characters, a value up to 256")
		}
		kept = slices.DeleteFunc(kept, func(old tag) bool { return old.Key == t.Key })
		kept = append(kept, t)
	}
	if len(kept) > 50 {
		return &apiError{code: "LimitExceededException", message: "The secret would have more than 50 tags."}
	}
	s.tags = kept
	return nil
}

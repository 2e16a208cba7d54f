package awslab

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Limits of one secret.
const (
	maxName     = 512   // characters
	maxValue    = 65536 // bytes
	maxVersions = 100
	youngest    = 24 * time.Hour // a version without a label is kept at least so long
)

// secretName is what CreateSecret takes as a name, of up to maxName
// characters. The bound is no part of it: every start of the binary compiles
// it, and {1,512} makes a thousandth of a second of that.
var secretName = regexp.MustCompile(`^[A-Za-z0-9/_+=.@-]+$`)

// fullARN is an ARN's last part that ends in the random suffix, or seems to.
var fullARN = regexp.MustCompile(`-[A-Za-z0-9]{6}$`)

// vault is the secrets of one account in one region, by name.
type vault struct {
	prefix  string // of the ARNs
	secrets map[string]*secret
}

// secret is one secret with its versions, oldest first.
type secret struct {
	name, arn   string
	description string
	kmsKeyID    string
	tags        []tag
	created     time.Time
	changed     time.Time
	accessed    time.Time // zero: never
	deleted     time.Time // when DeleteSecret was called; zero: not deleted
	gone        time.Time // when the recovery window ends
	versions    []*version
	labels      labels
	rotates     *bool     // nil: rotation was never configured
	rotation    time.Time // the next
	history     history[*secret]
	region      string   // where the primary is, of a secret with replicas
	replicas    []string // regions
	source      *secret  // the primary, of a replica, which has nothing but that and its names
}

// copied is the secret as it is now, without its history.
func (s *secret) copied() *secret {
	c := *s
	c.versions, c.labels, c.history = slices.Clone(s.versions), maps.Clone(s.labels), history[*secret]{}
	return &c
}

// version is one value of a secret.
type version struct {
	id      string
	content content
	created time.Time
}

// content is text or bytes.
type content struct {
	data   string
	binary bool
}

type tag struct{ Key, Value string }

func newVault(region, account string) *vault {
	return &vault{prefix: "arn:aws:secretsmanager:" + region + ":" + account + ":secret:", secrets: map[string]*secret{}}
}

// find resolves a name, an ARN, or an ARN without its suffix. As with AWS an
// ARN that only looks as if it had its suffix is taken to have one.
func (v *vault) find(id string, now time.Time) *secret {
	s := v.secrets[id]
	if rest, ok := strings.CutPrefix(id, v.prefix); ok {
		if fullARN.MatchString(rest) {
			s = v.secrets[rest[:len(rest)-7]]
		} else {
			s = v.secrets[rest]
		}
		if s != nil && fullARN.MatchString(rest) && s.arn != id {
			s = nil
		}
	}
	if s != nil && !s.deleted.IsZero() && !now.Before(s.gone) {
		delete(v.secrets, s.name)
		return nil
	}
	return s
}

// add makes a secret without a value.
func (v *vault) add(name string, now time.Time) (*secret, error) {
	if len(name) > maxName || !secretName.MatchString(name) {
		return nil, errValidation("Name: 1 to 512 letters, digits and /_+=.@- are allowed")
	}
	s := &secret{name: name, arn: v.prefix + name + "-" + newSuffix(), created: now, changed: now, labels: labels{}}
	s.history.record(now, nil)
	v.secrets[name] = s
	return s, nil
}

func (s *secret) version(id string) *version {
	i := slices.IndexFunc(s.versions, func(v *version) bool { return v.id == id })
	if i < 0 {
		return nil
	}
	return s.versions[i]
}

// put is PutSecretValue: it adds the version and attaches its labels. With
// the token of a version that is there it changes nothing: the same content
// is a repetition, another is refused.
func (s *secret) put(token string, c content, stages []string, now time.Time) (*version, error) {
	if v := s.version(token); v != nil {
		if v.content == c {
			return v, nil
		}
		return nil, &apiError{code: "ResourceExistsException", message: "ClientRequestToken " + token + " is already in use for another version of secret " + s.arn + "."}
	}
	if len(token) < 32 || len(token) > 64 {
		return nil, errParameter("ClientRequestToken: must have 32 to 64 characters.")
	}
	if len(c.data) > maxValue {
		return nil, errValidation("the secret value is longer than %d bytes", maxValue)
	}
	if len(stages) == 0 || s.labels[current] == "" {
		stages = append(slices.Clone(stages), current)
	}
	if err := s.labels.room(stages); err != nil {
		return nil, err
	}
	if err := s.makeRoom(now); err != nil {
		return nil, err
	}
	s.history.record(now, s.copied())
	v := &version{id: token, content: c, created: now}
	s.versions = append(s.versions, v)
	for _, label := range stages {
		s.labels.attach(label, token)
	}
	s.changed = now
	return v, nil
}

// makeRoom drops the oldest version that may go once there are about 100.
func (s *secret) makeRoom(now time.Time) error {
	if len(s.versions) < maxVersions {
		return nil
	}
	i := slices.IndexFunc(s.versions, func(v *version) bool {
		return len(s.labels.of(v.id)) == 0 && now.Sub(v.created) >= youngest
	})
	if i < 0 {
		return &apiError{code: "LimitExceededException", message: fmt.Sprintf(
			"The secret has %d versions that have labels or are younger than %v.", maxVersions, youngest)}
	}
	s.versions = slices.Delete(s.versions, i, i+1)
	return nil
}

// pick finds the version that a read asks for; both empty is AWSCURRENT.
func (s *secret) pick(versionID, stage string) (*version, error) {
	if versionID == "" && stage == "" {
		stage = current
	}
	if stage != "" && versionID != "" && s.labels[stage] != versionID {
		return nil, &apiError{code: "InvalidRequestException", message: "You provided a VersionStage that is not associated to the provided VersionId."}
	}
	if versionID != "" {
		if v := s.version(versionID); v != nil {
			return v, nil
		}
		return nil, errNotFound("Secrets Manager can't find the specified secret value for VersionId: " + versionID)
	}
	if v := s.version(s.labels[stage]); v != nil {
		return v, nil
	}
	return nil, errNotFound("Secrets Manager can't find the specified secret value for staging label: " + stage)
}

func errNotFound(message string) error {
	return &apiError{code: "ResourceNotFoundException", message: message}
}

func errParameter(message string) error {
	return &apiError{code: "InvalidParameterException", message: message}
}

func errReplica() error {
	return errRequest("Operation not permitted on a replica secret. Call must be made in primary secret's region.")
}

func errRequest(message string) error {
	return &apiError{code: "InvalidRequestException", message: message}
}

// PutSecret gives a secret a new text, as PutSecretValue does: the stages move
// to the new version, AWSCURRENT when there are none given. A secret that is
// not there is made. It returns the VersionId.
func (l *Lab) PutSecret(name, text string, stages ...string) (versionID string, err error) {
	return l.putContent(name, content{data: text}, stages)
}

// PutSecretBinary is PutSecret for bytes.
func (l *Lab) PutSecretBinary(name string, value []byte, stages ...string) (versionID string, err error) {
	return l.putContent(name, content{data: string(value), binary: true}, stages)
}

func (l *Lab) putContent(name string, c content, stages []string) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.nowLocked()
	s := l.vault.find(name, now)
	made := s == nil
	var err error
	switch {
	case made:
		s, err = l.vault.add(name, now)
	case s.source != nil:
		err = errReplica()
	}
	if err != nil {
		return "", fmt.Errorf("lab: secret %s: %w", name, err)
	}
	before := maps.Clone(s.labels)
	v, err := s.put(newUUID(), c, stages, now)
	if err != nil {
		if made {
			delete(l.vault.secrets, s.name)
		}
		return "", fmt.Errorf("lab: secret %s: %w", name, err)
	}
	l.labelsMoved(s, before)
	l.trail(s, "PutSecretValue", putRequest(name, v.id, stages))
	return v.id, nil
}

// SetRotation gives a secret a rotation schedule whose next date is at or
// before next; zero takes the schedule away. Nothing rotates by itself.
func (l *Lab) SetRotation(name string, next time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.vault.find(name, l.nowLocked())
	if s == nil || s.source != nil {
		return fmt.Errorf("lab: secret %s: not there, or a replica", name)
	}
	s.rotates, s.rotation, s.changed = new(!next.IsZero()), next, l.nowLocked()
	return nil
}

// MoveLabel moves a staging label of a secret to a version, wherever it is
// now; an empty version takes it off.
func (l *Lab) MoveLabel(name, label, versionID string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.vault.find(name, l.nowLocked())
	if s == nil || s.source != nil {
		return fmt.Errorf("lab: secret %s: not there, or a replica", name)
	}
	before := maps.Clone(s.labels)
	if err := s.moveLabel(label, versionID, s.labels[label], l.nowLocked()); err != nil {
		return fmt.Errorf("lab: secret %s: %w", name, err)
	}
	l.labelsMoved(s, before)
	l.trail(s, "UpdateSecretVersionStage", moveRequest(name, label, versionID, before[label]))
	return nil
}

// Labels returns which version each staging label of a secret is on; nil when
// the secret is not there.
func (l *Lab) Labels(name string) map[string]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.vault.find(name, l.nowLocked())
	if s != nil && s.source != nil {
		s = s.source
	}
	if s == nil {
		return nil
	}
	return maps.Clone(s.labels)
}

// DeleteSecret removes a secret at once, without a recovery window.
func (l *Lab) DeleteSecret(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.vault.find(name, l.nowLocked()); s != nil {
		delete(l.vault.secrets, s.name)
	}
}

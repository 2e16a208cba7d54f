package sealed

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"outrider/secret"
)

// format is the number of the format that letters have: another when a field
// of them, or of secret.Ref, comes to mean something else.
const format = 1

// letter is what is sealed.
type letter struct {
	Format   int                `json:"format"`
	Host     string             `json:"host"`
	App      string             `json:"app"`
	Taken    time.Time          `json:"taken"`
	Versions map[string]version `json:"versions"`
}

// version is a secret.Version with its value laid open.
type version struct {
	Ref     secret.Ref         `json:"ref"`
	ID      string             `json:"id"`
	ARN     string             `json:"arn,omitempty"`
	Region  string             `json:"region,omitempty"`
	Created time.Time          `json:"created,omitzero"`
	Value   []byte             `json:"value,omitempty"`
	Binary  bool               `json:"binary,omitempty"`
	Below   map[string]version `json:"below,omitempty"`
}

// encode writes the snapshot's letter.
func encode(l letter, s secret.Snapshot) ([]byte, error) {
	l.Format, l.Taken, l.Versions = format, s.Taken().UTC(), map[string]version{}
	for _, name := range s.Names() {
		v, _ := s.Get(name)
		l.Versions[name] = laidOpen(v)
	}
	return json.Marshal(l)
}

func decode(text []byte) (letter, error) {
	var l letter
	if err := json.Unmarshal(text, &l); err != nil {
		return l, errors.New("its text is not outrider's; remove it") // Go's own words quote it
	}
	if l.Format != format {
		return l, fmt.Errorf("it has format %d, and this version of outrider knows %d; remove it", l.Format, format)
	}
	return l, nil
}

// snapshot returns the versions of these references. All must be there, and
// as they are asked for: else what the copy holds is of another configuration.
func (l letter) snapshot(refs map[string]secret.Ref) (secret.Snapshot, error) {
	versions := map[string]secret.Version{}
	for _, name := range slices.Sorted(maps.Keys(refs)) {
		v, ok := l.Versions[name]
		if !ok || v.Ref != refs[name] {
			return secret.Snapshot{}, fmt.Errorf("it does not hold %s as secret %s: the configuration has changed since", refs[name], name)
		}
		versions[name] = v.hidden()
	}
	return secret.NewSnapshot(l.Taken, versions), nil
}

func laidOpen(v secret.Version) version {
	open := version{
		Ref: v.Ref, ID: v.ID, ARN: v.ARN, Region: v.Region, Created: v.Created,
		Value: v.Value.Reveal(), Binary: v.Binary,
	}
	for name, below := range v.Below {
		if open.Below == nil {
			open.Below = map[string]version{}
		}
		open.Below[name] = laidOpen(below)
	}
	return open
}

// hidden is the inverse of laidOpen.
func (v version) hidden() secret.Version {
	closed := secret.Version{
		Ref: v.Ref, ID: v.ID, ARN: v.ARN, Region: v.Region, Created: v.Created, Value: secret.NewValue(v.Value), Binary: v.Binary,
	}
	for name, below := range v.Below {
		if closed.Below == nil {
			closed.Below = map[string]secret.Version{}
		}
		closed.Below[name] = below.hidden()
	}
	return closed
}

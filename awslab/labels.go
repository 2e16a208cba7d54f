package awslab

import (
	"slices"
	"time"
)

// The staging labels that Secrets Manager moves by itself.
const (
	current  = "AWSCURRENT"
	previous = "AWSPREVIOUS"
	pending  = "AWSPENDING"
)

// maxLabels bounds the labels of one secret, over all its versions.
const maxLabels = 20

// labels is which version each staging label is on. That a label is on one
// version only is so by construction.
type labels map[string]string

// of returns the labels of a version, sorted.
func (l labels) of(versionID string) []string {
	var on []string
	for label, id := range l {
		if id == versionID {
			on = append(on, label)
		}
	}
	slices.Sort(on)
	return on
}

// byVersion turns the table round; versions without a label are not in it.
func (l labels) byVersion() map[string][]string {
	table := map[string][]string{}
	for _, id := range l {
		table[id] = l.of(id)
	}
	return table
}

// attach puts a label on a version. AWSPREVIOUS follows AWSCURRENT.
func (l labels) attach(label, versionID string) {
	if old := l[current]; label == current && old != "" && old != versionID {
		l[previous] = old
	}
	l[label] = versionID
}

// room wants the limit kept after these labels are attached.
func (l labels) room(added []string) error {
	total := len(l)
	for i, label := range added {
		if _, ok := l[label]; !ok && !slices.Contains(added[:i], label) {
			total++
		}
	}
	if _, ok := l[previous]; !ok && slices.Contains(added, current) && l[current] != "" {
		total++
	}
	if total > maxLabels {
		return &apiError{code: "LimitExceededException", message: "The secret would have more than 20 staging labels."}
	}
	return nil
}

// moveLabel is UpdateSecretVersionStage. It is a compare-and-swap: from must
// be the version that holds the label, unless none or to already does.
func (s *secret) moveLabel(label, to, from string, now time.Time) error {
	holder := s.labels[label]
	switch {
	case to == "" && from == "":
		return errParameter("Give MoveToVersionId, RemoveFromVersionId or both.")
	case to != "" && s.version(to) == nil:
		return errNotFound("Secrets Manager can't find the specified secret version: " + to)
	case from != "" && holder != from:
		return errParameter("RemoveFromVersionId: staging label " + label + " is not on version " + from + ".")
	case from == "" && holder != "" && holder != to:
		return errParameter("RemoveFromVersionId must name version " + holder + ", which holds staging label " + label + ".")
	case to == "" && label == current:
		return errParameter("AWSCURRENT can be moved to another version, not removed.")
	case to != "":
		if err := s.labels.room([]string{label}); err != nil {
			return err
		}
	}
	s.history.record(now, s.copied())
	s.changed = now
	if to == "" {
		delete(s.labels, label)
		return nil
	}
	s.labels.attach(label, to)
	return nil
}

package deliver

import (
	"maps"
	"slices"
	"time"

	"outrider/secret"
)

// Version is which version of a secret a generation was made from.
type Version struct {
	Ref string `json:"ref"` // the secret, as the configuration names it
	ID  string `json:"id"`  // VersionId
	ARN string `json:"arn,omitempty"`
}

// Versions are the versions of an app's secrets, by the names templates use.
type Versions map[string]Version

// versionsOf leaves the values out.
func versionsOf(s secret.Snapshot) Versions {
	versions := Versions{}
	for _, name := range s.Names() {
		v, _ := s.Get(name)
		versions[name] = Version{Ref: v.Ref.String(), ID: v.ID, ARN: v.ARN}
	}
	return versions
}

// standing is what an app's journal amounts to.
type standing struct {
	Generation uint64            `json:"generation"` // the last one that was committed; 0: none
	Committed  time.Time         `json:"committed"`
	Versions   Versions          `json:"versions,omitempty"`
	Digests    map[string]string `json:"digests,omitempty"` // of what each destination was last given
	Owed       []string          `json:"owed,omitempty"`    // the targets of that generation, in order
	Told       int               `json:"told,omitempty"`    // how many of them know
	Pending    *record           `json:"pending,omitempty"` // an intent that has not ended
	Torn       string            `json:"torn,omitempty"`    // why the files are of several generations; empty: they are not
	Awaits     bool              `json:"awaits,omitempty"`  // the generation is not confirmed yet
	Undo       undo              `json:"undo,omitzero"`     // how it is rolled back
	SetAside   *setAside         `json:"set_aside,omitempty"`
	Withdrawn  string            `json:"withdrawn,omitempty"` // why the files are not there, or on their way out; empty: they are not
}

// undo leads back to the last generation that was not in doubt.
type undo struct {
	Generation uint64        `json:"generation"`
	Versions   Versions      `json:"versions,omitempty"`
	Files      []fileRecord  `json:"files,omitempty"`
	Folder     *folderRecord `json:"folder,omitempty"`
}

// setAside is a generation that the application did not run on.
type setAside struct {
	Generation uint64            `json:"generation"`
	Versions   Versions          `json:"versions,omitempty"`
	Digests    map[string]string `json:"digests,omitempty"` // of the files it changed
	Reason     string            `json:"reason"`
}

// apply brings the standing up to a record.
func (s *standing) apply(r record) {
	if r.Kind == checkpoint && r.Standing != nil {
		*s = *r.Standing
	}
	if r.Kind == intended && r.Intent == nil || s.Pending != nil && s.Pending.Intent == nil {
		s.Pending = nil // nobody writes such a record
		return
	}
	pending := s.Pending != nil && r.Generation == s.Pending.Generation
	switch r.Kind {
	case intended:
		if s.Pending != nil && r.Generation > s.Pending.Generation {
			s.commit(r.At) // only the record of it was lost
		}
		s.Pending = &r
		return
	case failed:
		if pending {
			s.Pending = nil
			if r.Torn {
				s.Torn = r.Reason
			}
		}
		return
	case retried:
		s.SetAside = nil
	}
	if pending {
		s.commit(r.At) // what follows happens only to what is committed, should that record be lost
	}
	if r.Generation == s.Generation {
		s.progress(r)
	}
}

// progress notes what has happened to the present generation.
func (s *standing) progress(r record) {
	switch r.Kind {
	case told:
		s.Told = min(max(0, r.Target+1), len(s.Owed))
	case owed:
		s.Owed, s.Told = r.Owed, 0
	case confirmed, kept:
		s.Awaits, s.Undo = false, undo{}
	case withdrawn:
		s.withdraw(r.Reason)
	}
}

// commit makes the pending intent the app's generation.
func (s *standing) commit(at time.Time) {
	number, i := s.Pending.Generation, s.Pending.Intent
	s.SetAside = nil
	if i.Undoes != 0 {
		s.SetAside = &setAside{Generation: i.Undoes, Versions: s.Versions, Digests: map[string]string{}, Reason: i.Reason}
		for _, f := range i.Files {
			s.SetAside.Digests[f.Destination] = s.Digests[f.Destination]
		}
	}
	s.Undo = s.undo(i)
	s.Generation, s.Committed, s.Versions = number, at, i.Versions
	s.Owed, s.Told = i.Owed, 0
	s.Pending, s.Torn, s.Awaits, s.Withdrawn = nil, "", i.Confirm, ""
	digests := maps.Clone(s.Digests)
	if digests == nil {
		digests = map[string]string{}
	}
	for _, f := range i.Files {
		digests[f.Destination] = f.Digest
	}
	s.Digests = digests
}

// undo returns how the intent is rolled back: to the present generation, or,
// while that is in doubt itself, to where that one would have gone back.
func (s *standing) undo(i *intent) undo {
	if !i.Confirm {
		return undo{}
	}
	u := undo{Generation: s.Generation, Versions: s.Versions, Folder: i.Folder}
	seen := map[string]bool{}
	if s.Awaits {
		u = s.Undo
		for _, f := range u.Files {
			seen[f.Destination] = true
		}
		if u.Folder == nil {
			u.Folder = i.Folder
		}
	}
	u.Files = slices.Clip(u.Files)
	for _, f := range i.Files {
		if f.Staged != "" && !seen[f.Destination] {
			u.Files = append(u.Files, f)
		}
	}
	return u
}

// missing returns the first destination for which there is nothing to go
// back to; empty: there is for all.
func (u undo) missing() string {
	if u.Folder != nil {
		if u.Folder.Previous == "" {
			return u.Folder.Path
		}
		return ""
	}
	for _, f := range u.Files {
		if f.Previous == "" {
			return f.Destination
		}
	}
	return ""
}

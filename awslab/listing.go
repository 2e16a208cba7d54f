package awslab

import (
	"cmp"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"
)

// filter is one of the Filters of ListSecrets and BatchGetSecretValue.
type filter struct {
	Key    string
	Values []string
}

// check wants a key that AWS knows.
func (f filter) check() error {
	keys := []string{"description", "name", "tag-key", "tag-value", "primary-region", "owning-service", "all"}
	if !slices.Contains(keys, f.Key) || len(f.Values) == 0 || len(f.Values) > 10 {
		return errValidation("Filters: the key must be one of %s, with 1 to 10 values", strings.Join(keys, ", "))
	}
	return nil
}

// match reports whether any of the values is a prefix of what the key stands
// for; with ! before it, of none of that.
func (f filter) match(s *secret) bool {
	var fields []string
	fold := f.Key == "description" || f.Key == "all"
	switch f.Key {
	case "description":
		fields = []string{s.description}
	case "name":
		fields = []string{s.name}
	case "all":
		fields = []string{s.name, s.description}
	}
	for _, t := range s.tags {
		if f.Key == "tag-key" || f.Key == "all" {
			fields = append(fields, t.Key)
		}
		if f.Key == "tag-value" || f.Key == "all" {
			fields = append(fields, t.Value)
		}
	}
	return slices.ContainsFunc(f.Values, func(value string) bool {
		prefix, not := strings.CutPrefix(value, "!")
		return not != slices.ContainsFunc(fields, func(field string) bool {
			if fold {
				return strings.HasPrefix(strings.ToLower(field), strings.ToLower(prefix))
			}
			return strings.HasPrefix(field, prefix)
		})
	})
}

// sorted returns the secrets in an order; by name when it is empty.
func (l *Lab) sorted(by, order string, deletedToo bool) []*secret {
	now := l.nowLocked()
	var list []*secret
	for name := range l.vault.secrets {
		s := l.vault.find(name, now)
		if s != nil && s.source != nil {
			s = l.seen(s)
		}
		if s != nil && (deletedToo || s.deleted.IsZero()) {
			list = append(list, s)
		}
	}
	key := func(s *secret) time.Time {
		switch by {
		case "created-date":
			return s.created
		case "last-changed-date":
			return s.changed
		case "last-accessed-date":
			return s.accessed
		}
		return time.Time{}
	}
	slices.SortFunc(list, func(a, b *secret) int {
		c := cmp.Or(key(a).Compare(key(b)), cmp.Compare(a.name, b.name))
		if order == "desc" {
			return -c
		}
		return c
	})
	return list
}

// filtered cuts a page first and filters it then, as AWS does: a page may
// hold nothing and still have a next one.
func (l *Lab) filtered(filters []filter, list []*secret, maxResults *int, most int, token string) ([]*secret, string, error) {
	if len(filters) > 10 {
		return nil, "", errValidation("Filters: at most 10")
	}
	for _, f := range filters {
		if err := f.check(); err != nil {
			return nil, "", err
		}
	}
	size, err := pageSize(maxResults, most)
	if err != nil {
		return nil, "", err
	}
	page, next, err := cut(list, size, token)
	if err != nil {
		return nil, "", err
	}
	page = slices.DeleteFunc(slices.Clone(page), func(s *secret) bool {
		return slices.ContainsFunc(filters, func(f filter) bool { return !f.match(s) })
	})
	return page, next, nil
}

// pageSize reads MaxResults, which when left out is the most.
func pageSize(maxResults *int, most int) (int, error) {
	if maxResults == nil {
		return most, nil
	}
	if *maxResults < 1 || *maxResults > most {
		return 0, errValidation("MaxResults: must be 1 to %d", most)
	}
	return *maxResults, nil
}

// cut takes the page that a token stands for out of a list.
func cut[T any](list []T, size int, token string) (page []T, next string, err error) {
	start := 0
	if token != "" {
		plain, err := base64.URLEncoding.DecodeString(token)
		if err == nil {
			start, err = strconv.Atoi(strings.TrimPrefix(string(plain), "page from "))
		}
		if err != nil || start < 0 {
			return nil, "", &apiError{code: "InvalidNextTokenException", message: "The NextToken value is invalid."}
		}
	}
	start = min(start, len(list))
	end := min(start+size, len(list))
	if end < len(list) {
		next = base64.URLEncoding.EncodeToString([]byte("page from " + strconv.Itoa(end)))
	}
	return list[start:end], next, nil
}

func (l *Lab) listSecrets(_ caller, in struct {
	Filters                []filter
	IncludePlannedDeletion bool
	MaxResults             *int
	NextToken              string
	SortBy                 string
	SortOrder              string
},
) (any, error) {
	if !slices.Contains([]string{"", "created-date", "last-accessed-date", "last-changed-date", "name"}, in.SortBy) ||
		!slices.Contains([]string{"", "asc", "desc"}, in.SortOrder) {
		return nil, errValidation("SortBy or SortOrder: unknown value")
	}
	list := l.sorted(in.SortBy, in.SortOrder, in.IncludePlannedDeletion)
	page, next, err := l.filtered(in.Filters, list, in.MaxResults, 100, in.NextToken)
	if err != nil {
		return nil, err
	}
	out := struct {
		SecretList []description
		NextToken  string `json:",omitempty"`
	}{SecretList: []description{}, NextToken: next}
	for _, s := range page {
		d := s.describe()
		d.SecretVersionsToStages = s.labels.byVersion()
		out.SecretList = append(out.SecretList, d)
	}
	return out, nil
}

func (l *Lab) listSecretVersionIDs(c caller, in struct {
	SecretID          string `json:"SecretId"`
	IncludeDeprecated bool
	MaxResults        *int
	NextToken         string
},
) (any, error) {
	s, err := l.known(c, in.SecretID)
	if err == nil {
		if s = l.seen(s); s == nil {
			err = errNoSecret()
		}
	}
	if err != nil {
		return nil, err
	}
	type entry struct {
		VersionID     string   `json:"VersionId"`
		VersionStages []string `json:",omitempty"`
		CreatedDate   epoch
	}
	list := []entry{}
	for _, v := range s.versions {
		if stages := s.labels.of(v.id); len(stages) > 0 || in.IncludeDeprecated {
			list = append(list, entry{VersionID: v.id, VersionStages: stages, CreatedDate: epoch(v.created)})
		}
	}
	size, err := pageSize(in.MaxResults, 100)
	if err != nil {
		return nil, err
	}
	page, next, err := cut(list, size, in.NextToken)
	if err != nil {
		return nil, err
	}
	return struct {
		ARN       string
		Name      string
		Versions  []entry
		NextToken string `json:",omitempty"`
	}{ARN: s.arn, Name: s.name, Versions: page, NextToken: next}, nil
}

// Package credfile edits the credentials file that AWS's SDKs share.
package credfile

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"outrider/secret"
)

// Credentials are what a profile is to hold. All of it is wanted.
type Credentials struct {
	AccessKeyID     string
	SecretAccessKey secret.Value
	SessionToken    secret.Value
	Expires         time.Time
}

// Edit returns the text of a credentials file with the profile's credentials
// put in place of those it has, or with the profile added at the end. Nothing
// else changes by a byte, the profile's other keys included, but that a last
// line without an end gets one when lines follow it. An empty old text is a
// new file's.
//
// A text that SDKs would not all read alike is an error that names the line
// and never shows it: botocore and the SDK for Go differ in indented lines,
// padded or repeated section names, and carriage returns.
//
// Source: https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html
func Edit(old secret.Value, profile string, c Credentials) (secret.Value, error) {
	if profile == "" || profile == "DEFAULT" || strings.ContainsFunc(profile, unfit) {
		return secret.Value{}, fmt.Errorf("profile %q: not a name that every SDK reads; leave out spaces and []#;", profile)
	}
	settings, err := c.settings()
	if err != nil {
		return secret.Value{}, err
	}
	f, err := parse(string(old.Reveal()))
	if err != nil {
		return secret.Value{}, err
	}
	if start, end, ok := f.section(profile); ok {
		err = f.replace(start, end, settings)
	} else {
		f.add(profile, settings)
	}
	if err != nil {
		return secret.Value{}, err
	}
	return secret.Text(f.text()), nil
}

// Expire returns the text without the profile's credentials when they have
// expired by now, as the time says that Edit wrote beside them: no key makes
// an SDK say so, an expired one makes AWS refuse its requests. The rest of the
// profile stays, and so does a profile that Edit has not written.
func Expire(old secret.Value, profile string, now time.Time) (secret.Value, error) {
	f, err := parse(string(old.Reveal()))
	if err != nil {
		return secret.Value{}, err
	}
	start, end, ok := f.section(profile)
	section := (*f)[start:end]
	expired := ok && slices.ContainsFunc(section, func(l line) bool {
		expires, err := time.Parse(time.RFC3339, l.value())
		return l.kind == property && l.name == expiresKey && err == nil && !now.Before(expires)
	})
	if !expired {
		return old, nil
	}
	settings, _ := Credentials{}.settings() // their keys alone are of interest
	kept := slices.DeleteFunc(slices.Clone(section), func(l line) bool {
		_, ours := valueOf(settings, l.name)
		return l.kind == property && ours
	})
	*f = slices.Concat((*f)[:start], kept, (*f)[end:])
	return secret.Text(f.text()), nil
}

// unfit reports what must not stand in a profile's name.
func unfit(r rune) bool {
	return unicode.IsSpace(r) || unicode.Is(unicode.C, r) || strings.ContainsRune("[]#;\uFFFD", r)
}

// expiresKey is a key that no SDK reads, and people do.
const expiresKey = "x_security_token_expires"

var (
	valuePattern = regexp.MustCompile(`^[0-9A-Za-z/+=_.:-]+$`)
)

// setting is one of our keys in lower case, by which readers compare them,
// and the value it is to have.
type setting struct {
	key, value string
	legacy     bool // set where it stands, but not added
}

func (c Credentials) settings() ([]setting, error) {
	token := string(c.SessionToken.Reveal())
	settings := []setting{
		{key: "aws_access_key_id", value: c.AccessKeyID},
		{key: "aws_secret_access_key", value: string(c.SecretAccessKey.Reveal())},
		{key: "aws_session_token", value: token},
		// botocore would take an old token from here rather than from the former.
		{key: "aws_security_token", value: token, legacy: true},
		{key: expiresKey, value: c.Expires.UTC().Format(time.RFC3339)},
	}
	for _, s := range settings {
		if !valuePattern.MatchString(s.value) {
			return settings, fmt.Errorf("%s is empty, or cannot stand in a credentials file", s.key)
		}
	}
	return settings, nil
}

// section returns where the profile's section starts, with its header, and
// where the next one does.
func (f *file) section(profile string) (start, end int, ok bool) {
	for i, l := range *f {
		switch {
		case l.kind != header:
		case ok:
			return start, i, true
		case l.name == profile:
			start, ok = i, true
		}
	}
	return start, len(*f), ok
}

// replace gives the settings that the section has their values, and adds the
// others after the last of them.
func (f *file) replace(start, end int, settings []setting) error {
	set := map[string]bool{}
	last, open := start, true // open: an indented line might become part of ours
	for i := start + 1; i < end; i++ {
		l := &(*f)[i]
		value, ours := valueOf(settings, l.name)
		switch {
		case l.kind == indented && (open || ours):
			return mistake(i, "readers differ on an indented line here; move it to the margin")
		case l.kind != property:
			continue
		case ours && set[l.name]:
			return mistake(i, l.name+" stands in this profile twice; remove one")
		case ours:
			l.setValue(value)
			set[l.name], last = true, i
		}
		open = ours
	}
	f.insert(last+1, missing(settings, set))
	return nil
}

// add puts the profile at the end, an empty line before it.
func (f *file) add(profile string, settings []setting) {
	lines := []line{{text: "[" + profile + "]"}}
	if n := len(*f); n > 0 && (*f)[n-1].kind != blank {
		lines = []line{{}, lines[0]}
	}
	f.insert(len(*f), append(lines, missing(settings, nil)...))
}

func valueOf(settings []setting, key string) (string, bool) {
	for _, s := range settings {
		if s.key == key {
			return s.value, true
		}
	}
	return "", false
}

func missing(settings []setting, set map[string]bool) []line {
	var lines []line
	for _, s := range settings {
		if !set[s.key] && !s.legacy {
			lines = append(lines, line{text: s.key + " = " + s.value})
		}
	}
	return lines
}

// value is all that follows the delimiter, without the spaces around it.
func (l *line) value() string {
	return strings.TrimSpace(l.text[strings.IndexAny(l.text, "=:")+1:])
}

// setValue replaces all that follows the delimiter and the spaces after it.
func (l *line) setValue(value string) {
	at := strings.IndexAny(l.text, "=:") + 1
	at += len(l.text[at:]) - len(strings.TrimLeft(l.text[at:], " \t"))
	l.text = l.text[:at] + value
}

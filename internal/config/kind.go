package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"
	"golang.org/x/sys/unix"
)

// kind is how the text of a plain value becomes a V. The error of parse is
// the text of a Mistake.
type kind[V any] struct {
	takes   string
	boolean bool // the file's value is YAML's true or false, not text
	parse   func(from *source, text string) (V, error)
}

// as is the same kind, described otherwise.
func (k kind[V]) as(takes string) kind[V] {
	k.takes = takes
	return k
}

// read parses a plain value. YAML's guess at a type does not matter: the
// text is what the operator wrote, be it quoted or not.
func (k kind[V]) read(r *reader, v *value) (V, bool) {
	var none V
	if !r.is(v, yaml.ScalarNode, k.takes) {
		return none, false
	}
	if (v.Tag == "!!bool") != k.boolean {
		r.mistake(v, fmt.Sprintf("wants %s; got %s", k.takes, v.what()))
		return none, false
	}
	parsed, err := k.parse(v.from, v.Value)
	if err != nil {
		r.mistake(v, err.Error())
		return none, false
	}
	return parsed, true
}

// spelled reports whether text is letters and digits and what extra holds,
// and not empty.
func spelled(text, extra string) bool {
	for i := range len(text) {
		c := text[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && strings.IndexByte(extra, c) < 0 {
			return false
		}
	}
	return text != ""
}

// word takes text of some length and alphabet.
func word(takes string, least, most int, extra string) kind[string] {
	return kind[string]{takes: takes, parse: func(_ *source, text string) (string, error) {
		if len(text) < least || len(text) > most || !spelled(text, extra) {
			return "", fmt.Errorf("%q is not what may stand here: %d to %d letters, digits and %s", text, least, most, extra)
		}
		return text, nil
	}}
}

// entryName takes the name of an identity, role or app, which also becomes a
// file name and a metric's label.
func entryName() kind[string] {
	return kind[string]{takes: "name", parse: func(_ *source, text string) (string, error) {
		if len(text) > 64 || !spelled(text, "_.-") || strings.IndexByte("_.-", text[0]) >= 0 {
			return "", errors.New("a name is at most 64 letters, digits, _, . and -, and starts with a letter or digit")
		}
		return text, nil
	}}
}

// secretName takes the name of a secret, which also becomes a template's
// field.
func secretName() kind[string] {
	return kind[string]{takes: "name", parse: func(_ *source, text string) (string, error) {
		if len(text) > 64 || !spelled(text, "_") || text[0] <= '9' {
			return "", errors.New("templates use this name: at most 64 letters, digits and _, and no digit first")
		}
		return text, nil
	}}
}

// anything takes text of some length, as it stands.
func anything(takes string, least, most int) kind[string] {
	return kind[string]{takes: takes, parse: func(_ *source, text string) (string, error) {
		if len(text) < least || len(text) > most {
			return "", fmt.Errorf("must have %d to %d bytes", least, most)
		}
		return text, nil
	}}
}

func boolean() kind[bool] {
	return kind[bool]{takes: "true or false", boolean: true, parse: func(_ *source, text string) (bool, error) {
		return strings.EqualFold(text, "true"), nil
	}}
}

func choice(options ...string) kind[string] {
	takes := strings.Join(options, ", ")
	return kind[string]{takes: takes, parse: func(_ *source, text string) (string, error) {
		if slices.Contains(options, text) {
			return text, nil
		}
		return "", fmt.Errorf("unknown value %q%s", text, didYouMean(text, options))
	}}
}

// duration takes Go's durations, least to most.
func duration(least, most time.Duration) kind[time.Duration] {
	bounds := brief(least) + " to " + brief(most)
	return kind[time.Duration]{takes: "duration, " + bounds, parse: func(_ *source, text string) (time.Duration, error) {
		d, err := time.ParseDuration(text)
		if err != nil {
			return 0, fmt.Errorf("%q is not a duration, such as 30s, 5m or 1h", text)
		}
		if d < least || d > most {
			return 0, fmt.Errorf("%s is out of range: %s", text, bounds)
		}
		return d, nil
	}}
}

// brief is a duration without the zeros that its String ends with.
func brief(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// path takes the path of a file.
func path() kind[string] {
	return kind[string]{takes: "path", parse: func(from *source, text string) (string, error) {
		if strings.HasSuffix(text, "/") {
			return "", fmt.Errorf("%q is the path of a folder; this is a file's", text)
		}
		return from.absolute(text)
	}}
}

func folder() kind[string] {
	return kind[string]{takes: "path of a folder", parse: (*source).absolute}
}

// absolute returns a path as seen from the file's folder, clean, with %i
// replaced by the instance.
func (s *source) absolute(text string) (string, error) {
	if text == "" || strings.ContainsFunc(text, unicode.IsControl) {
		return "", fmt.Errorf("%q is not a path", text)
	}
	text, err := s.expand(text)
	if err != nil {
		return "", err
	}
	if !filepath.IsAbs(text) {
		text = filepath.Join(s.folder, text)
	}
	return filepath.Clean(text), nil
}

// expand replaces %i by the instance and %% by %.
func (s *source) expand(text string) (string, error) {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(text, "%")
		b.WriteString(before)
		switch {
		case !found:
			return b.String(), nil
		case strings.HasPrefix(after, "%"):
			b.WriteByte('%')
		case !strings.HasPrefix(after, "i"):
			return "", errors.New("after % only i (the instance) or another % may stand")
		case s.instance == "":
			return "", errors.New("%i stands for the instance of a template unit, but OUTRIDER_INSTANCE is not set; the unit needs Environment=OUTRIDER_INSTANCE=%i")
		default:
			b.WriteString(s.instance)
		}
		text = after[1:]
	}
}

// socket takes unix:PATH and gives the path.
func socket() kind[string] {
	return kind[string]{takes: "`unix:PATH`", parse: func(from *source, text string) (string, error) {
		name, ok := strings.CutPrefix(text, "unix:")
		if !ok || name == "" {
			return "", fmt.Errorf("%q is not unix: and the path of a socket", text)
		}
		name, err := from.absolute(name)
		if err != nil {
			return "", err
		}
		// sun_path of unix(7) holds 108 bytes, the NUL at the end included.
		if len(name) > 107 {
			return "", fmt.Errorf("a socket's path has at most 107 bytes, %s has %d", name, len(name))
		}
		return name, nil
	}}
}

// mode takes permission bits. The leading zero is required because a plain
// 416, which some tools make of 0640, would be read as an octal number that
// nobody meant.
func mode() kind[*fs.FileMode] {
	return kind[*fs.FileMode]{takes: "octal mode in quotes", parse: func(_ *source, text string) (*fs.FileMode, error) {
		digits, ok := strings.CutPrefix(text, "0")
		digits = strings.TrimPrefix(digits, "o")
		n, err := strconv.ParseUint(digits, 8, 32)
		if !ok || err != nil || n > 0o777 {
			return nil, fmt.Errorf(`%q is not a mode: octal, with its leading zero, in quotes, at most "0777", such as "0640"`, text)
		}
		m := fs.FileMode(n)
		return &m, nil
	}}
}

// account takes a user or a group. That it exists is found out where it is
// used: it may be made after us.
func account(takes string) kind[string] {
	return kind[string]{takes: takes, parse: func(_ *source, text string) (string, error) {
		if len(text) > 256 || !spelled(text, `_.-@\$+`) || text[0] == '-' {
			return "", fmt.Errorf("%q is not the name or number of a %s", text, takes)
		}
		return text, nil
	}}
}

func signal() kind[syscall.Signal] {
	names := choice("HUP", "INT", "QUIT", "KILL", "USR1", "USR2", "ALRM", "TERM", "CONT", "WINCH")
	return kind[syscall.Signal]{takes: names.takes, parse: func(from *source, text string) (syscall.Signal, error) {
		name, err := names.parse(from, strings.TrimPrefix(strings.ToUpper(text), "SIG"))
		return unix.SignalNum("SIG" + name), err
	}}
}

// unit takes the full name of a systemd unit (systemd.unit(5)).
func unit() kind[string] {
	return kind[string]{takes: "unit", parse: func(_ *source, text string) (string, error) {
		if len(text) > 255 || !spelled(text, `:-_.\@`) {
			return "", fmt.Errorf("%q is not the name of a unit", text)
		}
		switch strings.TrimPrefix(filepath.Ext(text), ".") {
		case "service", "socket", "target", "timer", "path", "mount", "scope", "slice":
			return text, nil
		}
		return "", fmt.Errorf("%q lacks the unit's type; did you mean %s.service?", text, text)
	}}
}

// endpoint takes the base URL of a service and gives it without a slash at
// the end. What is wrong with it is told without the URL when it may hold a
// password.
func endpoint() kind[string] {
	return kind[string]{takes: "URL", parse: func(_ *source, text string) (string, error) {
		u, err := url.Parse(text)
		switch {
		case err != nil:
			return "", errors.New("not a URL, such as https://host:port")
		case u.User != nil:
			return "", errors.New("no user or password may stand in the URL")
		case u.Scheme != "https" && u.Scheme != "http", u.Hostname() == "", !isPort(u.Port()):
			return "", fmt.Errorf("%q is not a URL such as https://host:port", text)
		case u.RawQuery != "", u.ForceQuery, strings.Contains(text, "#"):
			return "", fmt.Errorf("%q: no query and no fragment may stand in the URL", text)
		case u.Scheme == "http" && !isLoopback(u.Hostname()):
			return "", fmt.Errorf("%q: plain http only goes to loopback; use https", text)
		}
		return strings.TrimRight(text, "/"), nil
	}}
}

func isPort(text string) bool {
	n, err := strconv.ParseUint(text, 10, 16)
	return text == "" || err == nil && n > 0
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// secretID takes what Secrets Manager calls a SecretId.
// https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html
func secretID() kind[string] {
	whole := arnOf("arn:aws:secretsmanager:REGION:ACCOUNT:secret:ID")
	name := word("", 1, 512, "/_+=.@-")
	return kind[string]{takes: "name or ARN", parse: func(from *source, text string) (string, error) {
		if strings.HasPrefix(text, "arn:") {
			return whole.parse(from, text)
		}
		return name.parse(from, text)
	}}
}

// parameterID takes the name or ARN of a parameter, and a selector behind it.
// https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-paramstore-su-create.html#sysman-parameter-name-constraints
func parameterID() kind[string] {
	whole := arnOf("arn:aws:ssm:REGION:ACCOUNT:parameter/ID")
	// A version counts from 1, and no label begins with a digit.
	selects := regexp.MustCompile(`^([1-9][0-9]*|[A-Za-z_.-][A-Za-z0-9_.-]*)$`)
	return kind[string]{takes: "name or ARN", parse: func(from *source, text string) (string, error) {
		name, selector, selected := strings.Cut(text, ":")
		if strings.HasPrefix(text, "arn:") {
			at := strings.LastIndex(text, ":parameter/")
			if at < 0 {
				return whole.parse(from, text)
			}
			name, selector, selected = strings.Cut(text[at+1:], ":")
			if _, err := whole.parse(from, text[:at+1]+name); err != nil {
				return "", err
			}
			name = strings.TrimPrefix(name, "parameter")
		}
		switch {
		case strings.HasPrefix(name, "/aws/reference/secretsmanager/"):
			return "", errors.New("this is a secret by way of Parameter Store, which does not show its versions; give it with secret")
		case !isParameterName(name), selected && (len(selector) > 100 || !selects.MatchString(selector)):
			return "", fmt.Errorf("%q is not a parameter's name, such as /prod/db/password, with :3 or :label behind it if need be", text)
		}
		return text, nil
	}}
}

// parameterPath takes the path of a hierarchy of parameters.
func parameterPath() kind[string] {
	return kind[string]{takes: "path", parse: func(_ *source, text string) (string, error) {
		if path := strings.TrimSuffix(text, "/"); !strings.HasPrefix(text, "/") || path != "" && !isParameterName(path) {
			return "", fmt.Errorf("%q is not a path of parameters, such as /prod/billing/", text)
		}
		return text, nil
	}}
}

// isParameterName reports whether text is a name by itself, or a path with one
// at its end, of at most fifteen levels above it.
func isParameterName(text string) bool {
	parts := strings.Split(strings.TrimPrefix(text, "/"), "/")
	if !strings.HasPrefix(text, "/") && len(parts) > 1 || len(parts) > 16 || len(text) > 1011 {
		return false
	}
	return !slices.ContainsFunc(parts, func(part string) bool { return !spelled(part, "_.-") })
}

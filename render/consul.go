package render

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // G501: md5sum is what the function is
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"dario.cat/mergo"
	"github.com/BurntSushi/toml"
	"go.yaml.in/yaml/v3"
)

// consul returns consul-template's functions that need no store, under their
// names and with its order of arguments.
func consul() []entry {
	return []entry{
		{"base64Decode", decodeBase64(base64.StdEncoding)},
		{"base64Encode", func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }},
		{"base64URLDecode", decodeBase64(base64.URLEncoding)},
		{"base64URLEncode", func(s string) string { return base64.URLEncoding.EncodeToString([]byte(s)) }},
		{"contains", func(v, in any) bool { return holds(in, v) }},
		{"containsAll", containsSome(true, true)},
		{"containsAny", containsSome(false, false)},
		{"containsNone", containsSome(true, false)},
		{"containsNotAll", containsSome(false, true)},
		{"executeTemplate", executeTemplate},
		{"explode", explode},
		{"explodeMap", explode},
		{"hmacSHA256Hex", hmacHex},
		{"in", holds},
		{"indent", indent},
		{"join", func(sep string, list []string) string { return strings.Join(list, sep) }},
		{"loop", loop},
		{"md5sum", func(s string) string { sum := md5.Sum([]byte(s)); return hex.EncodeToString(sum[:]) }}, //nolint:gosec // G401: likewise
		{"mergeMap", merge()},
		{"mergeMapWithOverride", merge(mergo.WithOverride)},
		{"parseBool", parsed(strconv.ParseBool)},
		{"parseFloat", parsed(func(s string) (float64, error) { return strconv.ParseFloat(s, 64) })},
		{"parseInt", parsed(func(s string) (int64, error) { return strconv.ParseInt(s, 10, 64) })},
		{"parseUint", parsed(func(s string) (uint64, error) { return strconv.ParseUint(s, 10, 64) })},
		{"parseJSON", orEmpty(func(s string) (any, error) { return decodeJSON([]byte(s)) })},
		{"parseYAML", orEmpty(parseYAML)},
		{"regexMatch", regexMatch},
		{"regexReplaceAll", regexReplaceAll},
		{"replaceAll", func(old, with, s string) string { return strings.ReplaceAll(s, old, with) }},
		{"scratch", func(c call) *scratch { return &c.scratch }},
		{"sha256Hex", func(s string) string { sum := sha256.Sum256([]byte(s)); return hex.EncodeToString(sum[:]) }},
		{"split", split},
		{"splitToMap", splitToMap},
		{"toJSON", toJSON(true, "")},
		{"toJSONPretty", toJSON(true, "  ")},
		{"toUnescapedJSON", toJSON(false, "")},
		{"toUnescapedJSONPretty", toJSON(false, "  ")},
		{"toLower", strings.ToLower},
		{"toTitle", toTitle},
		{"toTOML", toTOML},
		{"toUpper", strings.ToUpper},
		{"toYAML", toYAML},
		{"trim", func(cutset, s string) string { return strings.Trim(s, cutset) }},
		{"trimPrefix", func(prefix, s string) string { return strings.TrimPrefix(s, prefix) }},
		{"trimSpace", strings.TrimSpace},
		{"trimSuffix", func(suffix, s string) string { return strings.TrimSuffix(s, suffix) }},

		{"add", calculate('+')},
		{"subtract", calculate('-')},
		{"multiply", calculate('*')},
		{"divide", calculate('/')},
		{"modulo", calculate('%')},
		{"minimum", extreme(-1)},
		{"maximum", extreme(1)},
	}
}

func decodeBase64(e *base64.Encoding) func(string) (string, error) {
	return func(s string) (string, error) {
		b, err := e.DecodeString(s)
		if err != nil {
			return "", fault("its argument is not base64")
		}
		return string(b), nil
	}
}

// parsed returns a function that parses text; of none it makes the zero T.
func parsed[T any](parse func(string) (T, error)) func(string) (T, error) {
	return func(s string) (v T, err error) {
		if s == "" {
			return v, nil
		}
		if v, err = parse(s); err != nil {
			return v, faultf("its argument is not %s", kindOf(reflect.ValueOf(v)))
		}
		return v, nil
	}
}

// orEmpty returns a function that parses text; of none it makes an empty
// object.
func orEmpty(parse func(string) (any, error)) func(string) (any, error) {
	return func(s string) (any, error) {
		if s == "" {
			return map[string]any{}, nil
		}
		return parse(s)
	}
}

func parseYAML(s string) (v any, err error) {
	if err := yaml.Unmarshal([]byte(s), &v); err != nil {
		return nil, fault("its argument is not YAML")
	}
	return v, nil
}

// holds reports whether v is an element of a list or a part of a text.
func holds(in, v any) bool {
	list, want := reflect.ValueOf(in), reflect.ValueOf(v)
	if isText(list) {
		part, _ := scalar(want)
		text, _ := scalar(list)
		return isText(want) && strings.Contains(text, part)
	}
	if list.Kind() != reflect.Slice || v == nil {
		return false
	}
	for i := range list.Len() {
		e := concrete(list.Index(i))
		if c, err := compare(e, want); err == nil && c == 0 {
			return true
		}
	}
	return false
}

// containsSome returns one of the four: result is what it says once all
// elements were looked at, and the opposite when one of them is missing
// (stopMissing) or found (otherwise).
func containsSome(result, stopMissing bool) func(list []any, in any) bool {
	return func(list []any, in any) bool {
		for _, v := range list {
			if holds(in, v) != stopMissing {
				return !result
			}
		}
		return result
	}
}

func executeTemplate(c call, name string, dot ...any) (string, error) {
	t := c.set.Lookup(name)
	switch {
	case t == nil:
		return "", fault("no template of this name is defined")
	case len(dot) > 1:
		return "", faultf("wants 1 or 2 arguments, has %d", 1+len(dot))
	}
	result := sheet{x: c.execution}
	if err := t.Execute(&result, append(dot, nil)[0]); err != nil {
		return "", c.typed(err)
	}
	return string(result.b), nil
}

// explode makes an object of objects from names with slashes.
func explode(object map[string]any) (map[string]any, error) {
	out := map[string]any{}
	for _, path := range keys(object) {
		at, names := out, strings.Split(path, "/")
		for _, name := range names[:len(names)-1] {
			if _, ok := at[name]; !ok {
				at[name] = map[string]any{}
			}
			next, ok := at[name].(map[string]any)
			if !ok {
				return nil, fault("a name is both a value and a folder of others")
			}
			at = next
		}
		if last := names[len(names)-1]; last != "" {
			at[last] = object[path]
		}
	}
	return out, nil
}

func hmacHex(message, key string) string {
	h := hmac.New(sha256.New, []byte(key))
	h.Write([]byte(message))
	return hex.EncodeToString(h.Sum(nil))
}

// indent puts spaces before each line that is not empty.
func indent(spaces int, s string) (string, error) {
	if spaces < 0 {
		return "", fault("it wants a positive number of spaces")
	}
	lines := strings.SplitAfter(s, "\n")
	for i, line := range lines {
		if line != "" && line != "\n" {
			lines[i] = strings.Repeat(" ", spaces) + line
		}
	}
	return strings.Join(lines, ""), nil
}

// loop returns the numbers from 0, or from the first of two arguments, up to
// but not including the last.
func loop(first any, last ...any) ([]int64, error) {
	bounds := [2]int64{}
	args := append([]any{first}, last...)
	if len(args) > 2 {
		return nil, faultf("wants 1 or 2 arguments, has %d", len(args))
	}
	for i, a := range args {
		n, ok := numberOf(reflect.ValueOf(a))
		if text, isText := a.(string); isText {
			parsed, err := strconv.ParseInt(text, 10, 64)
			n, ok = number{i: parsed, whole: true}, err == nil
		}
		if !ok || !n.whole || n.i > maxSize || n.i < -maxSize {
			return nil, faultf("it wants whole numbers up to %d", maxSize)
		}
		bounds[2-len(args)+i] = n.i
	}
	var out []int64
	for i := bounds[0]; i < bounds[1]; i++ {
		out = append(out, i)
	}
	return out, nil
}

// merge returns a function that puts into the first object what only the
// second has, or with WithOverride all that the second has.
func merge(options ...func(*mergo.Config)) func(into, from map[string]any) (map[string]any, error) {
	return func(into, from map[string]any) (map[string]any, error) {
		err := mergo.Merge(&into, from, options...)
		return into, err
	}
}

func compile(expression string) (*regexp.Regexp, error) {
	re, err := regexp.Compile(expression)
	if err != nil {
		return nil, fault("argument 1 is not a regular expression")
	}
	return re, nil
}

func regexMatch(expression, s string) (bool, error) {
	re, err := compile(expression)
	return err == nil && re.MatchString(s), err
}

func regexReplaceAll(expression, with, s string) (string, error) {
	re, err := compile(expression)
	if err != nil {
		return "", err
	}
	return re.ReplaceAllString(s, with), nil
}

func split(sep, s string) []string {
	if s = strings.TrimSpace(s); s == "" {
		return []string{}
	}
	return strings.Split(s, sep)
}

// splitToMap splits into pairs and these into name and value; what is no pair
// is left out.
func splitToMap(sep, inner, s string) map[string]string {
	out := map[string]string{}
	for _, pair := range split(sep, s) {
		if name, value, ok := strings.Cut(pair, inner); ok {
			out[name] = value
		}
	}
	return out
}

func toJSON(escapeHTML bool, indent string) func(any) (string, error) {
	return func(v any) (string, error) {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(escapeHTML)
		e.SetIndent("", indent)
		err := e.Encode(v)
		return strings.TrimSuffix(b.String(), "\n"), err
	}
}

// toTitle raises the first letter of each word and leaves the others.
func toTitle(s string) string {
	inside := false
	return strings.Map(func(r rune) rune {
		first := !inside
		inside = unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r) || r == '_' || r == '\''
		if first {
			return unicode.ToTitle(r)
		}
		return r
	}, s)
}

func toTOML(v any) (string, error) {
	var b bytes.Buffer
	err := toml.NewEncoder(&b).Encode(v)
	return strings.TrimSpace(b.String()), err
}

func toYAML(v any) (string, error) {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	e.CompactSeqIndent()
	err := errors.Join(e.Encode(yamlNumbers(v)), e.Close())
	return strings.TrimSpace(b.String()), err
}

// yamlNumbers returns v with numbers as YAML numbers of the same digits:
// the encoder would quote json.Number.
func yamlNumbers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k := range v {
			out[k] = yamlNumbers(v[k])
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = yamlNumbers(v[i])
		}
		return out
	case json.Number:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: v.String()}
	}
	return v
}

package verify

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	"outrider/secret"
)

// account is whom to log in as, and where.
type account struct {
	user     string
	password string
	host     string // empty: not in the secret
	port     string // likewise
	database string // likewise
}

// accountOf reads the fields of a secret. Their names are case-sensitive, and
// a number is as good as text.
//
// https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_secret_json_structure.html
func accountOf(s secret.Snapshot, name string) (account, error) {
	version, ok := s.Get(name)
	var fields map[string]json.RawMessage
	if !ok || json.Unmarshal(version.Value.Reveal(), &fields) != nil {
		return account{}, fmt.Errorf("secret %s is not a JSON object with username and password, which logging in takes", name)
	}
	maps.DeleteFunc(fields, func(_ string, raw json.RawMessage) bool { return string(raw) == "null" })
	for _, required := range []string{"username", "password"} {
		if _, ok := fields[required]; !ok {
			return account{}, fmt.Errorf("secret %s has no %s: add it, or leave the check out", name, required)
		}
	}
	var a account
	for _, f := range []struct {
		name string
		to   *string
	}{{"username", &a.user}, {"password", &a.password}, {"host", &a.host}, {"port", &a.port}, {"dbname", &a.database}} {
		text, ok := textOf(fields[f.name])
		if !ok {
			return account{}, fmt.Errorf("secret %s: %s is neither text nor a number: write it as text", name, f.name)
		}
		// In the protocol a NUL ends all of them but the password: what
		// follows would be taken for something else.
		if f.name != "password" && strings.Contains(text, "\x00") {
			return account{}, fmt.Errorf("secret %s: %s holds a NUL, which cannot be logged in with", name, f.name)
		}
		*f.to = text
	}
	return a, nil
}

// textOf returns the text of a JSON string or number; none for what is not
// there.
func textOf(raw json.RawMessage) (string, bool) {
	if raw == nil {
		return "", true
	}
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text, true
	}
	var number json.Number
	err := json.Unmarshal(raw, &number)
	return number.String(), err == nil
}

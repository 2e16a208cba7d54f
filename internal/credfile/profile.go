package credfile

import (
	"slices"

	"outrider/secret"
)

// HasKeys reports whether a profile holds an access key, which SDKs prefer to
// every endpoint. Its error names the line that readers differ on.
func HasKeys(text secret.Value, profile string) (bool, error) {
	f, err := parse(string(text.Reveal()))
	if err != nil {
		return false, err
	}
	start, end, ok := f.section(profile)
	return ok && slices.ContainsFunc((*f)[start:end], func(l line) bool {
		return l.kind == property && l.name == "aws_access_key_id"
	}), nil
}

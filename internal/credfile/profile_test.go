package credfile

import (
	"testing"

	"outrider/secret"
)

func TestHasKeys(t *testing.T) {
	for name, test := range map[string]struct {
		text, profile string
		want          bool
	}{
		"keys in the profile":                     {"[default]\naws_access_key_id = A\naws_secret_access_key = B\n", "default", true},
		"keys in another":                         {"[other]\naws_access_key_id = A\n[default]\nregion = r\n", "default", false},
		"a process instead of keys":               {"[default]\ncredential_process = /usr/bin/x\n", "default", false},
		"keys that are commented out":             {"[default]\n# aws_access_key_id = A\n", "default", false},
		"keys in another, and no such profile":    {"[other]\naws_access_key_id = A\n", "default", false},
		"no file":                                 {"", "default", false},
		"keys of the profile before the next one": {"[default]\nregion = r\n[other]\naws_access_key_id = A\n", "default", false},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := HasKeys(secret.Text(test.text), test.profile); got != test.want || err != nil {
				t.Errorf("HasKeys = %t, %v, want %t", got, err, test.want)
			}
		})
	}
	if _, err := HasKeys(secret.Text("keys without a section = 1\n"), "default"); err == nil {
		t.Error("HasKeys takes a text that readers differ on")
	}
}

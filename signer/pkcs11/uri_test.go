package pkcs11

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	tests := map[string]struct {
		attributes  map[string]string
		module, pin string
	}{
		"pkcs11:token=host;object=key;type=private?module-path=/m.so": {
			attributes: map[string]string{"token": "host", "object": "key", "type": "private"}, module: "/m.so",
		},
		"pkcs11:id=%01%fF;token=My%20token?pin-source=file:/etc/pin&module-path=/m.so": {
			attributes: map[string]string{"id": "\x01\xff", "token": "My token"}, module: "/m.so", pin: "/etc/pin",
		},
		"pkcs11:slot-id=3?pin-source=file:///etc/p%20n&module-path=/m.so": {
			attributes: map[string]string{"slot-id": "3"}, module: "/m.so", pin: "/etc/p n",
		},
		"pkcs11:?module-path=/m.so&pin-source=/etc/pin": {attributes: map[string]string{}, module: "/m.so", pin: "/etc/pin"},
	}
	for text, test := range tests {
		got, err := Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
		want := URI{text: text, attributes: test.attributes, module: test.module, pin: test.pin}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(URI{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	tests := map[string]string{
		"pkcs11:token=host":                                        "needs module-path",
		"pkcs11:token=host?module-name=softhsm2":                   "needs module-path",
		"pkcs11:token=host?module-path=softhsm2.so":                "needs module-path",
		"pkcs11:tokn=host?module-path=/m.so":                       `no attribute "tokn"`,
		"pkcs11:token=host;type=cert?module-path=/m.so":            "type=private",
		"pkcs11:token=host;token=other?module-path=/m.so":          "the attribute token is there twice",
		"pkcs11:token?module-path=/m.so":                           "NAME=VALUE",
		"pkcs11:token=100%?module-path=/m.so":                      "the attribute token has a %",
		"pkcs11:token=host?module-path=/m.so&pin-value=4711":       "pin-value shows the PIN",
		"pkcs11:token=host?module-path=/m.so&pin-source=|/bin/pin": "no program",
		"pkcs11:token=host?module-path=/m.so&pin-source=file:pin":  "absolute path",
		"pkcs11:token=host?module-path=/m.so&pin-source=":          "absolute path",
	}
	for text, want := range tests {
		_, err := Parse(text)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "4711") {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("pkcs11:token=host;object=key;id=%01?module-path=/m.so&pin-source=file:/pin")
	f.Fuzz(func(t *testing.T, text string) {
		u, err := Parse(text)
		if err != nil {
			return
		}
		if !strings.HasPrefix(u.module, "/") || u.pin != "" && !strings.HasPrefix(u.pin, "/") {
			t.Errorf("%q: got module %q, PIN %q, want absolute paths", text, u.module, u.pin)
		}
	})
}

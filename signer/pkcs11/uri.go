// Package pkcs11 signs with a private key that stays in a PKCS#11 token.
package pkcs11

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
)

// URI names a private key and its token (RFC 7512). The zero URI names none.
type URI struct {
	text       string
	attributes map[string]string // of the path, decoded
	module     string            // path of the module
	pin        string            // path of the file with the PIN; empty: none
}

// Parse reads a PKCS#11 URI. Module-path is needed: which module a host's
// programs use by default is a matter of its distribution. Pin-value is
// refused, whoever reads the configuration would see it. The error holds no
// attribute's value.
func Parse(uri string) (URI, error) {
	path, query, _ := strings.Cut(strings.TrimPrefix(uri, "pkcs11:"), "?")
	u := URI{text: uri}
	var err error
	if u.attributes, err = parseAttributes(path, ";"); err != nil {
		return URI{}, err
	}
	asked, err := parseAttributes(query, "&")
	if err != nil {
		return URI{}, err
	}
	for name := range u.attributes {
		if !isPathAttribute(name) {
			return URI{}, fmt.Errorf("a PKCS#11 URI has no attribute %q; RFC 7512 lists them", name)
		}
	}
	if kind, given := u.attributes["type"]; given && kind != "private" {
		return URI{}, errors.New("names another object than a private key; write type=private, or leave it out")
	}
	if _, given := asked["pin-value"]; given {
		return URI{}, errors.New("pin-value shows the PIN to whoever reads the configuration; name a file with it in password_file or pin-source")
	}
	if u.module = asked["module-path"]; !filepath.IsAbs(u.module) {
		return URI{}, errors.New("needs module-path= and the absolute path of the token's module after the ?, such as /usr/lib/softhsm/libsofthsm2.so")
	}
	if source, given := asked["pin-source"]; given {
		u.pin = strings.TrimPrefix(strings.TrimPrefix(source, "file:"), "//")
		if !filepath.IsAbs(u.pin) {
			return URI{}, errors.New("pin-source names a file by its absolute path, no program")
		}
	}
	return u, nil
}

// PINSource returns the path of the file that the URI names for the PIN, or
// nothing.
func (u URI) PINSource() string { return u.pin }

// parseAttributes decodes NAME=VALUE pairs.
func parseAttributes(text, separator string) (map[string]string, error) {
	found := map[string]string{}
	if text == "" {
		return found, nil
	}
	for attribute := range strings.SplitSeq(text, separator) {
		name, value, ok := strings.Cut(attribute, "=")
		_, twice := found[name]
		value, err := url.PathUnescape(value)
		switch {
		case !ok:
			return nil, errors.New("between pkcs11: and ? stand NAME=VALUE;NAME=VALUE, after it NAME=VALUE&NAME=VALUE (RFC 7512)")
		case twice:
			return nil, fmt.Errorf("the attribute %s is there twice", name)
		case err != nil:
			return nil, fmt.Errorf("the attribute %s has a %% without two hexadecimal digits after it", name)
		}
		found[name] = value
	}
	return found, nil
}

func isPathAttribute(name string) bool {
	switch name {
	case "token", "manufacturer", "serial", "model",
		"library-manufacturer", "library-description", "library-version",
		"slot-id", "slot-manufacturer", "slot-description",
		"object", "id", "type":
		return true
	}
	return false
}

// ErrNotBuilt is the error of a build without PKCS#11: the static one, which
// cannot load a token's module.
var ErrNotBuilt = errors.New("this static outrider cannot load a PKCS#11 module; use the build with PKCS#11, of make build-pkcs11")

package config

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// hostPath takes the path of a part of an identity, which systemd may hand
// over as a credential (systemd.exec(5)).
func hostPath() kind[string] {
	k := path()
	plain := k.parse
	k.takes = "path or `credential:NAME`"
	k.parse = func(from *source, text string) (string, error) {
		name, ok := strings.CutPrefix(text, "credential:")
		if !ok {
			return plain(from, text)
		}
		name, err := from.expand(name)
		switch {
		case err != nil:
			return "", err
		case !spelled(name, "_.-+@:") || len(name) > 255 || name == "." || name == "..":
			return "", fmt.Errorf("%q is not credential: and the name of a credential", text)
		case from.credentials == "":
			return "", fmt.Errorf("stands in $CREDENTIALS_DIRECTORY, which is not set; systemd sets it for a unit with LoadCredential=%s:PATH", name)
		}
		return filepath.Join(from.credentials, name), nil
	}
	return k
}

// privateKey takes the path of a private key, or the name of one that does
// not leave its TPM or token.
func privateKey() kind[string] {
	file := hostPath()
	return kind[string]{takes: "path, `credential:NAME`, `tpm2:…` or `pkcs11:…`", parse: func(from *source, text string) (string, error) {
		if strings.HasPrefix(text, "pkcs11:") {
			return text, checkPKCS11(text)
		}
		key, ok := strings.CutPrefix(text, "tpm2:")
		if !ok {
			return file.parse(from, text)
		}
		key, query, given := strings.Cut(key, "?")
		if given {
			if err := checkDevice(query); err != nil {
				return "", err
			}
			query = "?" + query
		}
		if digits, ok := strings.CutPrefix(strings.ToLower(key), "0x"); ok {
			// The first byte is the kind: TPM 2.0 Library, part 2, 7.2.
			handle, err := strconv.ParseUint(digits, 16, 32)
			if err != nil || handle>>24 != 0x81 {
				return "", fmt.Errorf("%q is not a persistent handle: 0x81000000 to 0x81ffffff", key)
			}
			return fmt.Sprintf("tpm2:%#x%s", handle, query), nil
		}
		key, err := file.parse(from, key)
		return "tpm2:" + key + query, err
	}}
}

// checkDevice checks what says where a TPM is. A TCP connection to one is
// not protected.
func checkDevice(query string) error {
	device, ok := strings.CutPrefix(query, "device=")
	address, tcp := strings.CutPrefix(device, "tcp:")
	a, err := netip.ParseAddrPort(address)
	if !ok || tcp && (err != nil || !a.Addr().IsLoopback()) || !tcp && !filepath.IsAbs(strings.TrimPrefix(device, "unix:")) {
		return fmt.Errorf("%q is not device= and a device's path, unix: and a socket's, or tcp: and a loopback address and port", query)
	}
	return nil
}

// checkPKCS11 checks a PKCS#11 URI (RFC 7512) as far as one can without the
// token. The error holds no attribute's value: one may be a PIN.
func checkPKCS11(uri string) error {
	path, query, _ := strings.Cut(strings.TrimPrefix(uri, "pkcs11:"), "?")
	of, err := attributes(path, ";", "token", "manufacturer", "serial", "model", "library-manufacturer", "library-version",
		"library-description", "object", "type", "id", "slot-id", "slot-manufacturer", "slot-description")
	if err != nil {
		return err
	}
	by, err := attributes(query, "&", "pin-source", "module-name", "module-path")
	if err != nil {
		return err
	}
	pin, given := by["pin-source"]
	switch {
	case of["type"] != "" && of["type"] != "private":
		return errors.New("names another object than a private key; write type=private, or leave it out")
	case !filepath.IsAbs(by["module-path"]):
		return errors.New("needs ?module-path= and the absolute path of the token's module, such as /usr/lib/softhsm/libsofthsm2.so")
	case given && !filepath.IsAbs(strings.TrimPrefix(strings.TrimPrefix(pin, "file:"), "//")):
		return errors.New("pin-source names a file by its absolute path, and no program")
	}
	return nil
}

// attributes decodes a part of a PKCS#11 URI. Unknown attributes are refused,
// too: without a misspelt one the URI would mean any key.
func attributes(text, separator string, known ...string) (map[string]string, error) {
	found := make(map[string]string)
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
		case name == "pin-value":
			return nil, errors.New("pin-value would show the PIN to whoever reads this file; give password_file or pin-source")
		case !slices.Contains(known, name):
			return nil, fmt.Errorf("a PKCS#11 URI has no attribute %q here%s", name, didYouMean(name, known))
		case twice:
			return nil, fmt.Errorf("the attribute %s is there twice", name)
		case err != nil:
			return nil, fmt.Errorf("the attribute %s has a %% without two hexadecimal digits after it", name)
		}
		found[name] = value
	}
	return found, nil
}

// workloadAPI takes the socket of a SPIFFE Workload API and gives its URL.
// https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE_Workload_Endpoint.md
func workloadAPI() kind[string] {
	k := socket()
	plain := k.parse
	k.parse = func(from *source, text string) (string, error) {
		name, err := plain(from, text)
		if err != nil {
			return "", err
		}
		return (&url.URL{Scheme: "unix", Path: name}).String(), nil
	}
	return k
}

func checkIdentity(r *reader, v *value, i *Identity) {
	i.Name = v.key.Value
	form := "certificate" // of which private_key is the other half
	if v.get("private_key") == nil || v.get("pkcs12") != nil || v.get("spiffe") != nil {
		form = r.oneOf(v, "certificate", "pkcs12", "spiffe")
	}
	if form == "certificate" {
		for _, key := range []string{"certificate", "private_key"} {
			if v.get(key) == nil {
				r.missing(v, key, "")
			}
		}
	}
	r.goesWith(v, form, "private_key", "certificate")
	r.goesWith(v, form, "password_file", "certificate", "pkcs12")
	r.goesWith(v, form, "chain", "certificate", "pkcs12")
	_, query, _ := strings.Cut(i.PrivateKey, "?")
	if strings.HasPrefix(i.PrivateKey, "pkcs11:") && strings.Contains(query, "pin-source=") && i.PasswordFile != "" {
		r.atKey(v.get("password_file"), "excludes pin-source in private_key; give one of them")
	}
}

// files returns what of an identity is a file.
func (i Identity) files() []string {
	key, _, _ := strings.Cut(strings.TrimPrefix(i.PrivateKey, "tpm2:"), "?")
	return []string{i.Certificate, i.PrivateKey, key, i.PasswordFile, i.Chain, i.PKCS12}
}

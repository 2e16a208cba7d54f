package config

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// FuzzScalar reads one text as each kind of plain value there is. What is taken
// is within its bounds, and taken again in the form that it was given.
func FuzzScalar(f *testing.F) {
	for _, text := range []string{
		"5m", "1h0.5s", "-9223372036854775808ns", "0640", "0o777", "01777", "9", "SIGHUP", "app.service", "web@%i.service", "a/../b", "%i%%", "unix:/run/x",
		"127.0.0.1:9470", "[::1]:0", "0x7f.1:9", "https://u:p@host/?a#b", "https://[fe80::1%25eth0]:443/", "http://localhost:1", "arn:aws:iam::111122223333:role/a/b",
		"arn:aws:ssm:eu-west-3:111122223333:parameter/a:3", "/a/b:label", "name:0", "tpm2:0x81000001", "pkcs11:token=a", "spiffe", "https://sqs.eu-west-3.amazonaws.com/111122223333/q", "root", "-1", "", "\x00", "\xff",
	} {
		f.Add(text)
	}
	from := &source{name: "outrider.yaml", folder: "/etc/outrider", instance: "web"}
	kinds := map[string]kind[string]{
		"entry": entryName(), "secret": secretName(), "path": path(), "folder": folder(), "socket": socket(), "account": account("user"), "unit": unit(),
		"endpoint": endpoint(), "secretID": secretID(), "parameterID": parameterID(), "parameterPath": parameterPath(), "role": roleARN(), "anchor": trustAnchor(),
		"profile": profile(), "region": region(), "queue": queue(), "key": privateKey(), "host path": hostPath(), "workload": workloadAPI(), "server": server(), "credential": credentialName(),
	}
	absolute := map[string]bool{"path": true, "folder": true, "socket": true}
	f.Fuzz(func(t *testing.T, text string) {
		for name, k := range kinds {
			got, err := k.parse(from, text)
			if err != nil {
				if strings.ContainsAny(err.Error(), "\n\r\x1b") {
					t.Errorf("%s: got %q, want one line", name, err)
				}
				continue
			}
			if absolute[name] && (!filepath.IsAbs(got) || filepath.Clean(got) != got) || strings.ContainsAny(got, "\x00\n") {
				t.Errorf("%s: %q became %q", name, text, got)
			}
		}
		if d, err := duration(time.Second, time.Hour).parse(from, text); err == nil && (d < time.Second || d > time.Hour) {
			t.Errorf("%q became %v", text, d)
		}
		if m, err := mode().parse(from, text); err == nil && (*m > 0o777 || !strings.HasSuffix(text, fmt.Sprintf("%o", *m))) {
			t.Errorf("%q became %o", text, *m)
		}
		if n, err := signal().parse(from, text); err == nil && (n < 1 || n > 64) {
			t.Errorf("%q became signal %d", text, n)
		}
		for name, k := range map[string]kind[Address]{"loopback": loopback(), "address or socket": addressOrSocket(), "anywhere": anywhere()} {
			a, err := k.parse(from, text)
			if host := strings.HasPrefix(a.Address, "127.") || strings.HasPrefix(a.Address, "[::"); err == nil && name != "anywhere" && a.Network == "tcp" && !host {
				t.Errorf("%s: %q became %+v", name, text, a)
			}
		}
	})
}

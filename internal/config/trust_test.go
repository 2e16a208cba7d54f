package config

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestFilesThatOthersMayChangeAreNotActedBy has root's files changed one at a
// time, as only root can.
func TestFilesThatOthersMayChangeAreNotActedBy(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	const nobody = 65534
	for name, tc := range map[string]struct {
		file            string
		uid, gid        int
		mode            fs.FileMode
		untrusted, weak string
	}{
		"root's own, which everybody may read":       {"outrider.yaml", 0, nobody, 0o644, "", ""},
		"what root's group may change":               {"outrider.yaml", 0, 0, 0o664, "", ""},
		"what everybody may change":                  {"outrider.yaml", 0, 0, 0o646, "outrider.yaml: everybody may change it (mode 0646): chmod o-w outrider.yaml", ""},
		"what another group may change":              {"outrider.yaml", 0, nobody, 0o660, "outrider.yaml: group 65534 may change it (mode 0660): chmod g-w outrider.yaml", ""},
		"what another user owns":                     {"outrider.yaml", nobody, 0, 0o600, "outrider.yaml: user 65534 may change it, who owns it: chown root outrider.yaml", ""},
		"a further file that another user owns":      {"apps.d/more.yaml", nobody, 0, 0o600, "apps.d/more.yaml: user 65534 may change it, who owns it: chown root apps.d/more.yaml", ""},
		"a template that everybody may change":       {"web.tmpl", 0, 0, 0o666, "web.tmpl: everybody may change it (mode 0666): chmod o-w web.tmpl", ""},
		"a template that another group may change":   {"web.tmpl", nobody, nobody, 0o664, "web.tmpl: group 65534 may change it (mode 0664): chmod g-w web.tmpl", ""},
		"a template that its user alone may change":  {"web.tmpl", nobody, nobody, 0o644, "", "template web.tmpl: user 65534 may change it, who owns it: chown root web.tmpl"},
		"a template of root's, which all may read":   {"web.tmpl", 0, 0, 0o644, "", ""},
		"a template that root's group may write, so": {"web.tmpl", 0, 0, 0o664, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			folder := write(t, map[string]string{
				"outrider.yaml":    app(secrets + "    files: [{template: web.tmpl, destination: /x}]\n"),
				"apps.d/more.yaml": "apps: {more: {secrets: {x: {secret: x}}, files: [{content: x, destination: /y}]}}",
				"web.tmpl":         "x",
			})
			file := filepath.Join(folder, tc.file)
			if err := os.Chown(file, tc.uid, tc.gid); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(file, tc.mode); err != nil {
				t.Fatal(err)
			}
			c, err := Load(filepath.Join(folder, "outrider.yaml"), noEnvironment)
			if err != nil {
				t.Fatal(err)
			}
			got := strings.ReplaceAll(c.Untrusted.Error()+"|"+strings.Join(c.Weak, "\n"), folder+"/", "")
			if diff := cmp.Diff(got, tc.untrusted+"|"+tc.weak); diff != "" {
				t.Errorf("got -, want +:\n%s", diff)
			}
		})
	}
}

// TestWhatIsNamedIsDistrustedAsWell has programs, authorities and folders of
// root's changed one at a time.
func TestWhatIsNamedIsDistrustedAsWell(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	const nobody = 65534
	for name, tc := range map[string]struct {
		file            string
		uid             int
		mode            fs.FileMode
		untrusted, weak string
	}{
		"root's own":                            {"tell", 0, 0o755, "", ""},
		"a program that everybody may change":   {"tell", 0, 0o757, "tell: everybody may change it (mode 0757): chmod o-w tell", ""},
		"a check that everybody may change":     {"check", 0, 0o757, "check: everybody may change it (mode 0757): chmod o-w check", ""},
		"a program of another user":             {"tell", nobody, 0o755, "", "program tell: user 65534 may change it, who owns it: chown root tell"},
		"a program of the user it is run as":    {"confirm", nobody, 0o755, "", ""},
		"that one when everybody may change it": {"confirm", nobody, 0o757, "confirm: everybody may change it (mode 0757): chmod o-w confirm", ""},
		"authorities that everybody may change": {"ca.pem", 0, 0o646, "ca.pem: everybody may change it (mode 0646): chmod o-w ca.pem", ""},
		"a folder that everybody may change":    {"bin", 0, 0o757, "", "folder bin: everybody may change it (mode 0757): chmod o-w bin"},
		"a folder of another user":              {"bin", nobody, 0o755, "", "folder bin: user 65534 may change it, who owns it: chown root bin"},
		"a sticky folder":                       {"bin", 0, 0o777 | fs.ModeSticky, "", ""},
		"the folder of a password":              {"pki", 0, 0o757, "", "folder pki: everybody may change it (mode 0757): chmod o-w pki"},
		"the folder of what is written":         {"log", 0, 0o757, "", "folder log: everybody may change it (mode 0757): chmod o-w log"},
		"the folder of what a link leads to":    {"real", 0, 0o757, "", "folder real: everybody may change it (mode 0757): chmod o-w real"},
	} {
		t.Run(name, func(t *testing.T) {
			folder := write(t, map[string]string{
				"outrider.yaml": strings.Replace(app(secrets+`    files: [{content: x, destination: /x}]
    check: [DIR/check]
    verify: [{run: [DIR/gone]}, {run: [DIR/bin/try]}]
    notify: [{run: [DIR/tell]}]
    confirm: {run: [DIR/confirm], user: nobody}
aws: {ca_bundle: DIR/ca.pem}
audit: {path: DIR/log/audit.log}
`), "private_key:", "password_file: pki/pass\n    private_key:", 1),
				"check": "", "tell": "", "confirm": "", "ca.pem": "", "bin/.keep": "", "pki/pass": "", "real/try": "", "log/.keep": "",
			})
			config := filepath.Join(folder, "outrider.yaml")
			text, err := os.ReadFile(config)
			if err != nil {
				t.Fatal(err)
			}
			for _, err := range []error{
				os.WriteFile(config, []byte(strings.ReplaceAll(string(text), "DIR", folder)), 0o600),
				os.Symlink(filepath.Join(folder, "real", "try"), filepath.Join(folder, "bin", "try")),
				os.Chown(filepath.Join(folder, tc.file), tc.uid, 0),
				os.Chmod(filepath.Join(folder, tc.file), tc.mode),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			c, err := Load(config, noEnvironment)
			if err != nil {
				t.Fatal(err)
			}
			got := strings.ReplaceAll(c.Untrusted.Error()+"|"+strings.Join(c.Weak, "\n"), folder+"/", "")
			if diff := cmp.Diff(got, tc.untrusted+"|"+tc.weak); diff != "" {
				t.Errorf("got -, want +:\n%s", diff)
			}
		})
	}
}

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

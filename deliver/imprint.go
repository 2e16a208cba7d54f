package deliver

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"outrider/secret"
)

// Imprint returns a file of the state folder that differs when one of the
// values does: a line for each with its digest under the state's key. As one of
// an app's files it makes what the app hands out otherwise, and keeps in no
// file, part of its generations.
func (s *State) Imprint(app string, values map[string]secret.Value) File {
	var lines strings.Builder
	for _, name := range slices.Sorted(maps.Keys(values)) {
		fmt.Fprintf(&lines, "%s %s\n", name, s.digest(values[name].Digest()))
	}
	mode := fs.FileMode(0o600)
	return File{Destination: s.path(app + ".credentials"), Content: secret.Text(lines.String()), Mode: &mode}
}

// PreviewImprint tells, by name, what a commit would do to what an app hands
// out and keeps in no file. It reads the imprint and the key in a state folder,
// neither of which need be there, and writes nothing.
func PreviewImprint(dir, app string, values map[string]secret.Value) ([]Preview, error) {
	var old string
	s := &State{}
	folder, err := os.Open(dir)
	if err == nil {
		defer folder.Close()
		s.dir = folder
		s.key, err = s.readKey()
	}
	if err == nil {
		var text []byte
		text, err = os.ReadFile(s.path(app + ".credentials"))
		old = "\n" + string(text)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("imprint of app %s: %w", app, err)
	}
	var previews []Preview
	for _, name := range slices.Sorted(maps.Keys(values)) {
		p := Preview{Destination: "credential " + name, Effect: Changes}
		switch {
		case !strings.Contains(old, "\n"+name+" "):
			p.Effect = Creates
		case strings.Contains(old, "\n"+name+" "+s.digest(values[name].Digest())+"\n"):
			p.Effect = Unchanged
		}
		previews = append(previews, p)
	}
	return previews, nil
}

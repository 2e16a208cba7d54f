package deliver

import (
	"fmt"
	"io/fs"
	"maps"
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

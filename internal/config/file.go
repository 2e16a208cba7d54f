package config

import (
	"path/filepath"
	"slices"
)

// fileFormat takes what inserted values can be escaped for.
func fileFormat() kind[string] {
	return choice("none", "properties", "ini", "dotenv", "json", "yaml", "my.cnf", "systemd-environment", "toml", "shell", "pgpass", "xml")
}

func checkFile(r *reader, v *value, f *File) {
	f.Place = v.place() + ": " + v.path()
	source := r.oneOf(v, "template", "content", "raw")
	switch {
	case source == "template" && f.Source != "":
		text, err := r.text(f.Source)
		if err != nil {
			r.mistake(v.get("template"), f.Source+": "+cause(err))
		}
		f.Text = string(text)
	case source == "content":
		f.Source = f.Place
	case source == "raw" && f.Format != "none" && f.Format != "":
		r.atKey(v.get("format"), "excludes raw, whose bytes stand as they are")
	}
	if f.InPlace && f.Symlink == "replace" {
		r.atKey(v.get("in_place"), "excludes symlink: replace")
	}
	if f.Destination != "" {
		r.write(v.get("destination"), f.Destination)
	}
}

// write takes a path for the one key that writes it.
func (r *reader) write(v *value, path string) {
	if first, taken := r.destinations[path]; taken {
		r.mistake(v, "is written twice; the first is "+first.path()+" at "+first.place())
		return
	}
	r.destinations[path] = v
}

// checkDestinations refuses to overwrite what is read, and to write into a
// folder that an app's files replace as a whole.
func (r *reader) checkDestinations() {
	read := append(slices.Clone(r.config.Files), r.config.AWS.CABundle)
	for _, i := range r.config.Identities {
		read = append(read, i.files()...)
	}
	for _, role := range r.config.Roles {
		if role.CredentialsFile != nil {
			read = append(read, role.CredentialsFile.Path)
		}
	}
	replaced := make(map[string]*value) // by folder, its app
	for name, app := range r.config.Apps {
		if app.Sealed != nil {
			read = append(read, app.Sealed.Key)
		}
		for _, verify := range app.Verify {
			if verify.MySQL != nil {
				read = append(read, verify.MySQL.CA)
			}
		}
		if entry := r.entries["apps."+name]; entry != nil && app.Layout == "directory" && len(app.Files) > 0 {
			replaced[filepath.Dir(app.Files[0].Destination)] = entry
		}
	}
	slices.Sort(read)
	for _, path := range slices.Compact(read) {
		if v, ok := r.destinations[path]; ok {
			r.mistake(v, path+" is a file that outrider itself reads")
		}
	}
	if len(replaced) > 0 {
		r.checkReplaced(replaced)
	}
}

func (r *reader) checkReplaced(replaced map[string]*value) {
	for path, v := range r.destinations {
		for folder := filepath.Dir(path); len(folder) > 1; folder = filepath.Dir(folder) {
			if app, ok := replaced[folder]; ok && !v.within(app) {
				r.mistake(v, "is below "+folder+", which "+app.path()+" replaces as a whole (layout: directory)")
			}
		}
	}
}

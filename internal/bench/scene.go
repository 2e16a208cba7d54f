package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// shape is how many secrets there are, and how they are spread over apps.
type shape struct {
	secrets int
	apps    bool // an app for each secret, with a folder of its own; else one app for all
}

// bound is the most calls that a cold start of the shape may make.
func (sh shape) bound() int { return 1 + 2*((sh.secrets+batch-1)/batch) }

// String says it in the words of the report.
func (sh shape) String() string {
	switch {
	case sh.secrets == 1:
		return "1 secret"
	case sh.apps:
		return thousands(sh.secrets) + " secrets, an app each"
	}
	return thousands(sh.secrets) + " secrets, one app"
}

// scene is a folder in which nothing was delivered yet, for one sidecar.
type scene struct {
	*stage
	shape
	dir string
}

// scene makes a new folder with the destinations' folders in it, and lets the
// file system come to rest, which would otherwise count as the start's. None
// is removed before the end: ext4 without a journal is slow to make files for
// minutes after others were removed.
func (s *stage) scene(sh shape) (*scene, error) {
	dir, err := s.folder()
	if err != nil {
		return nil, err
	}
	sc := &scene{stage: s, shape: sh, dir: dir}
	for _, file := range sc.files() {
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return nil, err
		}
	}
	err = sc.configure()
	unix.Sync()
	return sc, err
}

// files returns the destination for each secret.
func (s *scene) files() []string {
	var paths []string
	for i := range s.secrets {
		app := "all"
		if s.apps {
			app = fmt.Sprintf("app%04d", i)
		}
		paths = append(paths, filepath.Join(s.dir, app, fmt.Sprintf("%04d.properties", i)))
	}
	return paths
}

// configure writes what the sidecar, and what the floor, is to do.
func (s *scene) configure() error {
	var apps, secrets, files strings.Builder
	for i, file := range s.files() {
		fmt.Fprintf(&secrets, "      s%d: {secret: %s}\n", i, secretID(i))
		fmt.Fprintf(&files, "      - content: %q\n        destination: %s\n",
			fmt.Sprintf("db.user={{ .s%[1]d.username }}\ndb.password={{ .s%[1]d.password }}\n", i), file)
		if s.apps || i == s.secrets-1 {
			fmt.Fprintf(&apps, "  app%d:\n    secrets:\n%s    files:\n%s", i, &secrets, &files)
			secrets.Reset()
			files.Reset()
		}
	}
	text, err := json.Marshal(s.job())
	return errors.Join(err,
		os.WriteFile(filepath.Join(s.dir, "job.json"), text, 0o600),
		os.WriteFile(filepath.Join(s.dir, "outrider.yaml"), []byte(s.head("", "")+"apps:\n"+apps.String()), 0o600))
}

// job is the floor's. The sidecar reads the secrets of one app twice, to see
// that none moved meanwhile; so does the floor.
func (s *scene) job() job {
	j := job{Setup: s.setup, Rounds: 2, Files: s.files()}
	if s.apps || s.secrets == 1 {
		j.Rounds = 1
	}
	for i := range s.secrets {
		j.IDs = append(j.IDs, secretID(i))
	}
	return j
}

// sidecar prepares outrider.
func (s *scene) sidecar(ctx context.Context) *process {
	return s.stage.sidecar(ctx, s.dir)
}

// floor prepares what does the same and no more.
func (s *scene) floor(ctx context.Context) *process {
	return command(ctx, s.dir, s.self, "floor", "job.json")
}

// check compares every file with the value of its secret.
func (s *scene) check() error {
	for i, file := range s.files() {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if string(text) != s.values[i].file() {
			return fmt.Errorf("%s does not hold the value of %s", file, secretID(i))
		}
	}
	return nil
}

package deliver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"outrider/secret"
)

// story is a life of an app: how its files stand, and how they come there.
type story struct {
	name    string
	layout  Layout
	one     bool // file alone
	inPlace bool
	mayTear bool // a reader may see parts
}

func stories() []story {
	return []story{
		{name: "files in two folders"},
		{name: "files of one folder", layout: Directory},
		{name: "files in place", inPlace: true, mayTear: true},
		{name: "one file", one: true},
	}
}

// find returns the story of a name.
func find(name string) (story, error) {
	for _, s := range stories() {
		if s.name == name {
			return s, nil
		}
	}
	return story{}, fmt.Errorf("no story of %s", name)
}

// paths returns the destinations below root.
func (s story) paths(root string) []string {
	if s.one {
		return []string{filepath.Join(root, "x/a")}
	}
	if s.layout == Directory {
		return []string{filepath.Join(root, "x/d/a"), filepath.Join(root, "x/d/b"), filepath.Join(root, "x/d/c")}
	}
	return []string{filepath.Join(root, "x/a"), filepath.Join(root, "x/b"), filepath.Join(root, "y/c")}
}

// text is the content that all files of a version have.
func (s story) text(version uint64) string {
	line := fmt.Sprintf("version %d\n", version)
	for n := range version % 5 { // of several lengths
		line += fmt.Sprintf("and line %d of %d\n", n, version)
	}
	return line
}

// files returns all files as they are in a version.
func (s story) files(root string, version uint64) []File {
	var files []File
	for _, path := range s.paths(root) {
		files = append(files, File{Destination: path, Content: secret.Text(s.text(version)), Layout: s.layout, InPlace: s.inPlace})
	}
	return files
}

// begin makes the files of version 0, as somebody else has.
func (s story) begin(root string) error {
	for _, path := range s.paths(root) {
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if err = errors.Join(err, os.WriteFile(path, []byte(s.text(0)), 0o640)); err != nil {
			return err
		}
	}
	return os.Mkdir(filepath.Join(root, "state"), 0o700)
}

// read returns what all files hold, or says how they differ.
func (s story) read(root string) (string, error) {
	var texts []string
	for _, path := range s.paths(root) {
		text, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		texts = append(texts, string(text))
	}
	if len(slices.Compact(slices.Clone(texts))) > 1 {
		return "", fmt.Errorf("files of several versions: %q", texts)
	}
	return texts[0], nil
}

// snapshot is what a version is made from.
func snapshot(version uint64) secret.Snapshot {
	return secret.NewSnapshot(secret.Snapshot{}.Taken(), map[string]secret.Version{
		"db": {Ref: secret.Ref{ID: "prod/db", Stage: secret.Current}, ID: fmt.Sprint(version), ARN: "arn:db"},
	})
}

// commit stages and commits a version.
func (s story) commit(l *Ledger, root string, version uint64, confirm bool) (uint64, error) {
	staged, err := l.Stage(s.files(root, version))
	if err != nil {
		return 0, err
	}
	return l.Commit(staged, Plan{Snapshot: snapshot(version), Confirm: confirm})
}

// tell lives through the story: one that is killed before it has synced
// anything, a generation that is confirmed, one that is
// rolled back, and two whose commits are interrupted, when the files of the
// first folder have been moved, or before anything is synced, and recovered.
// A last one goes through. It prints what is certain from then on.
func (s story) tell(root string, out io.Writer) error {
	ctx := context.Background()
	l, err := openLedger(filepath.Join(root, "state"), printer{out})
	if err != nil {
		return err
	}
	steps := 3 * len(s.paths(root)) // of staging
	s.interrupt(l, root, 9, func() bool { steps--; return steps == 1 })
	if l, err = openLedger(filepath.Join(root, "state"), printer{out}); err != nil {
		return err
	}
	for generation, version := range []uint64{1: 1, 2: 2, 3: 1, 4: 4, 5: 5, 6: 6} {
		switch generation {
		case 0:
			continue
		case 3:
			_, err = l.RollBack(2, "it does not run")
		case 4, 5:
			s.interrupt(l, root, version, func() bool {
				paths := s.paths(root)
				text, err := os.ReadFile(paths[len(paths)/2])
				return generation == 5 && l.now().Pending != nil || err == nil && string(text) == s.text(version)
			})
			if l, err = openLedger(filepath.Join(root, "state"), printer{out}); err == nil {
				_, err = l.Recover()
			}
		default:
			_, err = s.commit(l, root, version, generation < 3)
		}
		if err != nil {
			return err
		}
		fmt.Fprintln(out, "committed", generation)
		if _, err := l.Deliver(ctx); err != nil {
			return err
		}
		if generation == 1 {
			fmt.Fprintln(out, "confirming 1")
			l.Confirmed(1)
		}
	}
	return nil
}

// interrupt ends a commit between two steps, as a crash does.
func (s story) interrupt(l *Ledger, root string, version uint64, now func() bool) {
	l.state.step = func() {
		if now() {
			runtime.Goexit()
		}
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = s.commit(l, root, version, false)
	}()
	<-ended
	_ = errors.Join(l.Close(), l.state.Close())
}

// versionOf returns the version that a generation of tell is.
func versionOf(generation uint64) uint64 {
	if generation == 3 {
		return 1
	}
	return generation
}

func TestStory(t *testing.T) {
	for _, s := range stories() {
		t.Run(s.name, func(t *testing.T) {
			root := t.TempDir()
			if err := errors.Join(s.begin(root), s.tell(root, io.Discard)); err != nil {
				t.Fatal(err)
			}
			if got, err := s.read(root); got != s.text(6) {
				t.Errorf("got %q, error %v", got, err)
			}
			entries, err := History(filepath.Join(root, "state"), "app")
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, g := range entries {
				if diff := cmp.Diff(g.Files, s.paths(root)); diff != "" {
					t.Errorf("generation %d: files (-got +want):\n%s", g.Number, diff)
				}
				got = append(got, fmt.Sprint(g.Number, " from ", g.Versions["db"].ID, ": ", len(g.Told), " told, owed ", g.Owed, ", ", g.Ending, " ", g.Reason))
			}
			want := []string{
				"1 from 1: 1 told, owed [], confirmed ",
				"2 from 2: 1 told, owed [], rolled back it does not run",
				"3 from 1: 1 told, owed [], superseded ",
				"4 from 4: 1 told, owed [], superseded ",
				"5 from 5: 1 told, owed [], superseded ",
				"6 from 6: 1 told, owed [], current ",
			}
			if diff := cmp.Diff(got, want); diff != "" {
				t.Errorf("history (-got +want):\n%s", diff)
			}
		})
	}
}

package e2e

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"outrider/serve"
)

// trouble is what goes wrong with the place of an app's file, and how it is
// mended.
type trouble struct {
	words []string // of the app's error
	stays string   // what of the file can be seen meanwhile; empty: as it was
	begin func(s *scene, dir string) error
	end   func(s *scene, dir string) error
}

func troubles() map[string]trouble {
	all := map[string]trouble{
		"removed": {
			words: []string{"no such file or directory: create it: mkdir -p "},
			stays: "nothing",
			begin: func(_ *scene, dir string) error { return os.Rename(dir, dir+".away") },
			end:   func(_ *scene, dir string) error { return os.Mkdir(dir, 0o700) },
		},
		"folder": {
			words: []string{"is a folder: name a file in it"},
			stays: "nothing",
			begin: func(_ *scene, dir string) error {
				err := os.MkdirAll(dir+"/folder/full", 0o700)
				return errors.Join(err, unix.Renameat2(unix.AT_FDCWD, dir+"/folder", unix.AT_FDCWD, dir+"/conf", unix.RENAME_EXCHANGE), os.Remove(dir+"/folder"))
			},
			end: func(_ *scene, dir string) error { return os.RemoveAll(dir + "/conf") },
		},
	}
	if os.Geteuid() != 0 {
		all["readonly"] = trouble{
			words: []string{"permission denied: let uid "},
			begin: func(_ *scene, dir string) error { return os.Chmod(dir, 0o500) },
			end:   func(_ *scene, dir string) error { return os.Chmod(dir, 0o700) },
		}
		return all
	}
	all["planted"] = trouble{ // the folder is the application's, and so is the link
		words: []string{"is a symbolic link, not followed because others than root and outrider may change it"},
		stays: "link",
		begin: func(s *scene, dir string) error {
			s.write("victim", "victim")
			// At no moment is it a link that may be followed, or is nothing there.
			return errors.Join(os.Chown(dir, 65534, 65534), os.Symlink(s.path("victim"), dir+"/link"),
				os.Lchown(dir+"/link", 65534, 65534), os.Rename(dir+"/link", dir+"/conf"))
		},
		end: func(_ *scene, dir string) error { return os.Remove(dir + "/conf") },
	}
	return all
}

// mounted are those that need a file system of their own.
func mounted() map[string]trouble {
	return map[string]trouble{
		"readonly": {
			words: []string{"read-only file system: remount it writable, or under systemd list "},
			begin: func(_ *scene, dir string) error { return unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, "") },
			end:   func(_ *scene, dir string) error { return unix.Mount("", dir, "", unix.MS_REMOUNT, "") },
		},
		"full": {
			words: []string{"no space left on device: free space or inodes on the file system of "},
			begin: func(_ *scene, dir string) error { return fill(dir) },
			end:   func(_ *scene, dir string) error { return os.Remove(dir + "/ballast") },
		},
	}
}

// fill leaves no room on a small file system.
func fill(dir string) error {
	err := os.WriteFile(dir+"/ballast", make([]byte, 1<<20), 0o600)
	if !errors.Is(err, unix.ENOSPC) {
		return errors.Join(errors.New("it does not become full"), err)
	}
	return nil
}

// mount gives a folder a small file system of its own, as far as we may.
func (s *scene) mount(dir string) bool {
	s.t.Helper()
	err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256k,mode=700")
	if errors.Is(err, unix.EPERM) {
		return false
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			s.t.Error(err)
		}
	})
	return true
}

// Whatever goes wrong with a disk, status says what and how to mend it, the
// file stays, and it goes on by itself when that is mended.
func TestDiskErrors(t *testing.T) {
	t.Parallel()
	s := newScene(t, "")
	all := troubles()
	for name := range all {
		if err := os.Mkdir(s.path(name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, trouble := range mounted() {
		if err := os.MkdirAll(s.path(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if s.mount(s.path(name)) {
			all[name] = trouble
		} else if all[name].begin == nil {
			t.Logf("left out: a disk that is %s takes a mount, which is not allowed here", name)
		}
	}
	apps := "apps:\n"
	for name := range all {
		apps += "  " + name + ":\n    secrets: {db: {secret: db}}\n    files: [{content: '{{ .db }}', destination: " + name + "/conf}]\n"
	}
	text := func(word string) string { return strings.Repeat(word+"\n", 2000) }
	s.put("db", text("old"))
	s.configure(apps)
	s.start()
	before := map[string][]string{}
	for name, trouble := range all {
		s.do("wait", name, "--timeout", patience.String())
		if err := trouble.begin(s, s.path(name)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		before[name] = s.traces(name + "/conf")
	}
	s.put("db", text("new"))
	for name, trouble := range all {
		app := s.fails(name, trouble.words...)
		file := app.Files[s.path(name+"/conf")]
		if app.State != serve.Failing || app.Generation != 1 || file.State != serve.Failing || file.Error == "" {
			t.Errorf("%s: state %s, generation %d, its file %+v; want failing, 1", name, app.State, app.Generation, file)
		}
		if trouble.stays == "" && s.read(name+"/conf") != text("old") {
			t.Errorf("%s: the file does not hold what it held", name)
		}
		if trouble.stays == "" || trouble.stays == "link" {
			if diff := cmp.Diff(s.traces(name+"/conf"), before[name]); diff != "" {
				t.Errorf("%s: the file was touched", name)
			}
		}
	}
	if got := s.read("victim"); all["planted"].begin != nil && got != "victim" {
		t.Error("what a planted link leads to was written")
	}
	for name, trouble := range all {
		if err := trouble.end(s, s.path(name)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	for name := range all {
		s.current(name)
		if s.read(name+"/conf") != text("new") {
			t.Errorf("%s: mended, and the file does not hold the new content", name)
		}
	}
}

// Without room for the journal nothing is moved: after a crash nobody would
// know of it.
func TestNoRoomForTheJournal(t *testing.T) {
	t.Parallel()
	s := newScene(t, "")
	state := s.path("state")
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	if !s.mount(state) {
		t.Skip("it takes a mount, which is not allowed here")
	}
	s.put("db", "old")
	s.configure(`
apps:
  billing:
    secrets: {db: {secret: db}}
    files: [{content: "{{ .db }}", destination: conf}]
    notify: [{run: ["true"]}]
`)
	s.ready("billing")
	if err := fill(state); err != nil {
		t.Fatal(err)
	}
	// The journal's last page still has room for some generations.
	n, app := 0, serve.App{}
	for ; app.Error == "" && n < 50; n++ {
		s.put("db", fmt.Sprint(n))
		app = s.until("billing", "at its next generation, or failing", func(a serve.App) bool {
			return a.Generation == uint64(n)+2 || a.Error != ""
		})
	}
	app = s.fails("billing", "write journal "+s.path("state/billing.journal"), "no space left on device: free space or inodes on the file system of "+state)
	if app.State != serve.Failing || app.Generation != uint64(n) {
		t.Errorf("state %s, generation %d; want failing, %d", app.State, app.Generation, n)
	}
	s.conf(fmt.Sprint(n - 2))
	if err := os.Remove(state + "/ballast"); err != nil {
		t.Fatal(err)
	}
	s.until("billing", "at its next generation", func(a serve.App) bool { return a.Generation == uint64(n)+1 && a.Error == "" })
	s.conf(fmt.Sprint(n - 1))
}

package localfault

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// must fails the test for what the test itself could not do.
func (s *scene) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) mkdir(name string) {
	s.t.Helper()
	if err := os.Mkdir(s.path(name), 0o700); !errors.Is(err, os.ErrExist) {
		s.must(err)
	}
}

func (s *scene) rename(from, to string) {
	s.t.Helper()
	s.must(os.Rename(s.path(from), s.path(to)))
}

func (s *scene) remove(name string) {
	s.t.Helper()
	s.must(os.RemoveAll(s.path(name)))
}

func away(folders ...string) func(*scene) {
	return func(s *scene) {
		for _, name := range folders {
			s.rename(name, name+".away")
		}
	}
}

func back(folders ...string) func(*scene) {
	return func(s *scene) {
		for _, name := range folders {
			s.rename(name+".away", name)
		}
	}
}

// mount gives a folder a file system of its own.
func (s *scene) mount(name, options string) {
	s.t.Helper()
	s.mkdir(name)
	s.mounted(unix.Mount("tmpfs", s.path(name), "tmpfs", 0, options+",mode=700"), name)
}

func (s *scene) bind(from, to string) {
	s.t.Helper()
	s.mounted(unix.Mount(s.path(from), s.path(to), "", unix.MS_BIND, ""), to)
}

// mounted skips the test when mounting is not allowed, which in CI it is.
func (s *scene) mounted(err error, name string) {
	s.t.Helper()
	if errors.Is(err, unix.EPERM) && os.Getenv("CI") != "true" {
		s.t.Skip("left out: it takes a mount, which is not allowed here")
	}
	s.must(err)
	s.t.Cleanup(func() { _ = unix.Unmount(s.path(name), unix.MNT_DETACH) })
}

func (s *scene) unmount(name string) {
	s.t.Helper()
	s.must(unix.Unmount(s.path(name), unix.MNT_DETACH))
}

func (s *scene) remount(name string, flags uintptr) {
	s.t.Helper()
	s.must(unix.Mount("", s.path(name), "", unix.MS_REMOUNT|flags, ""))
}

// move puts folders onto another file system.
func (s *scene) move(to string, folders ...string) {
	s.t.Helper()
	for _, name := range folders {
		s.must(os.Remove(s.path(name)))
		s.mkdir(to + "/" + name)
		s.must(os.Symlink(s.path(to+"/"+name), s.path(name)))
	}
}

// fill leaves no room on a small file system.
func (s *scene) fill(name string) {
	s.t.Helper()
	err := os.WriteFile(s.path(name), make([]byte, 2<<20), 0o600)
	if !errors.Is(err, unix.ENOSPC) {
		s.t.Fatalf("it does not become full: %v", err)
	}
}

func (s *scene) signal(signal unix.Signal) {
	s.t.Helper()
	s.must(s.c.Process.Signal(signal))
}

// limit says how many it may have.
func (s *scene) limit(n uint64) {
	s.t.Helper()
	s.must(unix.Prlimit(s.c.Process.Pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: 1 << 14}, nil))
}

// note notes which certificate the sidecar has.
func (s *scene) note() {
	s.t.Helper()
	status, err := s.status()
	s.must(err)
	s.serial = status.Identities["host"].Serial
}

const crowd = 10_000

// crowd makes many files in a folder.
func (s *scene) crowd(folder string) {
	s.t.Helper()
	for i := range crowd {
		s.write(fmt.Sprintf("%s/%d", folder, i), "{{ .db | sprig_trunc 9 }}")
	}
}

// disperse removes them.
func (s *scene) disperse(folder string) {
	s.t.Helper()
	for i := range crowd {
		s.must(os.Remove(s.path(fmt.Sprintf("%s/%d", folder, i))))
	}
}

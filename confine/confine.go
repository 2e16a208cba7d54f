// Package confine takes from this process every file that it has no business with.
package confine

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Paths are the folders, with all that is below them, and the files that stay
// within reach. One that does not exist now stays out of it.
type Paths struct {
	Read  []string
	Write []string // these may be read, too
}

const (
	read  = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	write = read | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE |
		unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE | unix.LANDLOCK_ACCESS_FS_MAKE_DIR |
		unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_MAKE_SOCK | unix.LANDLOCK_ACCESS_FS_MAKE_SYM |
		unix.LANDLOCK_ACCESS_FS_REFER
	// handled is all that is denied elsewhere: what Landlock knew when it
	// learnt of truncation, its third version (Linux 6.2).
	handled = write | unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_MAKE_CHAR |
		unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK | unix.LANDLOCK_ACCESS_FS_MAKE_FIFO
	// ofFile is what a rule may say of a file.
	ofFile  = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE
	version = 3
)

// Apply confines every thread of the process, and whatever it starts, for
// good, by Landlock (landlock(7)). It fails on a kernel that cannot do it, and
// in a program that is linked with C, whose threads Go does not know.
func Apply(p Paths) error {
	known, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return fmt.Errorf("confine: Landlock: %w: it is turned off, or a filter of system calls keeps it out; take confine out", errno)
	}
	if known < version {
		return fmt.Errorf("confine: Landlock is of version %d, and %d is needed (Linux 6.2); take confine out", known, version)
	}
	attributes := unix.LandlockRulesetAttr{Handled_access_fs: handled}
	//nolint:gosec // the kernel reads it before the call returns
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attributes)), unsafe.Sizeof(attributes), 0)
	if errno != 0 {
		return fmt.Errorf("confine: make a ruleset: %w", errno)
	}
	rules := os.NewFile(fd, "ruleset")
	defer rules.Close()
	for _, list := range []struct {
		paths  []string
		access uint64
	}{{p.Read, read}, {p.Write, write}} {
		for _, path := range list.paths {
			if err := allow(rules, path, list.access); err != nil {
				return fmt.Errorf("confine: %s: %w", path, err)
			}
		}
	}
	if _, _, errno := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); errno != 0 {
		return threads(errno)
	}
	_, _, errno = syscall.AllThreadsSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, rules.Fd(), 0, 0)
	return threads(errno)
}

// allow adds a rule for what is at path, or at the end of its links.
func allow(rules *os.File, path string, access uint64) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		access &= ofFile
	}
	beneath := unix.LandlockPathBeneathAttr{Allowed_access: access, Parent_fd: int32(fd)}
	//nolint:gosec // as above
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, rules.Fd(), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&beneath)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

func threads(errno syscall.Errno) error {
	switch errno {
	case 0:
		return nil
	case syscall.ENOTSUP:
		return errors.New("confine: not in a build with C, such as the one with PKCS#11: take confine out")
	}
	return fmt.Errorf("confine: restrict this process: %w", errno)
}

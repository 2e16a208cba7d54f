package deliver

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"outrider/internal/remedy"
)

// inFolder says what was attempted in a folder, why it did not work and,
// where the cause tells, what would mend it. A nil err stays nil.
func inFolder(err error, attempt, folder string) error {
	if err == nil {
		return nil
	}
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok { // its path is the one the caller prints
		err = pathErr.Err
	}
	err = fmt.Errorf("%s: %w", attempt, err)
	if mend := remedy.Disk(err, folder); mend != "" {
		return fmt.Errorf("%w: %s", err, mend)
	}
	switch {
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: let uid %d read, write and search %s", err, os.Geteuid(), folder)
	case errors.Is(err, unix.EDQUOT):
		return fmt.Errorf("%w: raise the quota of uid %d on the file system of %s", err, os.Geteuid(), folder)
	case errors.Is(err, unix.ENAMETOOLONG):
		return fmt.Errorf("%w: shorten it", err)
	case errors.Is(err, unix.ENOENT):
		return fmt.Errorf("%w: create it: mkdir -p %s", err, folder)
	}
	return err
}

// notOurs is inFolder for owner and mode.
func notOurs(err error, attempt string) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("%s: %w", attempt, err)
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: give outrider CAP_CHOWN and CAP_FOWNER, or name an owner and group it may set itself", err)
	case errors.Is(err, unix.EROFS):
		return fmt.Errorf("%w: remount its file system writable", err)
	case errors.Is(err, unix.EIO):
		return fmt.Errorf("%w: look at the kernel's log, and after its disk", err)
	}
	return err
}

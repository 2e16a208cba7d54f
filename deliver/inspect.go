package deliver

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Inspect reports what would keep Prepare from delivering the files, as far
// as it can be told without writing: paths, links, folders that are missing
// or not writable. The files' contents do not matter. The error joins one
// *FileError for each file.
func Inspect(files []File) error {
	w := newWalker()
	defer w.close()
	var errs []error
	for _, f := range files {
		if err := f.inspect(w); err != nil {
			errs = append(errs, &FileError{f.Destination, err})
		}
	}
	return errors.Join(errs...)
}

func (f File) inspect(w *walker) error {
	if err := f.check(); err != nil {
		return err
	}
	at, name, st, err := w.locate(f.Destination, f.Symlink)
	if err != nil {
		return err
	}
	if err := f.mayReplace(w, at, name, st); err != nil {
		return err
	}
	if err := unix.Faccessat(at.fd, ".", unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
		return inFolder(err, fmt.Sprintf("write in folder %s as uid %d", at.path, os.Geteuid()), at.path)
	}
	return nil
}

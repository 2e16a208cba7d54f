package deliver

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"outrider/secret"
)

// Place puts files of outrider's own making where they belong, like a commit
// without a journal: nobody is told, and what a crash interrupts is done again
// by the next Place. Name tells its staging folders from others'. It returns
// the destinations that changed.
func Place(name string, files []File) ([]string, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	s, err := stage(&Staged{app: name, files: files}, standing{})
	if err != nil {
		return nil, err
	}
	changed := s.Changed()
	s.alone = true // no folder is synced for a recovery that there is not
	if err = s.repair(); err == nil {
		err = s.sync()
	}
	if err == nil {
		_, err = s.publish()
	}
	if err != nil && s.flip == nil {
		err = errors.Join(err, s.Discard())
	}
	s.close()
	return changed, err
}

// Read returns what is in a file that is about to be replaced, found as a
// destination is; the zero Value when there is none. One of more than limit
// bytes is refused. In a folder that others may change, the file must belong to
// the folder's owner: otherwise a link of theirs to a file of ours would hand
// them its content.
func Read(path string, policy Symlink, limit int64) (secret.Value, error) {
	f := File{Destination: path, Symlink: policy}
	v, err := f.read(limit)
	if err != nil {
		return secret.Value{}, &FileError{path, err}
	}
	return v, nil
}

func (f File) read(limit int64) (secret.Value, error) {
	if err := f.check(); err != nil {
		return secret.Value{}, err
	}
	w := newWalker()
	defer w.close()
	at, name, st, err := w.locate(f.Destination, f.Symlink)
	if err != nil || st == nil {
		return secret.Value{}, err
	}
	fd, err := openat(at.fd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return secret.Value{}, inFolder(err, "read it", at.path)
	}
	file := os.NewFile(uintptr(fd), f.Destination)
	defer file.Close()
	var now unix.Stat_t
	switch err := unix.Fstat(fd, &now); {
	case err != nil:
		return secret.Value{}, err
	case now.Mode&unix.S_IFMT != unix.S_IFREG:
		return secret.Value{}, errors.New("is not a file: remove it")
	case at.trust != ours && now.Uid != at.uid:
		return secret.Value{}, fmt.Errorf("belongs to uid %d, and others than root and outrider may write in %s: chown it to uid %d", now.Uid, at.path, at.uid)
	case now.Size > limit:
		return secret.Value{}, fmt.Errorf("is larger than %d bytes", limit)
	}
	content, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return secret.Value{}, inFolder(err, "read it", at.path)
	}
	return secret.NewValue(content), nil
}

// Remove removes a file, found as a destination with Replace is. That there is
// none is no error.
func Remove(path string) error {
	w := newWalker()
	defer w.close()
	at, name, st, err := w.locate(path, Replace)
	if err == nil && st != nil {
		if err = unix.Unlinkat(at.fd, name, 0); errors.Is(err, unix.ENOENT) {
			err = nil
		}
		err = inFolder(err, "remove it", at.path)
	}
	if err != nil {
		return &FileError{path, err}
	}
	return nil
}

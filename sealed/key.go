package sealed

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"filippo.io/age"
)

// maxKey bounds what is read of a key's file, in bytes.
const maxKey = 64 << 10

// readKey reads the one identity in a file of age-keygen's form. Links are
// followed; a file that others than root and ourselves can read or change is
// refused.
func readKey(path string) (*age.X25519Identity, error) {
	refuse := func(err error) (*age.X25519Identity, error) { return nil, fmt.Errorf("seal key %s: %w", path, err) }
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO is not waited for
	if err != nil {
		return refuse(withRemedy(err))
	}
	defer file.Close()
	info, err := file.Stat()
	if err == nil {
		err = checkKeyFile(path, info)
	}
	if err != nil {
		return refuse(err)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxKey))
	if err != nil {
		return refuse(err)
	}
	key, err := parseKey(text)
	if err != nil {
		return refuse(err)
	}
	return key, nil
}

// checkKeyFile refuses a file that others can read or have written. The group
// may read it when it is root's or our own, as systemd's credentials let it.
func checkKeyFile(path string, info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return errors.New("is not a regular file; name the file itself")
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return errors.New("its owner cannot be told")
	}
	own := owner.Uid == 0 || int(owner.Uid) == os.Geteuid()
	trusted := owner.Gid == 0 || int(owner.Gid) == os.Getegid()
	mode := info.Mode().Perm()
	switch {
	case !own:
		return fmt.Errorf("belongs to uid %d; chown it to root", owner.Uid)
	case mode&0o027 != 0, mode&0o040 != 0 && !trusted:
		return fmt.Errorf("mode %04o lets others at it; chmod 600 %s", mode, path)
	}
	return nil
}

// parseKey returns the one identity. The error never quotes the file.
func parseKey(text []byte) (*age.X25519Identity, error) {
	var found *age.X25519Identity
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		key, err := age.ParseX25519Identity(string(line))
		switch {
		case err != nil:
			return nil, errors.New("holds something else than an age identity (AGE-SECRET-KEY-1…); age-keygen makes one")
		case found != nil:
			return nil, errors.New("holds more than one age identity; leave one in it")
		}
		found = key
	}
	if found == nil {
		return nil, errors.New("holds no age identity (AGE-SECRET-KEY-1…); age-keygen makes one")
	}
	return found, nil
}

// makeKey puts a new identity where there is none. Of several that do so at
// the same time, for one key, all return the one that was first.
func makeKey(path string) (*age.X25519Identity, error) {
	refuse := func(err error) (*age.X25519Identity, error) {
		return nil, fmt.Errorf("make seal key %s: %w", path, withRemedy(err))
	}
	key, err := age.GenerateX25519Identity()
	if err != nil {
		return refuse(err)
	}
	fresh, err := os.CreateTemp(filepath.Dir(path), ".seal-key-*") // 0600
	if err != nil {
		return refuse(err)
	}
	defer func() { _ = os.Remove(fresh.Name()) }()
	_, err = fmt.Fprintf(fresh, "# made by outrider; keep it apart from what it seals\n# public key: %s\n%s\n", key.Recipient(), key)
	if err == nil {
		err = fresh.Sync()
	}
	if err = errors.Join(err, fresh.Close()); err == nil {
		err = os.Link(fresh.Name(), path) // unlike a rename, it replaces nothing
	}
	if errors.Is(err, fs.ErrExist) {
		return readKey(path)
	}
	if err == nil {
		err = syncFolder(filepath.Dir(path))
	}
	if err != nil {
		return refuse(err)
	}
	return key, nil
}

func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// withRemedy drops the path from err, which the key's name has already.
func withRemedy(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		err = p.Err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w; put it there, or correct the path", err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w; let user %d read it and enter its folders", err, os.Geteuid())
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w; make it with age-keygen -o, or under systemd list its folder in ReadWritePaths=", err)
	}
	return err
}

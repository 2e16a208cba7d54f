package deliver

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// State is the folder that remembers, across crashes, what was on its way to
// each app and whom it was to be told. Nobody else may work on it meanwhile.
type State struct {
	dir  *os.File
	key  []byte
	step func() // called between any two steps, by tests that end the process there; nil: not
	disk bool   // what is in memory is synced like what is on disk, for tests

	made    atomic.Uint64 // entries of the folder made so far
	syncing sync.Mutex
	synced  uint64 // of them on disk
}

// syncNames makes an entry of the folder durable that was made before the
// call. Apps that start together share a sync: each its own would be a queue
// for one folder.
func (s *State) syncNames() error {
	mine := s.made.Add(1)
	s.syncing.Lock()
	defer s.syncing.Unlock()
	if s.synced >= mine {
		return nil
	}
	all := s.made.Load()
	if err := s.dir.Sync(); err != nil {
		return err
	}
	s.synced = all
	return nil
}

// OpenState opens the folder, which must be there and closed to writers other
// than root and ourselves, and makes the key that digests are keyed with
// unless there is one.
func OpenState(dir string) (*State, error) {
	w := newWalker()
	defer w.close()
	at, err := w.folders(filepath.Clean(dir))
	if err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	last := at[len(at)-1]
	if last.trust != ours {
		return nil, fmt.Errorf("state folder %s: others than root and outrider may change what stands in it: chown it to uid %d and chmod 0700 it", dir, os.Geteuid())
	}
	fd, err := openat(last.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, inFolder(err, "open state folder "+dir, dir)
	}
	s := &State{dir: os.NewFile(uintptr(fd), last.path)}
	if s.key, err = s.readKey(); errors.Is(err, unix.ENOENT) {
		s.key, err = s.makeKey()
	}
	if err != nil {
		return nil, errors.Join(inFolder(err, "key "+s.path(keyName), dir), s.dir.Close())
	}
	return s, nil
}

// Close closes the folder. The ledgers stay usable but for compaction, and
// are closed by themselves.
func (s *State) Close() error { return s.dir.Close() }

// keyName is the file that holds the key. No app's journal has this name.
const keyName = "journal.key"

func (s *State) path(name string) string { return filepath.Join(s.dir.Name(), name) }

func (s *State) readKey() ([]byte, error) {
	fd, err := openat(int(s.dir.Fd()), keyName, unix.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), s.path(keyName))
	defer file.Close()
	key := make([]byte, sha256.Size+1)
	n, err := io.ReadFull(file, key)
	if n != sha256.Size {
		return nil, errors.Join(errors.New("it is damaged: remove it"), err)
	}
	return key[:n], nil
}

func (s *State) makeKey() ([]byte, error) {
	key := make([]byte, sha256.Size)
	if _, err := rand.Read(key); err != nil {
		return nil, err
	}
	return key, s.replace(keyName, key)
}

// replace puts a file of ours into the folder, whole and durable.
func (s *State) replace(name string, content []byte) error {
	dir, fresh := int(s.dir.Fd()), name+".new"
	fd, err := openat(dir, fresh, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	file := os.NewFile(uintptr(fd), s.path(fresh))
	if _, err = file.Write(content); err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	return errors.Join(unix.Renameat(dir, fresh, dir, name), s.dir.Sync())
}

// digest keys a SHA-256, so that nobody without the key can try out what a
// short secret may have been.
func (s *State) digest(sum [sha256.Size]byte) string {
	mac := hmac.New(sha256.New, s.key)
	mac.Write(sum[:])
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// digestOf is digest for the regular file called name in a folder.
func (s *State) digestOf(dir *os.File, name string) (string, error) {
	fd, err := openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	file := os.NewFile(uintptr(fd), name)
	defer file.Close()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return "", err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return "", errors.New("is not a file")
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return "", err
	}
	return s.digest([sha256.Size]byte(sum.Sum(nil))), nil
}

// between is called between two steps of a transaction.
func (s *State) between() {
	if s.step != nil {
		s.step()
	}
}

package signer

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// maxFile bounds what is read of a file, in bytes. A full chain is a tenth
// of it.
const maxFile = 1 << 20

// Files says where the parts of an identity are kept, as PEM.
type Files struct {
	Certificate string // the leaf first, then perhaps its chain
	PrivateKey  string
	Chain       string // empty: none, or inside Certificate
}

// Load reads the files as one set and checks it, as Parse does. Links are
// followed. Errors name the file; one that is not there yet is fs.ErrNotExist.
// A set that was read in the middle of a renewal does not match and is an
// error: the caller reads again when the files change.
func (f Files) Load() (*Identity, error) {
	certificate, _, err := read("certificate", f.Certificate)
	if err != nil {
		return nil, err
	}
	key, mode, err := read("private key", f.PrivateKey)
	if err != nil {
		return nil, err
	}
	var chain source
	if f.Chain != "" {
		if chain, _, err = read("chain", f.Chain); err != nil {
			return nil, err
		}
	}
	id, err := parse(certificate, chain, key)
	if err != nil {
		return nil, err
	}
	if mode&0o007 != 0 {
		id.warnings = append(id.warnings, fmt.Sprintf("%s: mode %04o lets every user of this host at it; chmod o= %s", key.name, mode, f.PrivateKey))
	}
	return id, nil
}

// read returns a regular file's bytes and permissions. It never waits: a FIFO
// is opened without blocking, then refused.
func read(what, path string) (source, fs.FileMode, error) {
	s := source{name: what + " " + path}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return s, 0, s.wrap(withRemedy(err))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return s, 0, s.wrap(withRemedy(err))
	}
	if !info.Mode().IsRegular() {
		return s, 0, s.wrap(errors.New("is not a regular file; name the PEM file itself"))
	}
	s.data, err = io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return s, 0, s.wrap(withRemedy(err))
	}
	if len(s.data) > maxFile {
		return s, 0, s.wrap(fmt.Errorf("is larger than %d bytes; name the PEM file itself", maxFile))
	}
	return s, info.Mode().Perm(), nil
}

// withRemedy drops the path from err, which the source's name has already.
func withRemedy(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		err = p.Err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w; put it there, or correct the path", err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w; let user %d read it and enter its folders", err, os.Geteuid())
	}
	return err
}

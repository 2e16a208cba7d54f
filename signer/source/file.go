package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"outrider/secret"
	"outrider/signer"
	"outrider/signer/internal/device"
)

// maxFile bounds what is read of a file, in bytes. A full chain is a tenth
// of it.
const maxFile = 1 << 20

// file is a file as it was read.
type file struct {
	signer.Part
	path    string
	mode    fs.FileMode
	uid     uint32
	gid     uint32
	changed time.Time
}

// read returns a regular file; links are followed. It never waits: a FIFO is
// opened without blocking, then refused.
func read(what, path string) (file, error) {
	f := file{Part: signer.Part{Name: what + " " + path}, path: path}
	refuse := func(err error) (file, error) { return file{}, named(f.Name, withRemedy(err)) }
	open, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return refuse(err)
	}
	defer open.Close()
	info, err := open.Stat()
	if err != nil {
		return refuse(err)
	}
	if !info.Mode().IsRegular() {
		return refuse(errors.New("is not a regular file; name the file itself"))
	}
	f.mode, f.changed = info.Mode().Perm(), info.ModTime()
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		f.uid, f.gid = st.Uid, st.Gid
	}
	if f.Data, err = io.ReadAll(io.LimitReader(open, maxFile+1)); err != nil {
		return refuse(err)
	}
	if len(f.Data) > maxFile {
		return refuse(fmt.Errorf("is larger than %d bytes; name the right file", maxFile))
	}
	return f, nil
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

// warnings tells of a secret file that every user of this host can reach, or
// that somebody else than root and ourselves can exchange. A group may read it.
func (f file) warnings() []string {
	var all []string
	if f.mode&0o007 != 0 {
		all = append(all, fmt.Sprintf("%s: mode %04o lets every user of this host at it; chmod o= %s", f.Name, f.mode, f.path))
	}
	if f.mode&0o020 != 0 && f.gid != 0 && int(f.gid) != os.Getegid() {
		all = append(all, fmt.Sprintf("%s: mode %04o lets group %d change it; chmod g-w %s", f.Name, f.mode, f.gid, f.path))
	}
	if f.uid != 0 && int(f.uid) != os.Geteuid() {
		all = append(all, fmt.Sprintf("%s: belongs to uid %d, who can change it; chown root %s", f.Name, f.uid, f.path))
	}
	return all
}

// pin takes the file as one line with a PIN or password.
func (f file) pin() (device.PIN, error) {
	line := bytes.TrimSuffix(bytes.TrimSuffix(f.Data, []byte("\n")), []byte("\r"))
	switch {
	case len(line) == 0:
		return device.PIN{}, named(f.Name, errors.New("is empty; write the password into it"))
	case bytes.ContainsAny(line, "\r\n"):
		return device.PIN{}, named(f.Name, errors.New("holds more than one line; leave the password alone in it"))
	}
	return device.PIN{Value: secret.NewValue(line), Path: f.path, Changed: f.changed}, nil
}

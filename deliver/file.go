// Package deliver turns rendered bytes into the files an application runs on, and tells it.
package deliver

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"outrider/secret"
)

// File is one destination and the content it is to have.
//
// A file that is replaced is a new file: hard links to the old one keep the
// old content, and ACLs and extended attributes set on it are not carried
// over (a default ACL of the folder applies as to any new file).
type File struct {
	Destination string // absolute and clean
	Content     secret.Value
	UID, GID    *int         // nil: kept, or what a new file of ours gets in that folder
	Mode        *fs.FileMode // permission bits; nil: kept, or 0600 for a new file
	Symlink     Symlink
	// InPlace rewrites the file that is there, as a file needs that is mounted
	// by itself. It is not atomic: a reader may see part of the old and part
	// of the new content, and so may everybody after a crash until Recover.
	InPlace bool
	Layout  Layout // of all the app's files
}

// Symlink says what to do when the destination itself is a symbolic link.
// Links among the folders that lead to it are always judged as by Follow.
type Symlink uint8

// What to do with a link. The zero Symlink is Follow.
const (
	Follow  Symlink = iota // keep the link and replace what it leads to, when only root or we can have placed it
	Replace                // put a file in the link's place
	Refuse                 // refuse the destination
)

// Layout says how the files of an app take their places together.
type Layout uint8

// The layouts. The zero Layout is Files.
const (
	Files     Layout = iota // each by a rename of its own, one after the other
	Directory               // all at one instant: their one folder is a link, which is exchanged
)

// FileError is what is wrong with one destination.
type FileError struct {
	Destination string
	Err         error // the cause, and the remedy where there is one
}

// Error implements error.
func (e *FileError) Error() string { return "file " + e.Destination + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *FileError) Unwrap() error { return e.Err }

// check refuses what cannot be a destination wherever it leads.
func (f File) check() error {
	switch {
	case !filepath.IsAbs(f.Destination) || filepath.Clean(f.Destination) != f.Destination:
		return errors.New("not an absolute, clean path")
	case f.Symlink > Refuse:
		return fmt.Errorf("no such way to treat a symbolic link: %d", f.Symlink)
	case f.Layout > Directory:
		return fmt.Errorf("no such layout: %d", f.Layout)
	case f.InPlace && (f.Symlink == Replace || f.Layout == Directory):
		return errors.New("what is rewritten in place can be neither a replaced link nor in a folder that is exchanged")
	}
	return nil
}

// attributes are a file's owner, group and permission bits. A negative id
// leaves what the file was created with.
type attributes struct {
	uid, gid int
	mode     uint32
}

// wanted returns the attributes f is to have: its own where it names them,
// else those of the old file, which is nil when there is none.
func (f File) wanted(old *unix.Statx_t) attributes {
	a := attributes{uid: -1, gid: -1, mode: 0o600}
	if old != nil {
		a = attributes{uid: int(old.Uid), gid: int(old.Gid), mode: uint32(old.Mode) & 0o777}
	}
	if f.UID != nil {
		a.uid = *f.UID
	}
	if f.GID != nil {
		a.gid = *f.GID
	}
	if f.Mode != nil {
		a.mode = uint32(f.Mode.Perm())
	}
	return a
}

// apply gives an open file its attributes. The mode is first narrowed to
// what the old and the new one have in common, then the owner changes, then
// the mode is as wanted: at no moment may anyone read the file whom neither
// its old attributes nor the new ones let.
func (a attributes) apply(f *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	uid, gid, mode := a.uid, a.gid, st.Mode&0o7777
	if uid < 0 {
		uid = int(st.Uid)
	}
	if gid < 0 {
		gid = int(st.Gid)
	}
	if uid != int(st.Uid) || gid != int(st.Gid) {
		if both := mode & a.mode; both != mode {
			if err := unix.Fchmod(int(f.Fd()), both); err != nil {
				return notOurs(err, "narrow its mode")
			}
			mode = both
		}
		if err := unix.Fchown(int(f.Fd()), uid, gid); err != nil {
			return notOurs(err, fmt.Sprintf("give it to uid %d, gid %d", uid, gid))
		}
	}
	if mode == a.mode {
		return nil
	}
	return notOurs(unix.Fchmod(int(f.Fd()), a.mode), fmt.Sprintf("set its mode to %04o", a.mode))
}

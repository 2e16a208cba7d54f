package deliver

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// previousName is the folder, beside those of the generations, in which
// previous files are kept until the new ones are confirmed.
const previousName = "previous"

// room is a folder in which destinations stand, and in it the app's own
// folder for what is on its way. That one stays, empty, for the next time:
// to make it anew for each generation would take two more syncs.
type room struct {
	folder   *os.File
	place    folder          // says who may change it; its descriptor is closed by then
	names    map[string]bool // of the destinations
	own      string          // the app's folder, .outrider-APP
	outer    *os.File        // the same, open; nil until it is known to be there
	spare    string          // the empty folder of an earlier generation in it
	stage    *os.File        // .outrider-APP/GENERATION; nil until something is staged
	previous *os.File        // .outrider-APP/previous; nil until it is needed
	found    []*os.File      // folders in which recovery found something staged
	moved    bool            // some destination has become another file
	label    string          // SELinux: what new files get; empty: nothing
	fresh    []*os.File      // folders in which entries were made
}

// inode identifies a folder under all of its names.
type inode struct {
	major, minor uint32
	ino          uint64
}

// openRoom opens the folder at f as a room.
func openRoom(f *folder, own string) (*room, error) {
	fd, err := openat(f.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, inFolder(err, "open folder "+f.path, f.path)
	}
	return &room{folder: os.NewFile(uintptr(fd), f.path), place: *f, own: own, names: make(map[string]bool)}, nil
}

func (r *room) close() {
	for _, f := range append(r.found, r.folder, r.outer, r.stage, r.previous) {
		if f != nil {
			_ = f.Close()
		}
	}
}

// dirty notes that a folder has a new entry.
func (r *room) dirty(f *os.File) {
	if !slices.Contains(r.fresh, f) {
		r.fresh = append(r.fresh, f)
	}
}

// ownPath is the path of the app's folder.
func (r *room) ownPath() string { return filepath.Join(r.place.path, r.own) }

// unsynced returns the folders with entries that a power loss could take:
// those that were made now and, if the app's folder may be of a process that
// was killed before it synced it, its own.
func (r *room) unsynced(durable map[string]bool) []*os.File {
	if len(r.fresh) > 0 && r.outer != nil && !durable[r.ownPath()] {
		r.dirty(r.folder)
		r.dirty(r.outer)
	}
	return r.fresh
}

// tidy removes what a crash or a discarded generation has left in the app's
// folder, but for the previous files as long as they may be needed. What
// cannot be removed is reported by the staging that it is in the way of.
func (r *room) tidy(keepPrevious bool) {
	outer, err := openOurs(r.folder, r.own)
	if err != nil {
		return
	}
	r.outer = outer
	names, _ := outer.Readdirnames(-1)
	for _, name := range names {
		switch {
		case name == previousName && keepPrevious:
		case name == previousName:
			_ = emptyFolder(outer, name)
		case r.spare == "" && strings.Trim(name, "0123456789") == "" && emptyFolder(outer, name) == nil:
			r.spare = name
		default:
			_ = remove(outer, name)
		}
	}
}

// openStage makes the folder for a generation's staged files, unless that is
// done or an earlier generation has left its own, empty. That one keeps its
// name: a new name costs a tenth of a commit, and recovery looks into whatever
// folder is there.
func (r *room) openStage(generation string) error {
	if r.stage != nil {
		return nil
	}
	if err := r.openOuter(); err != nil {
		return err
	}
	r.label = labelOf(r.folder)
	var err error
	if r.stage, err = r.subfolder(cmp.Or(r.spare, generation)); err == nil {
		r.dirty(r.stage)
	}
	return err
}

// openPrevious makes the folder for previous files, unless that is done.
func (r *room) openPrevious() error {
	if r.previous != nil {
		return nil
	}
	if err := r.openOuter(); err != nil {
		return err
	}
	var err error
	r.previous, err = r.subfolder(previousName)
	return err
}

// openOuter makes the app's folder, which only we can enter, unless it is
// there.
func (r *room) openOuter() error {
	if r.outer != nil {
		return nil
	}
	path := filepath.Join(r.folder.Name(), r.own)
	err := unix.Mkdirat(int(r.folder.Fd()), r.own, 0o700)
	if errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("make folder %s: something is there that is not ours or cannot be removed: remove it", path)
	}
	if err == nil {
		r.dirty(r.folder)
		r.outer, err = openOurs(r.folder, r.own)
	}
	return inFolder(err, "make folder "+path, r.folder.Name())
}

// subfolder opens a folder in the app's folder, and makes it when it is not
// there.
func (r *room) subfolder(name string) (*os.File, error) {
	f, err := openOurs(r.outer, name)
	if errors.Is(err, unix.ENOENT) {
		if err = unix.Mkdirat(int(r.outer.Fd()), name, 0o700); err == nil {
			r.dirty(r.outer)
			f, err = openOurs(r.outer, name)
		}
	}
	return f, inFolder(err, "make folder "+filepath.Join(r.outer.Name(), name), r.folder.Name())
}

// openOurs opens the folder called name in another, if nobody but us may
// change it.
func openOurs(dir *os.File, name string) (*os.File, error) {
	f, err := openFolder(dir, name)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	err = unix.Fstat(int(f.Fd()), &st)
	if err == nil && (int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0) {
		err = fmt.Errorf("belongs to uid %d with mode %04o, not to us alone", st.Uid, st.Mode&0o7777)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// openFolder opens the folder called name in another, following nothing.
func openFolder(dir *os.File, name string) (*os.File, error) {
	fd, err := openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), filepath.Join(dir.Name(), name)), nil
}

// remove removes the entry called name with all that is in it, following
// nothing.
func remove(dir *os.File, name string) error {
	err := unix.Unlinkat(int(dir.Fd()), name, 0)
	if !errors.Is(err, unix.EISDIR) {
		return err
	}
	return errors.Join(emptyFolder(dir, name), unix.Unlinkat(int(dir.Fd()), name, unix.AT_REMOVEDIR))
}

// emptyFolder removes all that is in the folder called name, following
// nothing.
func emptyFolder(dir *os.File, name string) error {
	folder, err := openFolder(dir, name)
	if err != nil {
		return err
	}
	names, err := folder.Readdirnames(-1)
	for _, name := range names {
		err = errors.Join(err, remove(folder, name))
	}
	return errors.Join(err, folder.Close())
}

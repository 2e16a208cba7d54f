package deliver

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// trust says who but root and ourselves has a hand in a folder, or in any
// folder above it.
type trust uint8

const (
	ours    trust = iota // nobody
	sticky               // others may add entries, but not touch ours: /tmp
	foreign              // others may change any entry: the application's own folder
)

// folder is one folder on the way to a file, open for lookups only.
type folder struct {
	fd    int
	path  string // free of links
	uid   uint32
	trust trust
}

// stat looks at an entry without following it.
func (f *folder) stat(name string) (*unix.Statx_t, error) {
	var st unix.Statx_t
	err := unix.Statx(f.fd, name, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS, &st)
	return &st, err
}

// owns refuses an entry that somebody else may have planted: where others
// may add entries, it must belong to root, to us or to the folder's owner.
func (f *folder) owns(w *walker, name string, uid uint32) error {
	if f.trust == ours || w.own(uid) || uid == f.uid {
		return nil
	}
	return fmt.Errorf("%s belongs to uid %d, and others than root and outrider may write in %s: remove it, or chown it to root",
		filepath.Join(f.path, name), uid, f.path)
}

// readlink returns where the link called name leads. It refuses one that
// somebody other than root or ourselves has placed or can exchange.
func (f *folder) readlink(w *walker, name string, st *unix.Statx_t) (string, error) {
	path := filepath.Join(f.path, name)
	switch {
	case f.trust == foreign:
		return "", fmt.Errorf("%s is a symbolic link, not followed because others than root and outrider may change it: name what it leads to instead", path)
	case !w.own(st.Uid):
		return "", fmt.Errorf("%s is a symbolic link, not followed because uid %d owns it: chown -h root %s", path, st.Uid, path)
	}
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(f.fd, name, buf)
	if err != nil {
		return "", fmt.Errorf("read link %s: %w", path, err)
	}
	return string(buf[:n]), nil
}

// walker resolves paths one entry at a time, from the root down and by
// descriptor, so that no rename or exchanged link on the way can lead it
// elsewhere. openat2 would save calls but cannot ask who owns a link. Its
// folders stay open until close.
type walker struct {
	self  uint32
	links int // followed on the way to the present path
	open  []*folder
	seen  map[string][]*folder // by path asked for: the folders from the root to it
}

func newWalker() *walker {
	return &walker{self: uint32(unix.Geteuid()), seen: make(map[string][]*folder)}
}

func (w *walker) close() {
	for _, f := range w.open {
		_ = unix.Close(f.fd)
	}
}

// own reports whether uid is root or ourselves.
func (w *walker) own(uid uint32) bool { return uid == 0 || uid == w.self }

// locate finds the folder and the name under which path's file really
// stands, and what stands there: nil when nothing does.
func (w *walker) locate(path string, policy Symlink) (*folder, string, *unix.Statx_t, error) {
	w.links = 0
	name := filepath.Base(path)
	at, err := w.folders(filepath.Dir(path))
	for err == nil {
		f := at[len(at)-1]
		st, staterr := f.stat(name)
		switch {
		case errors.Is(staterr, unix.ENOENT):
			return f, name, nil, nil
		case staterr != nil:
			return nil, "", nil, inFolder(staterr, "look at "+filepath.Join(f.path, name), f.path)
		case st.Mode&unix.S_IFMT != unix.S_IFLNK || policy == Replace:
			return f, name, st, nil
		case policy == Refuse:
			return nil, "", nil, errors.New("is a symbolic link: set symlink: follow or symlink: replace")
		}
		var target string
		if target, err = f.readlink(w, name, st); err != nil {
			break
		}
		dir, base := filepath.Split(target)
		if name = base; name == "" {
			name = "." // the target ended in a slash
		}
		at, err = w.follow(at, dir)
	}
	return nil, "", nil, err
}

// folders returns the folders from the root to path.
func (w *walker) folders(path string) ([]*folder, error) {
	if at, ok := w.seen[path]; ok {
		return at, nil
	}
	var at []*folder
	var err error
	if path == "/" {
		at, err = w.enter(nil, "/")
	} else if at, err = w.folders(filepath.Dir(path)); err == nil {
		at, err = w.enter(at, filepath.Base(path))
	}
	switch {
	case err == nil:
		w.seen[path] = at
	case errors.Is(err, unix.ENOENT) && w.links == 0: // the whole of it, not the first part that is missing
		err = inFolder(unix.ENOENT, "folder "+path, path)
	}
	return at, err
}

// enter goes from the last folder of at into the one called name.
func (w *walker) enter(at []*folder, name string) ([]*folder, error) {
	above := &folder{fd: unix.AT_FDCWD, trust: ours} // the root has nothing above it
	if len(at) > 0 {
		above = at[len(at)-1]
	}
	path := filepath.Join(above.path, name)
	fd, err := openat(above.fd, name, unix.O_PATH|unix.O_NOFOLLOW, 0)
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil, inFolder(err, "folder "+path, path)
	case err != nil:
		return nil, inFolder(err, "folder "+path, above.path)
	}
	f := &folder{fd: fd, path: path}
	w.open = append(w.open, f)
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS, &st); err != nil {
		return nil, fmt.Errorf("folder %s: %w", path, err)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		target, err := above.readlink(w, name, &st)
		if err != nil {
			return nil, err
		}
		return w.follow(at, target)
	case unix.S_IFDIR:
		if err := above.owns(w, name, st.Uid); err != nil {
			return nil, err
		}
		f.uid = st.Uid
		f.trust, err = w.judge(above, path, &st)
		return append(slices.Clip(at), f), err
	}
	return nil, fmt.Errorf("folder %s: %w", path, unix.ENOTDIR)
}

// follow goes from the last folder of at to where a link in it leads.
func (w *walker) follow(at []*folder, target string) ([]*folder, error) {
	if w.links++; w.links > 40 { // the kernel's own limit
		return nil, fmt.Errorf("symbolic link to %s: %w", target, unix.ELOOP)
	}
	if strings.HasPrefix(target, "/") {
		at = at[:1]
	}
	var err error
	for name := range strings.SplitSeq(target, "/") {
		switch name {
		case "", ".":
		case "..":
			at = at[:max(1, len(at)-1)]
		default:
			if at, err = w.enter(at, name); err != nil {
				return nil, err
			}
		}
	}
	return at, nil
}

// judge decides how far the folder at path, below above, is to be trusted.
// One that everybody can write, without the sticky bit, is nobody's: it is
// refused.
func (w *walker) judge(above *folder, path string, st *unix.Statx_t) (trust, error) {
	const others, groupToo = 0o002, 0o022
	isSticky := st.Mode&unix.S_ISVTX != 0
	switch {
	case st.Mode&others != 0 && !isSticky:
		return foreign, fmt.Errorf("folder %s: everybody may replace what stands in it: chmod o-w %s", path, path)
	case above.trust == foreign || !w.own(st.Uid):
		return foreign, nil
	case st.Mode&groupToo == 0:
		return ours, nil
	case isSticky:
		return sticky, nil
	}
	return foreign, nil
}

// openat opens with O_CLOEXEC, and again when a signal interrupts it, as
// network and FUSE file systems let one do.
func openat(dir int, name string, flags int, mode uint32) (int, error) {
	for {
		fd, err := unix.Openat(dir, name, flags|unix.O_CLOEXEC, mode)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

package deliver

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// flip is a folder whose files are exchanged at one instant. It is a symbolic
// link to .outrider_NAME/GENERATION beside it; a new generation's folder is
// filled there, and then one rename exchanges the link. A real folder that
// stands in the link's place is exchanged with the first one.
type flip struct {
	path     string // the link, as the destinations name it
	name     string
	folder   *os.File // in which it stands
	room     *room    // what it leads to now; its folder is nil when there is nothing
	current  string   // the name of that in the store; empty: it is not there
	real     bool     // a real folder stands in the link's place
	store    *os.File // .outrider_NAME; nil until it is known to be there
	fill     *os.File // the new generation's folder; nil until it is staged
	next     string   // the name of that
	previous string   // the name that the present one has, or gets, in the store; empty: none
}

const (
	storePrefix = ".outrider_"
	nextLink    = "next" // in the store: the link that is to be, and for a moment what it has replaced
)

// locateInFlip is locate for layout: directory.
func (s *Staged) locateInFlip(w *walker, f File) (*change, error) {
	path, name := filepath.Split(f.Destination)
	path = filepath.Clean(path)
	if s.flip == nil {
		var err error
		if s.flip, err = openFlip(w, path, ".outrider-"+s.app); err != nil {
			return nil, err
		}
	}
	if s.flip.path != path {
		return nil, fmt.Errorf("layout: directory takes one folder for all files of an app, and others are in %s", s.flip.path)
	}
	c := &change{file: f, room: s.flip.room, name: name}
	if s.flip.room.folder == nil {
		return c, nil
	}
	st, err := s.flip.room.place.stat(name)
	switch {
	case errors.Is(err, unix.ENOENT):
		return c, nil
	case err != nil:
		return nil, inFolder(err, "look at it", path)
	}
	c.old = st
	return c, nil
}

// openFlip looks at what stands where the link is, or is to be.
func openFlip(w *walker, path, own string) (*flip, error) {
	at, err := w.folders(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	above := at[len(at)-1]
	if above.trust == foreign {
		return nil, fmt.Errorf("layout: directory puts a link into %s, where others than root and outrider could exchange it: chown that to root, or leave layout out", above.path)
	}
	p := &flip{path: path, name: filepath.Base(path), room: &room{names: make(map[string]bool), own: own, place: folder{path: path}}}
	st, err := above.stat(p.name)
	switch {
	case errors.Is(err, unix.ENOENT):
	case err != nil:
		return nil, inFolder(err, "look at "+path, above.path)
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		p.real = true
	case st.Mode&unix.S_IFMT == unix.S_IFLNK:
		target, err := above.readlink(w, p.name, st)
		if err != nil {
			return nil, err
		}
		var isOurs bool
		p.current, isOurs = strings.CutPrefix(target, storePrefix+p.name+"/")
		if !isOurs || strings.Trim(p.current, "0123456789") != "" {
			return nil, fmt.Errorf("%s is a symbolic link that outrider did not make: remove it, or name what it leads to", path)
		}
	default:
		return nil, fmt.Errorf("folder %s: %w", path, unix.ENOTDIR)
	}
	if p.real || p.current != "" {
		if err := p.openCurrent(w); err != nil {
			return nil, err
		}
	}
	fd, err := openat(above.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		p.close()
		return nil, inFolder(err, "open folder "+above.path, above.path)
	}
	p.folder = os.NewFile(uintptr(fd), above.path)
	return p, nil
}

// openCurrent opens what stands there now, if it can be reached.
func (p *flip) openCurrent(w *walker) error {
	at, err := w.folders(p.path)
	if errors.Is(err, unix.ENOENT) {
		p.current = "" // somebody has removed what the link leads to
		return nil
	}
	if err != nil {
		return err
	}
	r, err := openRoom(at[len(at)-1], p.room.own)
	if err == nil {
		p.room = r
	}
	return err
}

func (p *flip) close() {
	for _, f := range []*os.File{p.folder, p.store, p.fill, p.room.folder} {
		if f != nil {
			_ = f.Close()
		}
	}
}

// known reports whether an entry of a generation's folder is of this app: it
// is a file of the present or an earlier configuration, or where such files
// were staged.
func (p *flip) known(now standing, name string) bool {
	_, was := now.Digests[filepath.Join(p.path, name)]
	return was || p.room.names[name] || name == p.room.own
}

// foreign returns an entry of the folder that is not of this app; empty:
// there is none.
func (p *flip) foreign(now standing, folder *os.File) (string, error) {
	if _, err := folder.Seek(0, io.SeekStart); err != nil { // it may have been read before
		return "", err
	}
	names, err := folder.Readdirnames(-1)
	for _, name := range names {
		if !p.known(now, name) {
			return name, err
		}
	}
	return "", err
}

// whole refuses a folder that holds something else than the app's files.
func (p *flip) whole(now standing) error {
	if p.room.folder == nil {
		return nil
	}
	other, err := p.foreign(now, p.room.folder)
	if err == nil && other != "" {
		err = fmt.Errorf("layout: directory exchanges %s as a whole, and %s in it is not of this app: move that elsewhere", p.path, other)
	}
	return err
}

// tidy removes the folders of generations that are over. The last one before
// the present stays until it is called again, for those who are reading it,
// and for as long as there may be a roll-back to it.
func (p *flip) tidy(now standing) {
	store, err := openOurs(p.folder, storePrefix+p.name)
	if err != nil {
		return // where it is in the way, open says so
	}
	p.store = store
	names, _ := store.Readdirnames(-1)
	for _, name := range names {
		if name == p.current || now.Awaits && now.Undo.Folder != nil && name == now.Undo.Folder.Previous {
			continue
		}
		if folder, err := openFolder(store, name); err == nil {
			other, err := p.foreign(now, folder)
			_ = folder.Close()
			if other != "" || err != nil {
				continue // somebody keeps something in it
			}
		}
		_ = remove(store, name)
	}
}

// open makes the folder of a new generation, and the link that is to lead to
// it. What does not change is in it right away: it is the same file.
func (p *flip) open(s *Staged, now standing) error {
	if err := p.whole(now); err != nil {
		return err
	}
	if err := p.openStore(); err != nil {
		return err
	}
	p.next = p.free(s.generation)
	p.previous = p.current
	if p.real {
		p.previous = p.free(s.generation + 1)
	}
	if err := unix.Mkdirat(int(p.store.Fd()), p.next, 0o700); err != nil {
		return inFolder(err, "make folder "+filepath.Join(p.store.Name(), p.next), p.store.Name())
	}
	var err error
	if p.fill, err = openOurs(p.store, p.next); err == nil {
		err = p.dress()
	}
	if err == nil {
		err = p.link()
	}
	if err != nil {
		return inFolder(err, "make folder "+filepath.Join(p.store.Name(), p.next), p.store.Name())
	}
	p.room.dirty(p.fill)
	p.room.dirty(p.store)
	if !s.durable[p.path] { // the store may be of a process that was killed before it synced it
		p.room.dirty(p.folder)
	}
	s.between()
	for _, c := range s.same {
		// In a folder that others may change, nobody knows who else has it open.
		if p.room.place.trust != ours || unix.Linkat(int(p.room.folder.Fd()), c.name, int(p.fill.Fd()), c.name, 0) != nil {
			s.copies = append(s.copies, c)
		}
		c.from = p.fill
	}
	return nil
}

// openStore makes the folder that holds the generations' folders, unless it
// is there. Everybody may pass through it; what is in them has modes of its
// own.
func (p *flip) openStore() error {
	if p.store != nil {
		return nil
	}
	name := storePrefix + p.name
	path := filepath.Join(p.folder.Name(), name)
	err := unix.Mkdirat(int(p.folder.Fd()), name, 0o700)
	if errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("make folder %s: something is there that is not ours: remove it", path)
	}
	if err == nil {
		p.store, err = openOurs(p.folder, name)
	}
	if err == nil {
		err = unix.Fchmod(int(p.store.Fd()), 0o711)
	}
	return inFolder(err, "make folder "+path, p.folder.Name())
}

// free returns the first number from n on that names nothing in the store.
// It is that of the generation, unless the journal was lost.
func (p *flip) free(n uint64) string {
	for {
		name := strconv.FormatUint(n, 10)
		var st unix.Stat_t
		if unix.Fstatat(int(p.store.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
			return name
		}
		n++
	}
}

// dress gives the new folder the group, mode and label of the present one.
// It stays ours, and nobody else may write in it.
func (p *flip) dress() error {
	like, mode := p.folder, uint32(0o755)
	if p.room.folder != nil {
		like = p.room.folder
		var st unix.Stat_t
		if err := unix.Fstat(int(like.Fd()), &st); err != nil {
			return err
		}
		mode = st.Mode & 0o755
		if int(st.Gid) != os.Getegid() {
			if err := unix.Fchown(int(p.fill.Fd()), -1, int(st.Gid)); err != nil {
				return notOurs(err, fmt.Sprintf("give it to gid %d", st.Gid))
			}
		}
	}
	p.room.label = labelOf(like)
	return errors.Join(unix.Fchmod(int(p.fill.Fd()), mode), relabel(p.fill, p.room.label))
}

// link makes the link that is to take the folder's place.
func (p *flip) link() error {
	return unix.Symlinkat(filepath.Join(storePrefix+p.name, p.next), int(p.store.Fd()), nextLink)
}

// relink is link where another one may have been left.
func (p *flip) relink() error {
	err := unix.Unlinkat(int(p.store.Fd()), nextLink, 0)
	if err == nil || errors.Is(err, unix.ENOENT) {
		err = p.link()
	}
	return inFolder(err, "make link "+filepath.Join(p.store.Name(), nextLink), p.store.Name())
}

// exchange puts the new link into its place.
func (p *flip) exchange(s *Staged) (moved bool, err error) {
	store, folder := int(p.store.Fd()), int(p.folder.Fd())
	if !p.real {
		err := unix.Renameat(store, nextLink, folder, p.name)
		return err == nil, inFolder(err, "exchange the folder's link", p.folder.Name())
	}
	err = unix.Renameat2(store, nextLink, folder, p.name, unix.RENAME_EXCHANGE)
	switch {
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS):
		return false, fmt.Errorf("put a link in its place: %w: this file system cannot exchange a folder: move %s away", err, p.path)
	case err != nil:
		return false, inFolder(err, "put a link in its place", p.folder.Name())
	}
	s.between()
	return true, inFolder(p.settle(), "name the folder that was there", p.folder.Name())
}

// settle gives a real folder, just exchanged for the link, its own name in the
// store. A crash may have come in between.
func (p *flip) settle() error {
	var st unix.Stat_t
	store := int(p.store.Fd())
	if unix.Fstatat(store, nextLink, &st, unix.AT_SYMLINK_NOFOLLOW) != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil //nolint:nilerr // nothing of that name is there to be named
	}
	return unix.Renameat(store, nextLink, store, p.previous)
}

// discard removes what open has made.
func (p *flip) discard() error {
	if p.fill == nil {
		return nil
	}
	_ = unix.Unlinkat(int(p.store.Fd()), nextLink, 0)
	return inFolder(remove(p.store, p.next), "remove folder "+p.fill.Name(), p.store.Name())
}

package watch

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// identity is what tells one state of a file from another without reading
// it. A path that leads nowhere has the reason alone.
type identity struct {
	dev, ino     uint64
	size         int64
	mtime, ctime syscall.Timespec
	errno        syscall.Errno
}

// follow walks an absolute path as the kernel does, link by link, and calls
// visit with every entry on the way, named by the folder that truly holds it.
// It ends at the first entry that is not there.
func follow(path string, visit func(entry string)) identity {
	const maxLinks = 40 // the kernel's own limit
	at, rest := "/", strings.Split(path, "/")
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		if name == "" || name == "." {
			continue
		}
		if name == ".." {
			at = filepath.Dir(at)
			continue
		}
		entry := filepath.Join(at, name)
		visit(entry)
		target, err := os.Readlink(entry)
		if errors.Is(err, syscall.EINVAL) { // no link
			at = entry
			continue
		}
		if links++; links > maxLinks {
			err = syscall.ELOOP
		}
		if err != nil {
			return identity{errno: reason(err)}
		}
		if filepath.IsAbs(target) {
			at = "/"
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return identify(at)
}

func identify(path string) identity {
	var st syscall.Stat_t
	if err := syscall.Lstat(path, &st); err != nil {
		return identity{errno: reason(err)}
	}
	return identity{dev: st.Dev, ino: st.Ino, size: st.Size, mtime: st.Mtim, ctime: st.Ctim}
}

func reason(err error) syscall.Errno {
	errno, _ := errors.AsType[syscall.Errno](err)
	return errno
}

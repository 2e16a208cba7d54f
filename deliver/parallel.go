package deliver

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// parallel does all that is to be done, several things at a time, and returns
// when all are done. It is for waiting for the disk, which flushes for many in
// hardly more time than for one.
func parallel(todo []func() error) error {
	const width = 16
	errs := make([]error, len(todo))
	var next atomic.Int64
	work := func() {
		for i := int(next.Add(1)) - 1; i < len(todo); i = int(next.Add(1)) - 1 {
			errs[i] = todo[i]()
		}
	}
	var group sync.WaitGroup
	for range min(len(todo), width) - 1 {
		group.Go(work)
	}
	work()
	group.Wait()
	return errors.Join(errs...)
}

// syncing makes the entries of a folder durable, when it is called.
func syncing(f *os.File) func() error {
	return func() error { return inFolder(f.Sync(), "sync folder "+f.Name(), f.Name()) }
}

// isInMemory reports whether a folder is on a file system of which no power
// loss leaves anything.
func isInMemory(f *os.File) bool {
	var st unix.Statfs_t
	return unix.Fstatfs(int(f.Fd()), &st) == nil && (st.Type == unix.TMPFS_MAGIC || st.Type == unix.RAMFS_MAGIC)
}

package deliver

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// parallel calls f for each number below n, several at a time, and returns
// when all are done. Most of the time is waiting for the disk, and a disk
// flushes for many in hardly more time than for one. In memory, where nothing
// waits, one comes after the other.
func parallel(n int, inMemory bool, f func(int)) {
	const width = 16
	if n == 1 || inMemory {
		for i := range n {
			f(i)
		}
		return
	}
	var next atomic.Int64
	var group sync.WaitGroup
	for range min(n, width) {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	group.Wait()
}

// inMemory reports whether a folder is on a file system that has no disk.
func inMemory(folder *os.File) bool {
	var st unix.Statfs_t
	return unix.Fstatfs(int(folder.Fd()), &st) == nil && (st.Type == unix.TMPFS_MAGIC || st.Type == unix.RAMFS_MAGIC)
}

// syncFolders makes the entries of folders durable.
func syncFolders(folders []*os.File) error {
	errs := make([]error, len(folders))
	parallel(len(folders), len(folders) == 0 || inMemory(folders[0]), func(i int) {
		errs[i] = inFolder(folders[i].Sync(), "sync folder "+folders[i].Name(), folders[i].Name())
	})
	return errors.Join(errs...)
}

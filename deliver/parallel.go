package deliver

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
)

// parallel calls f for each number below n, several at a time, and returns
// when all are done. Most of the time is waiting for the disk, and a disk
// flushes for many in hardly more time than for one.
func parallel(n int, f func(int)) {
	const width = 16
	if n == 1 {
		f(0)
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

// syncFolders makes the entries of folders durable.
func syncFolders(folders []*os.File) error {
	errs := make([]error, len(folders))
	parallel(len(folders), func(i int) {
		errs[i] = inFolder(folders[i].Sync(), "sync folder "+folders[i].Name(), folders[i].Name())
	})
	return errors.Join(errs...)
}

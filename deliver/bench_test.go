package deliver

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"outrider/secret"
)

// BenchmarkCommit delivers files of 1 KiB that have all changed, beside the
// bare floor: the same writes, fsyncs and renames without a thought.
func BenchmarkCommit(b *testing.B) {
	for _, place := range []struct{ name, parent string }{{"disk", ""}, {"memory", "/dev/shm"}} {
		for _, count := range []int{1, 3, 20, 1000} {
			for _, way := range []struct {
				name string
				put  func(files []File) error
			}{{"deliver", prepareAndCommit}, {"floor", bareFloor}, {"unchanged", nil}} {
				b.Run(fmt.Sprintf("%s/%d/%s", place.name, count, way.name), func(b *testing.B) {
					dir, err := os.MkdirTemp(place.parent, "bench")
					if err != nil {
						b.Skip(err)
					}
					b.Cleanup(func() { _ = os.RemoveAll(dir) })
					n := 0
					if err := prepareAndCommit(kilobytes(dir, count, n)); err != nil {
						b.Fatal(err)
					}
					for b.Loop() {
						put := way.put
						if put == nil {
							put = prepareAndCommit
						} else {
							n++
						}
						if err := put(kilobytes(dir, count, n)); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		}
	}
}

func kilobytes(dir string, count, n int) []File {
	content := secret.NewValue(bytes.Repeat(fmt.Appendf(nil, "%015d\n", n), 64))
	files := make([]File, count)
	for i := range files {
		files[i] = File{Destination: filepath.Join(dir, fmt.Sprint(i)), Content: content}
	}
	return files
}

func prepareAndCommit(files []File) error {
	return nil
}

func bareFloor(files []File) error {
	for _, f := range files {
		file, err := os.OpenFile(f.Destination+".new", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		_, err = file.Write(f.Content.Reveal())
		if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
			return err
		}
	}
	for _, f := range files {
		if err := unix.Rename(f.Destination+".new", f.Destination); err != nil {
			return err
		}
	}
	folder, err := os.Open(filepath.Dir(files[0].Destination))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

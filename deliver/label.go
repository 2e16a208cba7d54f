package deliver

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// labelName is the extended attribute that holds a file's SELinux label
// (selinux(8)). Without SELinux a folder has none, and nothing more is asked.
const labelName = "security.selinux"

// labelOf returns the label of an open file or folder; empty: it has none.
func labelOf(f *os.File) string {
	buf := make([]byte, 512) // a label is some thirty bytes, a long list of categories included
	n, err := unix.Fgetxattr(int(f.Fd()), labelName, buf)
	if err != nil {
		return ""
	}
	return string(buf[:n])
}

// labelFor returns the label that the new file called name is to have: that
// of the file it replaces, else the folder's.
func (r *room) labelFor(name string) string {
	if r.label == "" {
		return ""
	}
	buf := make([]byte, 512)
	path := fmt.Sprintf("/proc/self/fd/%d/%s", r.folder.Fd(), name)
	if n, err := unix.Lgetxattr(path, labelName, buf); err == nil {
		return string(buf[:n])
	}
	return r.label
}

// relabel gives an open file or folder a label; an empty one is none.
func relabel(f *os.File, label string) error {
	if label == "" || labelOf(f) == label {
		return nil
	}
	err := unix.Fsetxattr(int(f.Fd()), labelName, []byte(label), 0)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return fmt.Errorf("set its SELinux label: %w: let outrider's domain relabel to it", err)
	}
	if err != nil {
		return fmt.Errorf("set its SELinux label: %w", err)
	}
	return nil
}

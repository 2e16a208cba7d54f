package config

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// hand says who but root and ourselves has a hand in a file that was read,
// and the remedy: it says what is run, and where secrets go. Empty: nobody. Our
// own group may, as where each user has one.
func hand(path string, st *syscall.Stat_t) string {
	mode := st.Mode & 0o7777
	switch {
	case st.Mode&0o002 != 0:
		return fmt.Sprintf("everybody may change it (mode %04o): chmod o-w %s", mode, path)
	case st.Mode&0o020 != 0 && st.Gid != 0 && int(st.Gid) != os.Getegid():
		return fmt.Sprintf("group %d may change it (mode %04o): chmod g-w %s", st.Gid, mode, path)
	case st.Uid != 0 && int(st.Uid) != os.Geteuid():
		return fmt.Sprintf("user %d may change it, who owns it: chown root %s", st.Uid, path)
	}
	return ""
}

// distrust notes who has a hand in a file of the configuration, or in a
// template. One that its owner alone may change, the application's say, can
// put no more into the application's file than the application reads anyway.
func (r *reader) distrust(path string, st *syscall.Stat_t, isTemplate bool) {
	who := hand(path, st)
	switch {
	case who == "":
	case isTemplate && st.Mode&0o022 == 0:
		r.config.Weak = append(r.config.Weak, "template "+path+": "+who)
	default:
		r.config.Untrusted = append(r.config.Untrusted, Mistake{File: path, Text: who})
	}
}

// distrustNamed notes who has a hand in what the configuration names and is
// acted by: the programs that are run, and whom else a peer is believed. What is
// not there yet is nobody's. A program that is run as a user may be that user's.
func (r *reader) distrustNamed() {
	r.distrustFile("authorities", r.config.AWS.CABundle, "")
	for _, name := range slices.Sorted(maps.Keys(r.config.Apps)) {
		a := r.config.Apps[name]
		r.distrustProgram(a.Check, "")
		for _, v := range a.Verify {
			r.distrustProgram(v.Run, v.User)
			if v.MySQL != nil {
				r.distrustFile("authorities", v.MySQL.CA, "")
			}
		}
		for _, n := range a.Notify {
			r.distrustProgram(n.Run, n.User)
		}
		if a.Sealed != nil {
			r.distrustFolders(a.Sealed.Path)
		}
		if a.Confirm != nil {
			r.distrustProgram(a.Confirm.Run, a.Confirm.User)
		}
	}
	for _, i := range r.config.Identities {
		for _, path := range i.files() {
			r.distrustFolders(path)
		}
	}
	l := r.config.Listen
	for _, path := range append([]string{r.config.Audit.Path, l.Admin, l.Systemd}, r.config.Files...) {
		r.distrustFolders(path)
	}
	slices.Sort(r.config.Weak)
	r.config.Weak = slices.Compact(r.config.Weak)
}

func (r *reader) distrustProgram(argv []string, as string) {
	if len(argv) > 0 {
		r.distrustFile("program", argv[0], as)
	}
}

// distrustFile notes who has a hand in a file, which may be a user's.
func (r *reader) distrustFile(what, path, of string) {
	info, err := os.Stat(path)
	if err != nil || !filepath.IsAbs(path) {
		return
	}
	r.distrustFolders(path)
	st, ok := info.Sys().(*syscall.Stat_t)
	who := ""
	if ok {
		who = hand(path, st)
	}
	switch {
	case who == "":
	case st.Mode&0o022 != 0:
		r.config.Untrusted = append(r.config.Untrusted, Mistake{File: path, Text: who})
	case !is(of, st.Uid):
		r.config.Weak = append(r.config.Weak, what+" "+path+": "+who)
	}
}

// is reports whether a user, by name or number, is the one of a uid.
func is(name string, uid uint32) bool {
	number := strconv.FormatUint(uint64(uid), 10)
	if name == "" || name == number {
		return name != ""
	}
	u, err := user.LookupId(number)
	return err == nil && u.Username == name
}

// distrustFolders notes who can exchange a file by way of the folders above
// it, as it is named and where links lead. It need not be there.
func (r *reader) distrustFolders(path string) {
	if !filepath.IsAbs(path) {
		return
	}
	ways := []string{path}
	for _, link := range []string{path, filepath.Dir(path)} {
		if to, err := filepath.EvalSymlinks(link); err == nil {
			ways = append(ways, filepath.Join(to, "x")) // where it leads to a folder, that one counts
		}
	}
	for _, at := range ways {
		for at != filepath.Dir(at) {
			at = filepath.Dir(at)
			if r.judged[at] { // and all above it
				break
			}
			r.judged[at] = true
			r.distrustFolder(at)
		}
	}
}

func (r *reader) distrustFolder(at string) {
	info, err := os.Stat(at)
	if err != nil || !info.IsDir() {
		return
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if sticky := info.Mode()&fs.ModeSticky != 0; !ok || sticky && (st.Uid == 0 || int(st.Uid) == os.Geteuid()) {
		return
	}
	if who := hand(at, st); who != "" {
		r.config.Weak = append(r.config.Weak, "folder "+at+": "+who)
	}
}

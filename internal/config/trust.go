package config

import (
	"fmt"
	"os"
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

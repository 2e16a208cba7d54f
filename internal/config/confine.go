package config

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// checkConfine refuses what would not work, or not for long, in a process that
// has lost sight of all other files.
func (r *reader) checkConfine() {
	c, place := r.config, r.confine
	if !c.Confine {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(c.Apps)) {
		if runsCommands(c.Apps[name]) {
			r.mistake(place, fmt.Sprintf("would confine the commands of apps.%s as well: take these out, or confine", name))
		}
		for _, f := range c.Apps[name].Files {
			if strings.HasPrefix(f.Destination, "/run/") && filepath.Dir(f.Destination) != filepath.Dir(c.Listen.Admin) {
				r.mistake(place, fmt.Sprintf("loses %s when its folder, which may be a unit's RuntimeDirectory, is made anew: "+
					"put it below %s, or take confine out", f.Destination, filepath.Dir(c.Listen.Admin)))
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Identities)) {
		if strings.HasPrefix(c.Identities[name].PrivateKey, "pkcs11:") {
			r.mistake(place, fmt.Sprintf("is not for identities.%s: a PKCS#11 module opens what it likes", name))
		}
	}
}

func runsCommands(a App) bool {
	return len(a.Check) > 0 || a.Confirm != nil ||
		slices.ContainsFunc(a.Verify, func(v Verify) bool { return len(v.Run) > 0 }) ||
		slices.ContainsFunc(a.Notify, func(n Notify) bool { return len(n.Run) > 0 })
}

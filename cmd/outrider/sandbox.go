package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"outrider/internal/config"
)

// sidecarUser is whom the units run as.
const sidecarUser = "outrider"

// account is a user, with all of its groups; without ids where there is none
// of that name on this machine.
type account struct {
	uid  uint32
	gids []uint32
	here bool
}

func outriderUser() account {
	u, err := user.Lookup(sidecarUser)
	if err != nil {
		return account{}
	}
	a := account{here: true}
	groups, _ := u.GroupIds() // a group that cannot be found lets nobody in
	for _, text := range append([]string{u.Uid, u.Gid}, groups...) {
		id, _ := strconv.ParseUint(text, 10, 32) // they are numbers on Linux
		a.gids = append(a.gids, uint32(id))
	}
	a.uid, a.gids = a.gids[0], a.gids[1:]
	return a
}

// asTheUnit is the environment, and for a person at the shell, where systemd
// would have put the unit's credentials.
func (o *options) asTheUnit(key string) string {
	value := o.getenv(key)
	if value == "" && key == "CREDENTIALS_DIRECTORY" && !o.service {
		return "/run/credentials/" + unitOf(o.getenv("OUTRIDER_INSTANCE"))
	}
	return value
}

// unitOf is the unit that an instance, or none, runs in.
func unitOf(instance string) string {
	if instance == "" {
		return "outrider.service"
	}
	return "outrider@" + instance + ".service"
}

// sandbox is what a configuration needs beyond what outrider.service allows.
type sandbox struct {
	unit         string // outrider.service or an instance of its template
	instance     string
	user         account
	capabilities map[string]string // with what each is for
	groups       map[string]bool   // supplementary
	writes       map[string]bool   // folders
	homes        map[string]bool   // folders below what ProtectHome= hides
	settings     map[string]bool   // other lines
	jobs         []string          // verb and unit
	notes        []string          // what a person must know
}

// newSandbox finds out what a configuration needs, by itself and by how the
// destinations stand on this machine now.
func newSandbox(c *config.Config, instance string, who account) *sandbox {
	s := &sandbox{
		unit: unitOf(instance), instance: instance, user: who,
		capabilities: map[string]string{}, groups: map[string]bool{}, writes: map[string]bool{},
		homes: map[string]bool{}, settings: map[string]bool{},
	}
	s.write(c.State)
	s.write(filepath.Dir(c.Listen.Admin))
	for _, i := range c.Identities {
		s.key(i.PrivateKey)
	}
	for _, r := range c.Roles {
		if r.Token != nil {
			s.file(r.Token.File, r.Token.Owner, r.Token.Group, 0)
		}
		if r.CredentialsFile != nil {
			s.file(r.CredentialsFile.Path, "", "", 0)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Apps)) {
		s.app(c.Apps[name])
	}
	if c.Listen.Systemd != "" {
		s.write(filepath.Dir(c.Listen.Systemd))
	}
	if c.Audit.Path != "" {
		s.write(filepath.Dir(c.Audit.Path))
	}
	for _, address := range []config.Address{c.Listen.Credentials, c.Listen.IMDS.Address, c.Listen.Metrics} {
		s.listen(address)
	}
	return s
}

func (s *sandbox) app(a config.App) {
	if a.Sealed != nil {
		s.file(a.Sealed.Path, "", "", 0)
	}
	for _, f := range a.Files {
		var mode fs.FileMode
		if f.Mode != nil {
			mode = *f.Mode
		}
		if a.Layout == "directory" {
			s.write(filepath.Dir(filepath.Dir(f.Destination))) // where the link stands
			s.owner(f.Destination, f.Owner, f.Group, mode)
			continue
		}
		s.file(f.Destination, f.Owner, f.Group, mode)
	}
	if a.Sealed != nil {
		s.write(filepath.Dir(a.Sealed.Path))
	}
	for _, v := range a.Verify {
		s.runsAs(v.User)
	}
	if a.Confirm != nil {
		s.runsAs(a.Confirm.User)
	}
	for _, n := range a.Notify {
		s.runsAs(n.User)
		switch {
		case n.ReloadUnit != "":
			s.jobs = append(s.jobs, "reload-or-try-restart "+n.ReloadUnit)
		case n.RestartUnit != "":
			s.jobs = append(s.jobs, "try-restart "+n.RestartUnit)
		case n.PIDFile != "":
			s.need("CAP_KILL", "signals to another user's process")
			s.settings["ProtectProc=default"] = true // whose process it is stands in /proc
		}
	}
}

// file is one that is written beside itself and moved. Mode 0 is that of the
// file, or 0600.
func (s *sandbox) file(path, owner, group string, mode fs.FileMode) {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		s.write(filepath.Dir(target))
	}
	s.write(filepath.Dir(path))
	s.owner(path, owner, group, mode)
}

// owner is for files of others, which are given to them, and read again to see
// whether they are as they were left.
func (s *sandbox) owner(path, owner, group string, mode fs.FileMode) {
	if info, err := os.Stat(path); err == nil {
		st, ok := info.Sys().(*syscall.Stat_t)
		if ok && owner == "" && st.Uid != s.user.uid {
			owner = strconv.FormatUint(uint64(st.Uid), 10)
		}
		if ok && group == "" && !slices.Contains(s.user.gids, st.Gid) {
			group = strconv.FormatUint(uint64(st.Gid), 10)
		}
		mode = cmp.Or(mode, info.Mode().Perm())
	}
	if group != "" && group != sidecarUser {
		s.groups[groupName(group)] = true
	}
	if owner == "" || owner == sidecarUser || s.user.here && owner == strconv.FormatUint(uint64(s.user.uid), 10) {
		return
	}
	s.need("CAP_CHOWN", "files that belong to another user")
	s.need("CAP_FOWNER", "the mode of files that belong to another user")
	if mode&0o004 == 0 && (mode&0o040 == 0 || group == "") {
		s.need("CAP_DAC_READ_SEARCH", "to see whether "+path+" is as it was left; not with group: and mode: \"0640\"")
	}
}

// write lets the unit write in a folder. Below /run a folder may be another
// unit's, removed and made anew, which no mount outlives: there it is all of
// /run, and the folders' own modes must do.
func (s *sandbox) write(folder string) {
	own := []string{"/var/lib/outrider", "/run/outrider"}
	if s.instance != "" {
		own = []string{"/var/lib/outrider-" + s.instance, "/run/outrider-" + s.instance}
	}
	if slices.ContainsFunc(own, func(o string) bool { return within(folder, o) }) {
		return
	}
	s.enter(folder)
	switch {
	case within(folder, "/home"), within(folder, "/root"), within(folder, "/run/user"):
		s.homes[folder] = true
	case within(folder, "/tmp"), within(folder, "/var/tmp"):
		s.settings["PrivateTmp=no"] = true
		s.writes[folder] = true
	case within(folder, "/run"):
		s.writes["/run"] = true
	default:
		s.writes[folder] = true
	}
}

// enter asks for the right to write where the folder's own mode gives none.
func (s *sandbox) enter(folder string) {
	info, err := os.Stat(folder)
	if err != nil {
		s.note("%s is not there yet: make it, so that user %s may write in it, and run this again", folder, sidecarUser)
		return
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !s.user.here {
		return
	}
	switch {
	case st.Uid == s.user.uid && st.Mode&0o300 == 0o300:
	case slices.Contains(s.user.gids, st.Gid) && st.Mode&0o030 == 0o030:
	case st.Mode&0o003 == 0o003:
	default:
		s.need("CAP_DAC_OVERRIDE", fmt.Sprintf("to write in %s; not after chgrp %s %[1]s && chmod g+rwx %[1]s", folder, sidecarUser))
	}
}

func within(path, folder string) bool {
	return path == folder || strings.HasPrefix(path, strings.TrimSuffix(folder, "/")+"/")
}

func (s *sandbox) runsAs(name string) {
	if name != "" && name != sidecarUser {
		s.need("CAP_SETUID", "commands that run as another user")
		s.need("CAP_SETGID", "commands that run as another user")
	}
}

func (s *sandbox) key(place string) {
	if strings.HasPrefix(place, "tpm2:") {
		s.settings["PrivateDevices=no"] = true
		s.settings["DeviceAllow=/dev/tpmrm0 rw"] = true
		s.groups["tss"] = true
	}
}

func (s *sandbox) listen(a config.Address) {
	if a.Network == "unix" {
		s.write(filepath.Dir(a.Address))
	}
	if a.Network != "tcp" {
		return
	}
	_, port, _ := net.SplitHostPort(a.Address) // the configuration has checked it
	if number, err := strconv.Atoi(port); err == nil && number < 1024 {
		s.need("CAP_NET_BIND_SERVICE", "to listen on port "+port)
	}
}

func (s *sandbox) need(capability, why string) {
	if s.capabilities[capability] == "" {
		s.capabilities[capability] = why
	}
}

func (s *sandbox) note(format string, values ...any) {
	if note := fmt.Sprintf(format, values...); !slices.Contains(s.notes, note) {
		s.notes = append(s.notes, note)
	}
}

// groupName prefers names: systemd takes numbers, people do not.
func groupName(group string) string {
	if g, err := user.LookupGroupId(group); err == nil {
		return g.Name
	}
	return group
}

// textFile is a file to be.
type textFile struct{ path, text string }

func (s *sandbox) files() []textFile {
	rule := "50-" + strings.TrimSuffix(s.unit, ".service") + ".rules"
	return []textFile{
		{filepath.Join("/etc/systemd/system", s.unit+".d", "50-configuration.conf"), s.dropIn()},
		{filepath.Join("/etc/polkit-1/rules.d", rule), s.polkitRule()},
	}
}

const written = "Written by outrider policy --systemd; run that again when the configuration changes."

// dropIn is the drop-in of the unit (systemd.exec(5)).
func (s *sandbox) dropIn() string {
	var b strings.Builder
	b.WriteString("# " + written + "\n[Service]\n")
	names := slices.Sorted(maps.Keys(s.capabilities))
	for _, name := range names {
		fmt.Fprintf(&b, "# %s: %s\n", name, s.capabilities[name])
	}
	if len(names) > 0 {
		fmt.Fprintf(&b, "CapabilityBoundingSet=%[1]s\nAmbientCapabilities=%[1]s\n", strings.Join(names, " "))
	}
	if groups := slices.Sorted(maps.Keys(s.groups)); len(groups) > 0 {
		fmt.Fprintf(&b, "SupplementaryGroups=%s\n", strings.Join(groups, " "))
	}
	// What is not there must not keep the unit from starting.
	for _, folder := range slices.Sorted(maps.Keys(s.writes)) {
		fmt.Fprintf(&b, "ReadWritePaths=%s\n", quoted("-"+folder))
	}
	if len(s.homes) > 0 {
		b.WriteString("ProtectHome=tmpfs\n")
	}
	for _, folder := range slices.Sorted(maps.Keys(s.homes)) {
		fmt.Fprintf(&b, "BindPaths=%s\n", quoted("-"+folder))
	}
	for _, line := range slices.Sorted(maps.Keys(s.settings)) {
		b.WriteString(line + "\n")
	}
	return b.String()
}

// quoted is a path as a word of a unit file (systemd.syntax(7)).
func quoted(path string) string {
	path = strings.ReplaceAll(path, "%", "%%")
	if strings.ContainsAny(path, " \t\"'\\") {
		return strconv.Quote(path)
	}
	return path
}

// polkitRule allows the jobs that the configuration names, of these units
// alone.
func (s *sandbox) polkitRule() string {
	jobs := slices.Compact(slices.Sorted(slices.Values(s.jobs)))
	if jobs == nil {
		jobs = []string{}
	}
	list, _ := json.MarshalIndent(jobs, "    ", "    ") // strings always can
	return fmt.Sprintf(`// %s
polkit.addRule(function(action, subject) {
    var jobs = %s;
    if (action.id == "org.freedesktop.systemd1.manage-units" && subject.user == "%s" &&
        jobs.indexOf(action.lookup("verb") + " " + action.lookup("unit")) >= 0) {
        return polkit.Result.YES;
    }
});
`, written, list, sidecarUser)
}

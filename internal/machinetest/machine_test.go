package machinetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a test waits for what should be there in a moment.
const patience = 60 * time.Second

// machine is a Debian of its own in systemd-nspawn, with no network but its
// loopback.
type machine struct {
	t      *testing.T
	dir    string
	name   string
	root   string // the overlay's
	nspawn *exec.Cmd
	leader int // process id of its systemd
}

// newMachine boots a machine with the packages of a version installed, or
// with none for "", which ends with the test. It skips the test where scripts/e2e does not run it.
func newMachine(t *testing.T, version string) *machine {
	t.Helper()
	tree := os.Getenv("OUTRIDER_MACHINE")
	if tree == "" {
		t.Skip("make e2e boots machines")
	}
	t.Parallel()
	dir, err := os.MkdirTemp("", "machine-") //nolint:usetesting // its name is the machine's, and short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	m := &machine{t: t, dir: dir, name: filepath.Base(dir), root: filepath.Join(dir, "root")}
	for _, name := range []string{"root", "upper", "work"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	layers := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", tree, filepath.Join(dir, "upper"), filepath.Join(dir, "work"))
	if err := unix.Mount("overlay", m.root, "overlay", 0, layers); err != nil {
		t.Fatalf("overlay: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(m.root, unix.MNT_DETACH) })
	t.Cleanup(m.explain)
	t.Cleanup(m.halt)
	m.boot()
	if version != "" {
		m.install(version)
	}
	return m
}

// explain shows the journal of a machine whose test has failed.
func (m *machine) explain() {
	if !m.t.Failed() {
		return
	}
	out, err := exec.Command("journalctl", "--directory", filepath.Join(m.root, "var/log/journal"), "--no-pager", "--output=short-precise", "--lines=300").CombinedOutput()
	m.t.Logf("its journal (%v):\n%s", err, out)
}

// boot starts the machine and waits until its services have started.
func (m *machine) boot() {
	m.t.Helper()
	// The journal of one boot must outlive it.
	if err := os.MkdirAll(filepath.Join(m.root, "var/log/journal"), 0o755); err != nil {
		m.t.Fatal(err)
	}
	// Without a control group of its own it would share one with the others.
	m.nspawn = exec.Command("/bin/sh", "-euc", `
for group in $0; do mkdir "$group"; echo $$ >"$group/cgroup.procs"; done
exec "$@"`, strings.Join(m.controlGroups(), " "),
		"systemd-nspawn", "--quiet", "--boot", "--directory="+m.root, "--machine="+m.name,
		"--private-network", "--register=no", "--keep-unit", "--link-journal=no", "--console=pipe", "--resolv-conf=off", "--timezone=off",
		"--system-call-filter=landlock_create_ruleset landlock_add_rule landlock_restrict_self") // its own list is older
	m.nspawn.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	var said bytes.Buffer
	m.nspawn.Stdout, m.nspawn.Stderr = &said, &said
	if err := m.nspawn.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.eventually("the machine has booted", func() error {
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", m.nspawn.Process.Pid, m.nspawn.Process.Pid))
		if err != nil {
			return err
		}
		m.leader, err = strconv.Atoi(strings.TrimSpace(string(children)))
		if err != nil {
			return fmt.Errorf("%w; nspawn says %s", err, said.String())
		}
		_, err = m.sh("test -S /run/dbus/system_bus_socket && systemctl is-system-running --wait")
		return err
	})
}

// controlGroups returns the machine's in each hierarchy that systemd manages.
func (m *machine) controlGroups() []string {
	var groups []string
	for _, hierarchy := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"} {
		if _, err := os.Stat(hierarchy + "/cgroup.procs"); err == nil {
			groups = append(groups, filepath.Join(hierarchy, m.name))
		}
	}
	return groups
}

// halt powers the machine off, as a plug that is pulled would.
func (m *machine) halt() {
	if m.nspawn == nil {
		return
	}
	if m.leader > 0 {
		_ = unix.Kill(m.leader, unix.SIGKILL)
	} else {
		_ = m.nspawn.Process.Kill()
	}
	_ = m.nspawn.Wait() // it was killed
	m.nspawn, m.leader = nil, 0
	for _, group := range m.controlGroups() {
		m.eventually(group+" is gone", func() error {
			out, err := exec.Command("find", group, "-depth", "-type", "d", "-exec", "rmdir", "{}", "+").CombinedOutput()
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		})
	}
}

// install installs the package of a version.
func (m *machine) install(version string) {
	m.t.Helper()
	packages, err := filepath.Glob(filepath.Join(os.Getenv("OUTRIDER_PACKAGES"), "outrider_"+version+"_*.deb"))
	if err != nil || len(packages) != 1 {
		m.t.Fatalf("packages of %s: %v, %v; want one", version, packages, err)
	}
	content, err := os.ReadFile(packages[0])
	if err != nil {
		m.t.Fatal(err)
	}
	m.write("/srv/outrider.deb", string(content))
	m.do("dpkg --install --force-confold /srv/outrider.deb")
}

// sh runs a script as root in the machine and returns what it prints. Its
// error ends with what the script complains of.
func (m *machine) sh(script string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "nsenter", "--target", strconv.Itoa(m.leader), "--all", "--wdns=/", "/bin/sh", "-eu", "-c", script)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"}
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s: %w: %s%s", script, err, out.String(), complaint.String())
	}
	return strings.TrimSpace(out.String()), nil
}

// do is sh for what must go well.
func (m *machine) do(script string) string {
	m.t.Helper()
	out, err := m.sh(script)
	if err != nil {
		m.t.Fatal(err)
	}
	return out
}

// refuses runs a script that must not go well.
func (m *machine) refuses(script string) {
	m.t.Helper()
	if out, err := m.sh(script); err == nil {
		m.t.Errorf("%s: went well, and says %s", script, out)
	}
}

// want compares what a script prints.
func (m *machine) want(script, want string) {
	m.t.Helper()
	if got := m.do(script); got != want {
		m.t.Errorf("%s: says %q, want %q", script, got, want)
	}
}

// until runs a script until it goes well.
func (m *machine) until(script string) {
	m.t.Helper()
	m.eventually(script, func() error { _, err := m.sh(script); return err })
}

// eventually asks again and again until there is no error.
func (m *machine) eventually(what string, ask func() error) {
	m.t.Helper()
	m.within(patience, what, ask)
}

func (m *machine) within(limit time.Duration, what string, ask func() error) {
	m.t.Helper()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for end := time.Now().Add(limit); ; <-again.C {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			m.t.Fatalf("not within %s: %s: %v", limit, what, err)
		}
	}
}

// write writes a file in the machine, and the folders above it.
func (m *machine) write(path, text string) {
	m.t.Helper()
	cmd := exec.Command("nsenter", "--target", strconv.Itoa(m.leader), "--all", "--wdns=/", "/bin/sh", "-euc", `mkdir -p "$(dirname "$0")"; cat >"$0"`, path)
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		m.t.Fatalf("write %s: %v: %s", path, err, out)
	}
}

// script writes a shell script that anybody may run.
func (m *machine) script(path, text string) {
	m.t.Helper()
	m.write(path, "#!/bin/sh\n"+text)
	m.do("chmod 0755 " + path)
}

// unit writes a unit and lets systemd know.
func (m *machine) unit(name, text string) {
	m.t.Helper()
	m.write("/etc/systemd/system/"+name, text)
	m.do("systemctl daemon-reload")
}

// said counts the lines of a unit's journal, in all boots, that hold a text.
func (m *machine) said(unit, text string) int {
	m.t.Helper()
	out := m.do("journalctl --sync; journalctl --no-pager --output=cat --unit=" + unit)
	return strings.Count(out, text)
}

// says waits until a unit's journal holds a text.
func (m *machine) says(unit, text string) {
	m.t.Helper()
	m.eventually(unit+" says "+text, func() error {
		if m.said(unit, text) == 0 {
			return errors.New("it does not")
		}
		return nil
	})
}

// read returns what is in a file of the machine.
func (m *machine) read(path string) string {
	m.t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/root%s", m.leader, path))
	if err != nil {
		m.t.Fatal(err)
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	if err != nil {
		m.t.Fatal(err)
	}
	return string(text)
}

package e2e

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"outrider/serve"
)

// listener starts a process that writes down each SIGHUP, and returns its id.
func (s *scene) listener(name string) int {
	s.t.Helper()
	s.script(name, `trap 'echo HUP >> DIR/`+name+`.told' HUP; echo up; while :; do sleep 0.05; done`) // a builtin that waits can miss the signal that comes just before
	// A shell cannot trap what was ignored when it started, as under nohup.
	cmd := exec.Command("env", "--default-signal=HUP", s.path(name))
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it ends by the signal
	})
	if !bufio.NewScanner(out).Scan() {
		s.t.Fatal("the listener does not come up")
	}
	return cmd.Process.Pid
}

// pidFile names a process that began later than the file was written by so
// much.
func (s *scene) pidFile(name string, pid int, age time.Duration) {
	s.t.Helper()
	s.write(name, strconv.Itoa(pid)+"\n")
	at := time.Now().Add(-age)
	if err := os.Chtimes(s.path(name), at, at); err != nil {
		s.t.Fatal(err)
	}
}

// gone returns the id of a process that has ended.
func gone(t *testing.T) int {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid
}

func TestWhomASignalReaches(t *testing.T) {
	t.Parallel()
	s := newScene(t, "")
	s.put("db", "1")
	pids := map[string]int{"right": s.listener("right"), "reused": s.listener("reused"), "gone": gone(t), "user": s.listener("user")}
	s.pidFile("right.pid", pids["right"], 0)
	s.pidFile("reused.pid", pids["reused"], 10*time.Second) // it began after the file was written
	s.pidFile("gone.pid", pids["gone"], 0)
	s.write("garbage.pid", "none\n")
	s.pidFile("init.pid", 1, 0)
	s.pidFile("user.pid", pids["user"], 0)
	apps := "apps:\n"
	for _, name := range []string{"right", "reused", "gone", "missing", "garbage", "init", "user"} {
		apps += "  " + name + ":\n    secrets: {db: {secret: db}}\n" +
			"    files: [{content: '{{ .db }}', destination: " + name + ".conf}]\n" +
			"    notify: [{signal: HUP, pid_file: " + name + ".pid}]\n"
	}
	s.configure(apps)
	foreign := os.Geteuid() == 0
	if foreign { // somebody who may write pid files, and no more
		if err := os.Chown(s.path("user.pid"), 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	s.start()
	for name, outcome := range map[string]string{"right": "delivered", "gone": "absent", "missing": "absent"} {
		s.current(name)
		if out := s.do("history", name); !strings.Contains(out, "signal HUP "+s.path(name+".pid")+" ("+outcome+")") {
			t.Errorf("%s: history does not say %s:\n%s", name, outcome, out)
		}
	}
	wrong := map[string]string{"reused": "it is younger than the file", "garbage": "its first line is not a process id", "init": "process 1 is never signalled"}
	if foreign {
		wrong["user"] = fmt.Sprintf("process %d: it runs as uid 0, and the pid file belongs to uid 65534", pids["user"])
	}
	for name, words := range wrong {
		app := s.fails(name, "notify signal HUP "+s.path(name+".pid"), words)
		if len(app.Owed) != 1 || app.Generation != 1 {
			t.Errorf("%s: owed %q, generation %d; want one and 1", name, app.Owed, app.Generation)
		}
	}
	for _, name := range []string{"right", "reused", "gone", "missing", "garbage", "init", "user"} {
		if got := s.read(name + ".conf"); got != "1" {
			t.Errorf("%s: its file holds %q, want 1", name, got)
		}
	}
	if !poll(t.Context(), 10*time.Millisecond, func() bool { return s.read("right.told") == "HUP\n" }) {
		t.Error("the right process was not told once")
	}
	if s.read("reused.told") != "" || foreign && s.read("user.told") != "" {
		t.Error("a process was told that was not meant")
	}
	// Mended, all go on by themselves.
	for name := range wrong {
		if err := os.Remove(s.path(name + ".pid")); err != nil {
			t.Fatal(err)
		}
		s.current(name)
	}
}

// A list that stops at a target goes on there, and what is newer takes over.
func TestFailingTargetHoldsUpThoseAfterIt(t *testing.T) {
	t.Parallel()
	s := newScene(t, "")
	s.put("db", "1")
	for _, name := range []string{"first", "second", "third"} {
		s.script(name, "echo "+name+" $OUTRIDER_GENERATION >> DIR/told; test ! -e DIR/"+name+".fails")
	}
	s.write("second.fails", "")
	s.configure(`
apps:
  billing:
    secrets: {db: {secret: db}}
    files: [{content: "{{ .db }}", destination: conf}]
    notify: [{run: [DIR/first]}, {run: [DIR/second]}, {run: [DIR/third]}]
`)
	s.start()
	app := s.fails("billing", "notify run "+s.path("second")+": exit status 1")
	if app.State != serve.Current || len(app.Owed) != 2 {
		t.Errorf("state %s, owed %q; want current, and two targets", app.State, app.Owed)
	}
	s.put("db", "2")
	s.until("billing", "at its second generation", func(a serve.App) bool { return a.Generation == 2 })
	if err := os.Remove(s.path("second.fails")); err != nil {
		t.Fatal(err)
	}
	s.current("billing")
	told := strings.Fields(strings.ReplaceAll(s.read("told"), " ", "-"))
	if n := len(told); n < 3 || strings.Join(told[n-2:], " ") != "second-2 third-2" || strings.Contains(s.read("told"), "third 1") {
		t.Errorf("told %q; want the list to end with second 2 and third 2, and third never told of 1", told)
	}
}

// busConfig is a private bus on which everybody may be systemd.
const busConfig = `<busconfig>
  <listen>unix:path=%s</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
  </policy>
</busconfig>`

// bus starts a D-Bus daemon on a socket of the scene's.
func (s *scene) bus(socket string) {
	s.t.Helper()
	program, err := exec.LookPath("dbus-daemon")
	if err != nil {
		if os.Getenv("CI") == "true" {
			s.t.Fatal("dbus-daemon is not installed; scripts/setup installs it")
		}
		s.t.Skip("dbus-daemon is not installed (scripts/setup)")
	}
	s.write("bus.conf", fmt.Sprintf(busConfig, s.path(socket)))
	daemon := exec.Command(program, "--config-file="+s.path("bus.conf"), "--nofork", "--print-address")
	out, err := daemon.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := daemon.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = daemon.Process.Kill()
		_ = daemon.Wait() // it ends by the signal
	})
	if !bufio.NewScanner(out).Scan() {
		s.t.Fatal("the D-Bus daemon does not come up")
	}
}

// systemd is one that knows no unit until it is told that there is one, which
// does not run.
type systemd struct{ installed chan struct{} }

// The names that systemd has on the bus.
const (
	systemdName = "org.freedesktop.systemd1"
	systemdPath = "/org/freedesktop/systemd1"
)

// Subscribe is a method of the manager.
func (systemd) Subscribe() *dbus.Error { return nil }

// LoadUnit is a method of the manager.
func (systemd) LoadUnit(string) (dbus.ObjectPath, *dbus.Error) { return systemdPath + "/unit/u", nil }

// Get is a method of a unit's properties.
func (s systemd) Get(_, property string) (dbus.Variant, *dbus.Error) {
	load := "not-found"
	select {
	case <-s.installed:
		load = "loaded"
	default:
	}
	return dbus.MakeVariant(map[string]string{"ActiveState": "inactive", "SubState": "dead", "LoadState": load}[property]), nil
}

func (s *scene) systemd(socket string) systemd {
	s.t.Helper()
	s.bus(socket)
	conn, err := dbus.Connect("unix:path=" + s.path(socket))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	d := systemd{make(chan struct{})}
	for path, face := range map[dbus.ObjectPath]string{systemdPath: systemdName + ".Manager", systemdPath + "/unit/u": "org.freedesktop.DBus.Properties"} {
		if err := conn.Export(d, path, face); err != nil {
			s.t.Fatal(err)
		}
	}
	if _, err := conn.RequestName(systemdName, 0); err != nil {
		s.t.Fatal(err)
	}
	return d
}

// The bus is away; then there is one, and systemd on it does not know the
// unit; then it does.
func TestUnitThatCannotBeTold(t *testing.T) {
	t.Parallel()
	s := newScene(t, "")
	s.env = append(s.env, "DBUS_SYSTEM_BUS_ADDRESS=unix:path="+s.path("bus"))
	s.put("db", "1")
	s.configure(`
apps:
  billing:
    secrets: {db: {secret: db}}
    files: [{content: "{{ .db }}", destination: conf}]
    notify: [{reload_unit: billing.service}]
`)
	s.start()
	owed := func(words ...string) {
		t.Helper()
		app := s.fails("billing", append(words, "notify reload_unit billing.service")...)
		if app.State != serve.Current || len(app.Owed) != 1 || app.Generation != 1 {
			t.Errorf("state %s, owed %q, generation %d; want current, one and 1", app.State, app.Owed, app.Generation)
		}
		s.conf("1")
	}
	owed("connect to the system's D-Bus: ", "is dbus installed and running?")
	d := s.systemd("bus")
	owed("systemd knows no such unit: install it")
	close(d.installed)
	s.current("billing")
	if out := s.do("history", "billing"); !strings.Contains(out, "reload_unit billing.service (absent)") {
		t.Errorf("history does not say that the unit does not run:\n%s", out)
	}
}

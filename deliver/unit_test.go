package deliver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/google/go-cmp/cmp"
)

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

// bus starts a real D-Bus daemon for the test and returns its address.
func bus(t *testing.T) (address string, daemon *exec.Cmd) {
	t.Helper()
	program, err := exec.LookPath("dbus-daemon")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("it needs Debian's dbus-daemon: %v", err)
		}
		t.Skip("left out: no dbus-daemon (Debian: apt-get install dbus-daemon)")
	}
	dir := t.TempDir()
	socket, config := filepath.Join(dir, "bus"), filepath.Join(dir, "config")
	write(t, config, fmt.Sprintf(busConfig, socket), 0o600)
	daemon = exec.Command(program, "--config-file="+config, "--nofork", "--print-address")
	output, err := daemon.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = daemon.Process.Kill()
		_ = daemon.Wait()
	})
	if !bufio.NewScanner(output).Scan() {
		t.Fatal("the D-Bus daemon did not come up")
	}
	return "unix:path=" + socket, daemon
}

// fakeUnit is a unit as systemd holds it, and how its next job goes.
type fakeUnit struct {
	active, sub, load string
	result            string      // of the job; empty: it never ends
	early             bool        // it ends before the call that queued it has been answered
	refusal           *dbus.Error // in place of a job
}

// fakeSystemd behaves as systemd's manager does: unknown units load as
// not-found, only jobs in a known mode are queued, and only those who have
// subscribed hear of their end.
type fakeSystemd struct {
	t    *testing.T
	conn *dbus.Conn

	mu          sync.Mutex
	units       map[string]fakeUnit
	subscribers map[dbus.Sender]bool
	calls       []string
	queued      chan string // the name of whoever queued a job that never ends
	jobs        uint32
}

// fake puts a systemd with those units on the bus.
func fake(t *testing.T, address string, units map[string]fakeUnit) *fakeSystemd {
	t.Helper()
	conn, err := dbus.Connect(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	f := &fakeSystemd{t: t, conn: conn, units: units, subscribers: make(map[dbus.Sender]bool), queued: make(chan string, 1)}
	for name := range units {
		if err := conn.Export(properties{f, name}, unitPath(name), "org.freedesktop.DBus.Properties"); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.Export(f, systemdPath, systemdManager); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.RequestName(systemdName, 0); err != nil {
		t.Fatal(err)
	}
	return f
}

func unitPath(name string) dbus.ObjectPath {
	return dbus.ObjectPath(systemdPath + "/unit/" + strings.NewReplacer(".", "_2e", "-", "_2d").Replace(name))
}

// properties are those of one unit.
type properties struct {
	systemd *fakeSystemd
	unit    string
}

func (p properties) Get(iface, name string) (dbus.Variant, *dbus.Error) {
	p.systemd.mu.Lock()
	defer p.systemd.mu.Unlock()
	u := p.systemd.units[p.unit]
	value, ok := map[string]string{"ActiveState": u.active, "SubState": u.sub, "LoadState": u.load}[name]
	if iface != systemdName+".Unit" || !ok {
		return dbus.Variant{}, dbus.NewError("org.freedesktop.DBus.Error.UnknownProperty", []any{iface + "." + name})
	}
	return dbus.MakeVariant(value), nil
}

func (f *fakeSystemd) Subscribe(sender dbus.Sender) *dbus.Error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.subscribers[sender] {
		return dbus.NewError(systemdName+".AlreadySubscribed", []any{"Client is already subscribed."})
	}
	f.subscribers[sender] = true
	return nil
}

func (f *fakeSystemd) LoadUnit(name string) (dbus.ObjectPath, *dbus.Error) {
	return unitPath(name), nil
}

func (f *fakeSystemd) ReloadOrTryRestartUnit(sender dbus.Sender, name, mode string) (dbus.ObjectPath, *dbus.Error) {
	return f.job(sender, "ReloadOrTryRestartUnit", name, mode)
}

func (f *fakeSystemd) TryRestartUnit(sender dbus.Sender, name, mode string) (dbus.ObjectPath, *dbus.Error) {
	return f.job(sender, "TryRestartUnit", name, mode)
}

func (f *fakeSystemd) job(sender dbus.Sender, method, name, mode string) (dbus.ObjectPath, *dbus.Error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, method+" "+name+" "+mode)
	u := f.units[name]
	if u.refusal != nil {
		return "", u.refusal
	}
	f.jobs += 2
	path := jobPath(f.jobs)
	if u.result == "" {
		f.queued <- string(sender)
		return path, nil
	}
	if f.subscribers[sender] {
		f.removed(f.jobs-1, "other.service", "failed") // somebody else's, at the same time
		if ended := func() { f.removed(f.jobs, name, u.result) }; u.early {
			ended()
		} else {
			go func() { f.mu.Lock(); defer f.mu.Unlock(); ended() }() // once this call has returned
		}
	}
	return path, nil
}

func jobPath(id uint32) dbus.ObjectPath {
	return dbus.ObjectPath(fmt.Sprint(systemdPath, "/job/", id))
}

func (f *fakeSystemd) removed(id uint32, unit, result string) {
	if err := f.conn.Emit(systemdPath, systemdManager+".JobRemoved", id, jobPath(id), unit, result); err != nil {
		f.t.Error(err)
	}
}

func TestUnit(t *testing.T) {
	address, _ := bus(t)
	running := func(result string) fakeUnit { return fakeUnit{"active", "running", "loaded", result, false, nil} }
	denied := dbus.NewError("org.freedesktop.DBus.Error.InteractiveAuthorizationRequired", []any{"Interactive authentication required."})
	reload, restart := []string{"ReloadOrTryRestartUnit a.service replace"}, []string{"TryRestartUnit a.service replace"}
	tests := []struct {
		name    string
		unit    fakeUnit
		restart bool
		outcome Outcome
		wantErr string
		calls   []string
	}{
		{"a running unit is reloaded", running("done"), false, Delivered, "", reload},
		{"a running unit is restarted", running("done"), true, Delivered, "", restart},
		{"a job that ends at once is not missed", fakeUnit{"active", "running", "loaded", "done", true, nil}, false, Delivered, "", reload},
		{"a job that did not apply is done", running("skipped"), false, Delivered, "", reload},
		{"a unit that is starting is reloaded after it", fakeUnit{"activating", "start", "loaded", "done", false, nil}, false, Delivered, "", reload},
		{"an inactive unit is absent", fakeUnit{"inactive", "dead", "loaded", "", false, nil}, false, Absent, "", nil},
		{"a failed unit is absent", fakeUnit{"failed", "failed", "loaded", "", false, nil}, true, Absent, "", nil},
		{"a unit that stops is absent", fakeUnit{"deactivating", "stop-sigterm", "loaded", "", false, nil}, true, Absent, "", nil},
		{"a unit that waits for its ExecStartPre= is absent", fakeUnit{"activating", "start-pre", "loaded", "", false, nil}, false, Absent, "", nil},
		{"a masked unit is absent", fakeUnit{"inactive", "dead", "masked", "", false, nil}, false, Absent, "", nil},
		{"an unknown unit is an error", fakeUnit{"inactive", "dead", "not-found", "", false, nil}, false, Failed, "systemd knows no such unit: install it", nil},
		{"a job that failed is an error", running("failed"), false, Failed, `the job ended as "failed": see journalctl -u a.service`, reload},
		{"a job that timed out is an error", running("timeout"), false, Failed, `the job ended as "timeout"`, reload},
		{"a canceled job is an error", running("canceled"), true, Failed, `the job ended as "canceled"`, restart},
		{"a job whose dependency failed is an error", running("dependency"), true, Failed, `the job ended as "dependency"`, restart},
		{"a refusal names polkit", fakeUnit{"active", "running", "loaded", "", false, denied}, false, Failed,
			"Interactive authentication required.: run outrider as root, or let polkit allow uid", reload},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			systemd := fake(t, address, map[string]fakeUnit{"a.service": tt.unit})
			got, err := Unit{Name: "a.service", Restart: tt.restart, Timeout: time.Minute, bus: address}.Notify(t.Context(), Notification{})
			if got != tt.outcome || (err == nil) != (tt.wantErr == "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("got %q, error %v, want %q, error %q", got, err, tt.outcome, tt.wantErr)
			}
			systemd.mu.Lock()
			defer systemd.mu.Unlock()
			if diff := cmp.Diff(systemd.calls, tt.calls); diff != "" {
				t.Errorf("jobs (-got +want):\n%s", diff)
			}
		})
	}
}

// notifyStuck notifies a unit whose job never ends. It calls during once the
// job is queued, with the name on the bus of whoever waits for it.
func notifyStuck(t *testing.T, ctx context.Context, timeout time.Duration, address string, during func(*fakeSystemd, string)) error {
	t.Helper()
	systemd := fake(t, address, map[string]fakeUnit{"a.service": {active: "active", sub: "running", load: "loaded"}})
	done := make(chan error)
	go func() {
		_, err := Unit{Name: "a.service", Timeout: timeout, bus: address}.Notify(ctx, Notification{})
		done <- err
	}()
	during(systemd, <-systemd.queued)
	return <-done
}

func TestUnitStopsWaiting(t *testing.T) {
	address, daemon := bus(t)
	t.Run("at its timeout", func(t *testing.T) {
		err := notifyStuck(t, t.Context(), 10*time.Second, address, func(*fakeSystemd, string) {})
		if err == nil || err.Error() != "systemd was not done after 10s: raise timeout" {
			t.Errorf("got error %v", err)
		}
	})
	t.Run("at the end of its context", func(t *testing.T) {
		stopping := errors.New("stopping")
		ctx, cancel := context.WithCancelCause(t.Context())
		err := notifyStuck(t, ctx, 0, address, func(*fakeSystemd, string) { cancel(stopping) })
		if !errors.Is(err, stopping) {
			t.Errorf("got error %v, want %v", err, stopping)
		}
	})
	t.Run("when the bus goes away", func(t *testing.T) {
		err := notifyStuck(t, t.Context(), 0, address, func(*fakeSystemd, string) { _ = daemon.Process.Kill() })
		if err == nil {
			t.Error("got no error")
		}
	})
	t.Run("when there is no bus", func(t *testing.T) {
		_, err := Unit{Name: "a.service", bus: address}.Notify(t.Context(), Notification{})
		if err == nil || !strings.Contains(err.Error(), "connect to the system's D-Bus: ") || !strings.Contains(err.Error(), "is dbus installed and running?") {
			t.Errorf("got error %v", err)
		}
	})
}

// job is one that a systemd executed anew has taken over.
type job struct {
	id    uint32
	asked chan<- struct{} // when somebody asks for it
}

func (j job) Get(iface, name string) (dbus.Variant, *dbus.Error) {
	j.asked <- struct{}{}
	if iface != systemdName+".Job" || name != "Id" {
		return dbus.Variant{}, dbus.NewError("org.freedesktop.DBus.Error.UnknownProperty", []any{iface + "." + name})
	}
	return dbus.MakeVariant(j.id), nil
}

func TestUnitIsWaitedForThroughASystemdThatIsExecutedAnew(t *testing.T) {
	for _, tc := range []struct {
		name  string
		kept  bool // the job
		knows bool // the new one who had subscribed to the old one
		want  string
	}{
		{"the job goes on", true, false, ""},
		{"the job goes on, and it remembers who listens", true, true, ""},
		{"the job has ended in between", false, false, "nobody knows how the job has ended"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			address, _ := bus(t)
			err := notifyStuck(t, t.Context(), 0, address, func(f *fakeSystemd, waiter string) {
				f.mu.Lock()
				id := f.jobs
				f.mu.Unlock()
				if _, err := f.conn.ReleaseName(systemdName); err != nil {
					t.Error(err)
				}
				anew := &fakeSystemd{t: t, subscribers: map[dbus.Sender]bool{dbus.Sender(waiter): tc.knows}}
				var err error
				if anew.conn, err = dbus.Connect(address); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = anew.conn.Close() })
				asked := make(chan struct{}, 1)
				if tc.kept {
					err = anew.conn.Export(job{id, asked}, jobPath(id), "org.freedesktop.DBus.Properties")
				}
				if err := errors.Join(err, anew.conn.Export(anew, systemdPath, systemdManager)); err != nil {
					t.Fatal(err)
				}
				if _, err := anew.conn.RequestName(systemdName, 0); err != nil {
					t.Fatal(err)
				}
				if !tc.kept {
					return
				}
				<-asked
				anew.mu.Lock()
				defer anew.mu.Unlock()
				if !anew.subscribers[dbus.Sender(waiter)] {
					t.Error("nobody has subscribed to the new systemd")
				}
				anew.removed(id, "a.service", "done")
			})
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got error %v, want %q", err, tc.want)
			}
		})
	}
}

// Whoever may send to us may send a signal that looks like systemd's.
func TestUnitBelievesOnlySystemd(t *testing.T) {
	address, _ := bus(t)
	forger, err := dbus.Connect(address)
	if err != nil {
		t.Fatal(err)
	}
	defer forger.Close()
	err = notifyStuck(t, t.Context(), 0, address, func(f *fakeSystemd, waiter string) {
		forged := &dbus.Message{Type: dbus.TypeSignal, Headers: map[dbus.HeaderField]dbus.Variant{
			dbus.FieldDestination: dbus.MakeVariant(waiter),
			dbus.FieldPath:        dbus.MakeVariant(dbus.ObjectPath(systemdPath)),
			dbus.FieldInterface:   dbus.MakeVariant(systemdManager),
			dbus.FieldMember:      dbus.MakeVariant("JobRemoved"),
			dbus.FieldSignature:   dbus.MakeVariant(dbus.SignatureOf(uint32(0), dbus.ObjectPath("/"), "", "")),
		}, Body: []any{f.jobs, jobPath(f.jobs), "a.service", "done"}}
		forger.Send(forged, nil)
		if err := forger.BusObject().Call("org.freedesktop.DBus.GetId", 0).Err; err != nil { // the bus has passed it on
			t.Error(err)
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.removed(f.jobs, "a.service", "failed")
	})
	if err == nil || !strings.Contains(err.Error(), `the job ended as "failed"`) {
		t.Errorf("got error %v, want systemd's own word for it", err)
	}
}

func TestNoSystemdOnTheBus(t *testing.T) {
	address, _ := bus(t)
	_, err := Unit{Name: "a.service", bus: address}.Notify(t.Context(), Notification{})
	if err == nil || !strings.Contains(err.Error(), "reach systemd over D-Bus: ") {
		t.Errorf("got error %v", err)
	}
}

func TestTargetNames(t *testing.T) {
	for want, target := range map[string]Target{
		"signal HUP /run/a.pid":  Signal{Signal: 1, PIDFile: "/run/a.pid"},
		"run /bin/hook":          Command{Argv: []string{"/bin/hook", "secret-looking"}},
		"run":                    Command{},
		"reload_unit a.service":  Unit{Name: "a.service"},
		"restart_unit a.service": Unit{Name: "a.service", Restart: true},
	} {
		if got := target.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

package deliver

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

func TestExamineTellsTheUnitNothing(t *testing.T) {
	address, _ := bus(t)
	systemd := fake(t, address, map[string]fakeUnit{
		"on.service":      {"active", "running", "loaded", "done", false, nil},
		"off.service":     {"inactive", "dead", "loaded", "done", false, nil},
		"missing.service": {"inactive", "dead", "not-found", "done", false, nil},
	})
	for name, test := range map[string]struct {
		running bool
		wantErr string
	}{
		"on.service":      {true, ""},
		"off.service":     {false, ""},
		"missing.service": {false, "knows no such unit"},
	} {
		running, err := Unit{Name: name, bus: address}.Examine(t.Context())
		if running != test.running || (err == nil) != (test.wantErr == "") || err != nil && !strings.Contains(err.Error(), test.wantErr) {
			t.Errorf("%s: running %t, error %v, want %t and %q", name, running, err, test.running, test.wantErr)
		}
	}
	systemd.mu.Lock()
	defer systemd.mu.Unlock()
	if len(systemd.calls) > 0 {
		t.Errorf("systemd was asked for %v, want nothing", systemd.calls)
	}
}

func TestExamineSendsNoSignal(t *testing.T) {
	app, says := start(t, nil, self(t), "application")
	says.Scan()
	path := filepath.Join(t.TempDir(), "pid")
	if running, err := (Signal{PIDFile: path}).Examine(t.Context()); running || err != nil {
		t.Errorf("without a pid file: running %t, error %v, want false and none", running, err)
	}
	write(t, path, fmt.Sprint(app.Process.Pid), 0o644)
	if running, err := (Signal{PIDFile: path}).Examine(t.Context()); !running || err != nil {
		t.Errorf("running %t, error %v, want true and none", running, err)
	}
	if _, err := hup(t, path); err != nil {
		t.Fatal(err)
	}
	if says.Scan(); says.Text() != "hangup" {
		t.Errorf("the first that the application got is %q, want the hangup after Examine", says.Text())
	}
	write(t, path, "1\n", 0o644)
	if _, err := (Signal{PIDFile: path}).Examine(t.Context()); err == nil || !strings.Contains(err.Error(), "never signalled") {
		t.Errorf("process 1: error %v, want that it is never signalled", err)
	}
}

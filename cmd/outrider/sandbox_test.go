package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"outrider/internal/config"
)

// lines returns what a drop-in sets.
func lines(dropIn string) []string {
	var set []string
	for line := range strings.Lines(dropIn) {
		if !strings.HasPrefix(line, "#") && line != "[Service]\n" {
			set = append(set, strings.TrimSuffix(line, "\n"))
		}
	}
	return set
}

func TestDropInAllowsWhatTheConfigurationNeeds(t *testing.T) {
	mode := func(m fs.FileMode) *fs.FileMode { return &m }
	file := func(f config.File) config.App { return config.App{Files: []config.File{f}} }
	for name, c := range map[string]struct {
		app  config.App
		want []string
	}{
		"a file of our own in a folder of our own": {
			app: file(config.File{Destination: "/var/lib/outrider/app.conf"}),
		},
		"a file that a group may read": {
			app: file(config.File{Destination: "/nowhere/app.conf", Group: "daemon", Mode: mode(0o640)}),
			want: []string{
				"SupplementaryGroups=daemon",
				"ReadWritePaths=-/nowhere",
			},
		},
		"a file of another user that nobody else may read": {
			app: file(config.File{Destination: "/nowhere/app.conf", Owner: "daemon", Mode: mode(0o400)}),
			want: []string{
				"CapabilityBoundingSet=CAP_CHOWN CAP_DAC_READ_SEARCH CAP_FOWNER",
				"AmbientCapabilities=CAP_CHOWN CAP_DAC_READ_SEARCH CAP_FOWNER",
				"ReadWritePaths=-/nowhere",
			},
		},
		"a file of another user that a group may read": {
			app: file(config.File{Destination: "/nowhere/app.conf", Owner: "daemon", Group: "daemon", Mode: mode(0o640)}),
			want: []string{
				"CapabilityBoundingSet=CAP_CHOWN CAP_FOWNER",
				"AmbientCapabilities=CAP_CHOWN CAP_FOWNER",
				"SupplementaryGroups=daemon",
				"ReadWritePaths=-/nowhere",
			},
		},
		"a folder below /run, which no mount outlives": {
			app:  file(config.File{Destination: "/run/billing/app.conf"}),
			want: []string{"ReadWritePaths=-/run"},
		},
		"a home": {
			app:  file(config.File{Destination: "/home/some one/100%/app.conf"}),
			want: []string{"ProtectHome=tmpfs", `BindPaths="-/home/some one/100%%"`},
		},
		"files that change together": {
			app: config.App{Layout: "directory", Files: []config.File{
				{Destination: "/nowhere/live/a"}, {Destination: "/nowhere/live/b"},
			}},
			want: []string{"ReadWritePaths=-/nowhere"},
		},
		"a signal": {
			app:  config.App{Notify: []config.Notify{{Signal: syscall.SIGHUP, PIDFile: "/run/x.pid"}}},
			want: []string{"CapabilityBoundingSet=CAP_KILL", "AmbientCapabilities=CAP_KILL", "ProtectProc=default"},
		},
		"a command as another user": {
			app:  config.App{Confirm: &config.Confirm{Run: []string{"/bin/true"}, User: "daemon"}},
			want: []string{"CapabilityBoundingSet=CAP_SETGID CAP_SETUID", "AmbientCapabilities=CAP_SETGID CAP_SETUID"},
		},
		"a command as ourselves": {
			app: config.App{Notify: []config.Notify{{Run: []string{"/bin/true"}}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSandbox(&config.Config{
				State: "/var/lib/outrider", Listen: config.Listen{Admin: "/run/outrider/outrider.sock"},
				Apps: map[string]config.App{"app": c.app},
			}, "", account{})
			if diff := cmp.Diff(lines(s.dropIn()), c.want); diff != "" {
				t.Errorf("drop-in (-got +want):\n%s", diff)
			}
		})
	}
}

func TestDropInFollowsHowTheDestinationsStand(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"links", "files"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	target, link := filepath.Join(dir, "files", "app.conf"), filepath.Join(dir, "links", "app.conf")
	if err := os.WriteFile(target, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	// Somebody else than the one whose files they are.
	other := account{uid: uint32(os.Getuid()) + 1, gids: []uint32{uint32(os.Getgid()) + 1}, here: true}
	s := newSandbox(&config.Config{
		State: "/var/lib/outrider", Listen: config.Listen{Admin: "/run/outrider/outrider.sock"},
		Apps: map[string]config.App{"app": {Files: []config.File{{Destination: link}}}},
	}, "", other)
	got := strings.Join(lines(s.dropIn()), "\n")
	for _, want := range []string{
		"CapabilityBoundingSet=CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER", filepath.Dir(target), filepath.Dir(link),
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the drop-in lacks %s:\n%s", want, got)
		}
	}
}

func TestPolkitRuleNamesTheJobsAndNoOther(t *testing.T) {
	s := newSandbox(&config.Config{Apps: map[string]config.App{
		"b": {Notify: []config.Notify{{RestartUnit: "b.service"}, {ReloadUnit: "a.service"}}},
		"a": {Notify: []config.Notify{{ReloadUnit: "a.service"}}},
	}}, "web", account{})
	if diff := cmp.Diff(s.jobs, []string{"reload-or-try-restart a.service", "try-restart b.service", "reload-or-try-restart a.service"}); diff != "" {
		t.Errorf("jobs (-got +want):\n%s", diff)
	}
	rule := s.polkitRule()
	if got := strings.Count(rule, "reload-or-try-restart a.service"); got != 1 || !strings.Contains(rule, `"try-restart b.service"`) {
		t.Errorf("the rule does not name each job once:\n%s", rule)
	}
	var paths []string
	for _, f := range s.files() {
		paths = append(paths, f.path)
	}
	want := []string{"/etc/systemd/system/outrider@web.service.d/50-configuration.conf", "/etc/polkit-1/rules.d/50-outrider@web.rules"}
	if diff := cmp.Diff(paths, want); diff != "" {
		t.Errorf("files (-got +want):\n%s", diff)
	}
}

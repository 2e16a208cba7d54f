package e2e

import (
	"os"
	"strings"
	"testing"

	"outrider/awslab"
	"outrider/serve"
)

// A host that loses power and starts again without AWS, its destinations gone
// with the memory that they stood in, has its application on the values that it
// had, and says how old they are. A copy that somebody has changed is refused.
func TestColdStartWithoutAWS(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/etc/machine-id"); err != nil {
		t.Skipf("left out: this machine has no id: %v", err)
	}
	s := newScene(t, "")
	s.put("db", `{"password":"canary-1"}`)
	s.configure(`
apps:
  app:
    secrets: {db: {secret: db}}
    files: [{content: "{{ .db.password }}\n", destination: DIR/run/conf}]
    notify: [{run: [DIR/tell]}]
    sealed: {path: app.sealed, key: seal.key}
`)
	s.script("tell", `echo $OUTRIDER_GENERATION >> DIR/told`)
	reboot := func() *sidecar {
		t.Helper()
		if err := os.RemoveAll(s.path("run")); err != nil {
			t.Fatal(err)
		}
		s.mkdir("run")
		return s.start()
	}
	s.mkdir("run")
	p := s.ready("app")
	p.kill()
	if err := s.lab.AddFault(awslab.Fault{Kind: awslab.Drop}); err != nil {
		t.Fatal(err)
	}

	p = reboot()
	s.do("wait", "app", "--timeout", patience.String())
	app := s.fails("app", "from the sealed copy, ", " old: ", "CreateSession")
	if app.State != serve.Stale || s.read("run/conf") != "canary-1\n" {
		t.Errorf("state %s, the file is as before: %v", app.State, s.read("run/conf") == "canary-1\n")
	}
	s.lab.ClearFaults()
	s.current("app")
	if told := s.read("told"); told != "1\n2\n" {
		t.Errorf("told of %q, want of the first delivery and of that after the reboot", told)
	}
	p.stop()

	if err := s.lab.AddFault(awslab.Fault{Kind: awslab.Drop}); err != nil {
		t.Fatal(err)
	}
	copied := []byte(s.read("app.sealed"))
	copied[len(copied)-30] ^= 1
	s.write("app.sealed", string(copied))
	p = reboot()
	s.fails("app", "app.sealed: it is cut off, damaged or tampered with")
	if s.read("run/conf") != "" {
		t.Error("a copy that was tampered with was delivered")
	}
	s.lab.ClearFaults()
	s.current("app")
	p.stop()
	for _, name := range []string{"log", "app.sealed", "state/app.journal"} {
		if strings.Contains(s.read(name), "canary") {
			t.Errorf("%s holds a value", name)
		}
	}
}

func (s *scene) mkdir(name string) {
	s.t.Helper()
	if err := os.Mkdir(s.path(name), 0o700); err != nil {
		s.t.Fatal(err)
	}
}

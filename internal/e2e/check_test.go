package e2e

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"outrider/serve"
)

func TestCheckThatFailsLeavesEveryFile(t *testing.T) {
	t.Parallel()
	s := newScene(t, "")
	s.put("db", "good 1")
	s.script("check", `grep -q good "$1" && grep -q good "$2"`)
	s.configure(`
apps:
  billing:
    secrets: {db: {secret: db}}
    files:
      - {content: "first {{ .db }}", destination: first}
      - {content: "second {{ .db }}", destination: second}
    check: [DIR/check, '{{ staged "DIR/first" }}', '{{ staged "DIR/second" }}']
`)
	s.ready("billing")
	before := s.traces("first", "second")
	s.put("db", "bad")
	if _, err := s.outrider("refresh"); err == nil || !strings.Contains(err.Error(), "check: run "+s.path("check")+": exit status 1") {
		t.Errorf("refresh ended with %v, want the check named", err)
	}
	if app := s.fails("billing", "check: run "+s.path("check")); app.State != serve.Failing || app.Generation != 1 {
		t.Errorf("state %s, generation %d; want failing, 1", app.State, app.Generation)
	}
	if diff := cmp.Diff(s.traces("first", "second"), before); diff != "" {
		t.Errorf("files (-got +want):\n%s", diff)
	}
	s.put("db", "good 2")
	s.until("billing", "at its second generation", func(a serve.App) bool { return a.Generation == 2 })
	if got := s.read("first") + s.read("second"); got != "first good 2second good 2" {
		t.Error("what the check lets pass is not delivered")
	}
}

package e2e

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"outrider/serve"
)

// traces tells all that a reader could notice of files: which they are, how
// old they are, and what is in them.
func (s *scene) traces(names ...string) []string {
	s.t.Helper()
	var all []string
	for _, name := range names {
		info, err := os.Stat(s.path(name))
		if err != nil {
			all = append(all, name+" is not there")
			continue
		}
		text, _ := os.ReadFile(s.path(name)) // it may be a folder
		all = append(all, strings.Join([]string{name, info.ModTime().String(), info.Mode().String(), string(text)}, " "))
	}
	return all
}

// One file of three cannot be made: its template wants a field that the
// secret does not have.
func TestBrokenTemplateHoldsBackItsAppAndNoOther(t *testing.T) {
	t.Parallel()
	s := newScene(t, "")
	s.put("db", `{"user":"u0"}`)
	s.configure(`
apps:
  broken:
    secrets: {db: {secret: db}}
    files:
      - {content: "{{ .db.user }}\n", destination: first}
      - {content: "{{ .db.port }}\n", destination: second}
      - {content: "{{ .db.user }}\n", destination: third}
  other:
    secrets: {db: {secret: db}}
    files: [{content: "{{ .db.user }}\n", destination: other}]
`)
	s.start()
	s.do("wait", "other", "--timeout", patience.String())
	files := []string{"first", "second", "third"}
	stays := func(user string) {
		t.Helper()
		before := s.traces(files...)
		if !poll(t.Context(), 20*time.Millisecond, func() bool { return s.read("other") == user+"\n" }) {
			t.Fatal("the other app did not go on")
		}
		// An error that the app had before is not one about these values.
		_, _ = s.outrider("refresh", "broken")
		app := s.fails("broken", "port")
		want := map[string]bool{s.path("first"): false, s.path("second"): true, s.path("third"): false}
		got := map[string]bool{}
		for path, f := range app.Files {
			got[path] = f.Error != ""
		}
		if diff := cmp.Diff(got, want); diff != "" || app.State != serve.Failing {
			t.Errorf("state %s, files with an error (-got +want):\n%s", app.State, diff)
		}
		if diff := cmp.Diff(s.traces(files...), before); diff != "" {
			t.Errorf("files of the broken app (-got +want):\n%s", diff)
		}
	}
	delivered := func(user, port string) {
		t.Helper()
		s.current("broken")
		got := []string{s.read("first"), s.read("second"), s.read("third")}
		if diff := cmp.Diff(got, []string{user + "\n", port + "\n", user + "\n"}); diff != "" {
			t.Errorf("files of the mended app (-got +want):\n%s", diff)
		}
	}
	stays("u0")
	s.put("db", `{"user":"u1","port":"1"}`)
	s.until("broken", "at its first generation", func(a serve.App) bool { return a.Generation == 1 })
	delivered("u1", "1")
	s.put("db", `{"user":"u2"}`)
	stays("u2")
	s.put("db", `{"user":"u3","port":"3"}`)
	s.until("broken", "at its second generation", func(a serve.App) bool { return a.Generation == 2 })
	delivered("u3", "3")
}

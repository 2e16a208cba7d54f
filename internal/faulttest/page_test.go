package faulttest

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const page = "../../docs/faults.md"

// normal takes out of a text what differs from run to run.
func normal(text string) string {
	for _, r := range []struct {
		varies *regexp.Regexp
		stands string
	}{
		{regexp.MustCompile(`(127\.\d+\.\d+\.\d+|localhost)(:\d+)?`), "HOST"},
		{regexp.MustCompile(`HOST->HOST`), "HOST"},
		{regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`), "ID"},
	} {
		text = r.varies.ReplaceAllString(text, r.stands)
	}
	return text
}

// stable is the part of a row that every run shows alike.
func (o outcome) stable() string {
	log := "–"
	if o.log != "" {
		log = "`" + o.log + "`"
	}
	said := "–"
	if o.error != "" {
		said = strings.NewReplacer("|", `\|`, "<", `\<`, "\n", "<br>").Replace(o.error)
	}
	keeps := "keeps the old"
	if o.delivered {
		keeps = "gets the new"
	}
	state := o.state
	if o.delivered && state != "current" {
		state += ", then current"
	}
	return fmt.Sprintf("%s | %s | %s | %s", state, said, log, keeps)
}

func (o outcome) measured() string {
	pushed := "–"
	if o.pushed > 0 {
		pushed = seconds(o.pushed)
	}
	mended := "–"
	if !o.delivered {
		mended = seconds(o.mended)
	}
	return fmt.Sprintf("%d | %s | %s", o.calls, mended, pushed)
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// compare compares docs/faults.md with what the cells have shown, as far as
// they ran and as that is the same each time. With -update it writes it.
func compare(t *testing.T, seen map[string]outcome) {
	t.Helper()
	if *update {
		if err := os.WriteFile(page, []byte(document(seen)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range operations() {
		_, section, _ := strings.Cut(string(text), "\n## "+o.name+"\n")
		section, _, _ = strings.Cut(section, "\n## ")
		for _, f := range faults() {
			out, ran := seen[o.name+"/"+f.name]
			_, row, _ := strings.Cut(section, "\n| "+f.name+" | ")
			cells := strings.SplitN(row, " | ", 5)
			if len(cells) < 5 {
				cells = append(cells, make([]string, 5)...)
			}
			if got := strings.Join(cells[:4], " | "); ran && got != out.stable() {
				t.Errorf("%s, %s: the page -, the run + (go test ./internal/faulttest -update writes it):\n%s", o.name, f.name, cmp.Diff(got, out.stable()))
			}
		}
	}
}

const introduction = `<!-- Made by go test ./internal/faulttest -update. -->
# Faults

What each fault of AWS, and of the way to it, does to a running sidecar: what the operator sees, what the application keeps, what it costs, and
when all is well again. Each row was lived through twice: by the released program against the lab, over real connections, and for ten minutes of virtual time. The tests
compare all but the figures with this page, and assert of every cell that

- the application's file is not touched, down to its inode and times, until it gets the new value whole; no log line shows a value;
- ten minutes of the fault cost at most 200 calls to AWS in all, those that go well included;
- the change that came during the fault is in the file at most 90 s after its end: 1.5 times the ceiling of the back-off;
- with push, a change after the end is in the file within 5 s of it, within 15 s where a call still hangs, and within 90 s where
  sessions were refused: while each new one is, another is asked for ever more slowly;
- after that no error is left in status.

*App* is the state in ` + "`outrider status`" + ` when the fault first shows, *error* stands there and in the log, *first log line* is the first at WARN or ERROR. *Application* is what it has when a secret is
changed during the fault. *Calls* are those of ten minutes. *Fresh* is how long after the end the file holds that change, and *with push* another one made then. Host
names and ids are left out. A clock is stepped while the sidecar runs, but off from the start where there is a queue.

`

func document(seen map[string]outcome) string {
	var b strings.Builder
	b.WriteString(introduction + "| fault | is |\n|---|---|\n")
	for _, f := range faults() {
		fmt.Fprintf(&b, "| %s | %s |\n", f.name, f.what)
	}
	for _, o := range operations() {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| fault | app | error | first log line | application | calls | fresh | with push |\n|---|---|---|---|---|---|---|---|\n", o.name, o.how)
		for _, f := range faults() {
			if out, ran := seen[o.name+"/"+f.name]; ran {
				fmt.Fprintf(&b, "| %s | %s | %s |\n", f.name, out.stable(), out.measured())
			}
		}
	}
	b.WriteString("\n## What cannot be\n\n| operation | fault | because |\n|---|---|---|\n")
	for _, o := range operations() {
		for _, f := range faults() {
			if because := f.cannot[o.name]; because != "" {
				fmt.Fprintf(&b, "| %s | %s | %s |\n", o.name, f.name, because)
			}
		}
	}
	return b.String()
}

package localfault

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const page = "../../docs/local-faults.md"

// seen are the outcomes of a run: of a test, by the names of its rows.
type seen struct {
	mu  sync.Mutex
	row map[string]outcome
}

func (s *seen) note(name string, out outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.row == nil {
		s.row = map[string]outcome{}
	}
	s.row[generation.ReplaceAllString(name, "${1}N")] = out
}

// generation is the name of a folder in which something is staged.
var generation = regexp.MustCompile(`(\.outrider-[a-z-]+/)[0-9]+`)

// stable is the part of a row that every run shows alike.
func (o outcome) stable() string {
	dash := func(text string) string {
		if text == "" {
			return "–"
		}
		return generation.ReplaceAllString(strings.NewReplacer("|", `\|`, "<", `\<`, "\n", "<br>").Replace(text), "${1}N")
	}
	said := ""
	if o.log.Msg != "" {
		said = "`" + o.log.Level + " " + o.log.Msg + "`"
	}
	has := "keeps the old"
	switch {
	case o.gone:
		has = "does not see it"
	case o.new:
		has = "gets the new"
	}
	return strings.Join([]string{dash(o.state), dash(o.log.Error), dash(said), has}, " | ")
}

func (o outcome) measured() string {
	return fmt.Sprintf("%d | %s | %s", o.lines, seconds(o.cpu), seconds(o.mended))
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

const (
	callsTitle  = "\n## Every call of a delivery: "
	faultsTitle = "\n## Folders, limits and processes\n"
	columns     = " app | error | first log line | application |"
)

// compare compares a section of docs/local-faults.md with what a test has
// seen, as far as that is the same each time. With -update it writes it.
func compare(t *testing.T, title string, s *seen, section func() string) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil && !*update {
		t.Fatal(err)
	}
	if *update {
		text = replaced(text, title, section())
		if err := os.WriteFile(page, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	_, told, _ := strings.Cut(string(text), title)
	told, _, _ = strings.Cut(told, "\n## ")
	for _, name := range slices.Sorted(maps.Keys(s.row)) {
		if isRead(name) && !strings.Contains(told, "\n| "+name+" | ") {
			continue // of a look that came in between
		}
		want := "\n| " + name + " | " + s.row[name].stable() + " | "
		if !strings.Contains(told, want) {
			_, line, _ := strings.Cut(told, "\n| "+name+" | ")
			line, _, _ = strings.Cut(line, "\n")
			t.Errorf("%s%s: the page has\n%s\nand the run shows\n%s\n(go test ./internal/localfault -update writes it)", title, name, line, s.row[name].stable())
		}
	}
}

// isRead reports whether a row is of a call that changes nothing.
func isRead(name string) bool {
	does, _, _ := strings.Cut(name, " ")
	return does == "open" || does == "read" || does == "list"
}

// replaced puts a section in place of the one of that title, or after the
// others.
func replaced(text []byte, title, section string) []byte {
	_, sections, _ := strings.Cut(string(text), "\n## ")
	if sections != "" {
		sections = "\n## " + sections
	}
	before, rest, found := strings.Cut(sections, title)
	after := ""
	if found {
		if _, next, more := strings.Cut(rest, "\n## "); more {
			after = "\n## " + next
		}
	}
	return []byte(introduction + before + title + section + after)
}

func errorSection(errno unix.Errno, s *seen) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s: %s\n\n| call |%s well |\n|---|---|---|---|---|---|\n", unix.ErrnoName(errno), errno, columns)
	for _, name := range slices.Sorted(maps.Keys(s.row)) {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", name, s.row[name].stable(), seconds(s.row[name].mended))
	}
	return b.String()
}

func faultSection(s *seen) string {
	var b strings.Builder
	b.WriteString("\n| fault | is |\n|---|---|\n")
	for _, f := range faults() {
		fmt.Fprintf(&b, "| %s | %s |\n", f.name, f.what)
	}
	fmt.Fprintf(&b, "\n| fault |%s lines | CPU | well |\n|---|---|---|---|---|---|---|---|\n", columns)
	for _, f := range faults() {
		if out, ran := s.row[f.name]; ran {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", f.name, out.stable(), out.measured())
		}
	}
	return b.String()
}

const introduction = `<!-- Made by go test ./internal/localfault -update. -->
# Local faults

What each fault of its own machine does to a running sidecar: its disks, folders, limits and processes. [faults.md](faults.md) has those of AWS. Each row was lived through
by the released program. While it lasts the app's secret is changed (or the certificate, or a session is renewed), so that something is to be written. The tests compare all but the
figures with this page, and assert of every row that

- at each system call the sidecar makes, during the fault and while it mends itself, the file is whole: the old one, same inode and time, or the new one; never empty, never half;
- the sidecar lives on: one process goes through all rows of a folder, and ends with status 0;
- at most five lines at WARN or ERROR come of it, however long it lasts; none shows a value;
- all is well again by itself at most 100 s after its end, without restart or reload: what was due is delivered, told, and nothing is left in status. Back-offs end after 60 s.

*App* is its state in ` + "`outrider status`" + ` meanwhile, *error* and *first log line* what the log says first; status has it too, but for the audit log's. *Application* is what it has meanwhile. *Lines* are
those of a minute of it, *CPU* the sidecar's of that minute, *well* how long after the end all is. Folders are those of the test: ` + "`etc`" + ` is the destination's, ` + "`home`" + ` the credentials file's, ` + "`run`" + ` the
token's, ` + "`pki`" + ` the certificate's.

In the tables of calls the disk of one folder answers one call of a delivery, and every call that comes after it until the fault ends, with the error: for each call in turn. EIO strikes what
is read as well; ENOSPC only what takes room. A call that is made more than once has its number. A dash means that nothing has to be seen: what could not be written down can be found out
again, or is told twice after a crash.

What is not survived: a kernel that grants no thread at all ends any Go program, and the service manager starts it again. A state folder whose journal is open cannot be remounted
read-only by hand; where the kernel itself does that to a disk that fails, the rows of EROFS hold.
`

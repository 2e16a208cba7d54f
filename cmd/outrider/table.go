package main

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"outrider/serve"
)

// writeTable writes a status for a person.
func writeTable(out io.Writer, s serve.Status) error {
	t := newTable()
	ready := "ready"
	if !s.Ready {
		ready = "not ready"
	}
	_, _ = fmt.Fprintf(t, "outrider %s, %s\n", s.Version, ready)
	if len(s.Identities) > 0 {
		_, _ = fmt.Fprintln(t, "\nIDENTITY\tSUBJECT\tSERIAL\tKEY\tENDS\t")
	}
	for _, name := range slices.Sorted(maps.Keys(s.Identities)) {
		i := s.Identities[name]
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t\n", name, i.Subject, i.Serial, i.Key, ends(i.NotAfter))
		if i.Subject != "" {
			t.note(fmt.Sprintf("  issuer %s, serial %s in hex, key in %s%s", i.Issuer, i.SerialHex, i.Place, names(i.SAN)))
		}
		t.problem(i.Error)
	}
	if len(s.Roles) > 0 {
		_, _ = fmt.Fprintln(t, "\nROLE\tREGION\tSESSION\tENDS\t")
	}
	for _, name := range slices.Sorted(maps.Keys(s.Roles)) {
		r := s.Roles[name]
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t\n", name, r.Region, first(r.AccessKeyID, "none"), ends(r.Expires))
		t.problem(r.Error)
	}
	if len(s.Apps) > 0 {
		_, _ = fmt.Fprintln(t, "\nAPP\tSTATE\tGENERATION\tAGE\tFILES\tOWED\t")
	}
	for _, name := range slices.Sorted(maps.Keys(s.Apps)) {
		a := s.Apps[name]
		age := time.Duration(a.AgeSeconds * float64(time.Second)).Round(time.Second)
		_, _ = fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%d\t%s\t\n", name, a.State, a.Generation, age, len(a.Files), first(strings.Join(a.Owed, ", "), "-"))
		if len(a.Secrets) > 0 {
			t.note(looked(a))
		}
		t.problem(a.Error)
	}
	if q := s.Watch.Queue; q.URL != "" {
		heard := "none yet"
		if q.LastMessage != nil {
			heard = time.Since(*q.LastMessage).Round(time.Second).String() + " ago"
		}
		_, _ = fmt.Fprintf(t, "\nQUEUE\tSTATE\tLAST MESSAGE\t\n%s\t%s\t%s\t\n", q.URL, first(string(q.State), "starting"), heard)
		t.problem(q.Error)
	}
	return t.flush(out)
}

// table lays rows out in columns, and then puts the notes between them: a line
// without columns would end those above it.
type table struct {
	layout bytes.Buffer
	tabs   *tabwriter.Writer
	rows   int
	notes  map[int][]string // by the number of rows before them
}

func newTable() *table {
	t := &table{notes: map[int][]string{}}
	t.tabs = tabwriter.NewWriter(&t.layout, 0, 0, 2, ' ', 0)
	return t
}

// Write takes rows, their cells each ended by a tab.
func (t *table) Write(rows []byte) (int, error) {
	t.rows += bytes.Count(rows, []byte("\n"))
	return t.tabs.Write(rows)
}

func (t *table) note(line string) { t.notes[t.rows] = append(t.notes[t.rows], line) }

// problem notes what is wrong under the row it belongs to.
func (t *table) problem(text string) {
	if text == "" {
		return
	}
	for line := range strings.SplitSeq(text, "\n") {
		t.note("  ! " + line)
	}
}

func (t *table) flush(out io.Writer) error {
	_ = t.tabs.Flush() // a buffer takes everything
	var text strings.Builder
	rows := 0
	for row := range strings.Lines(t.layout.String()) {
		text.WriteString(strings.TrimRight(row, " \n") + "\n")
		rows++
		for _, line := range t.notes[rows] {
			text.WriteString(line + "\n")
		}
	}
	_, err := io.WriteString(out, text.String())
	return err
}

// looked says how changes of an app's secrets are noticed, how many by which
// rung, from where they came, and when they are looked at next.
func looked(a serve.App) string {
	rungs, regions := map[string]int{}, map[string]bool{}
	for _, s := range a.Secrets {
		rungs[s.Rung]++
		regions[first(s.Region, "nowhere yet")] = true
	}
	var counts []string
	for _, rung := range slices.Sorted(maps.Keys(rungs)) {
		counts = append(counts, fmt.Sprintf("%d by %s", rungs[rung], rung))
	}
	text := "  secrets " + strings.Join(counts, ", ") + " from " + strings.Join(slices.Sorted(maps.Keys(regions)), ", ")
	if a.Next != nil {
		text += ", next look in " + max(0, time.Until(*a.Next)).Round(time.Second).String()
	}
	return text
}

// names lists a certificate's alternative names, if it has any.
func names(san []string) string {
	if len(san) == 0 {
		return ""
	}
	return ", SAN " + strings.Join(san, " ")
}

// ends says how long something still holds.
func ends(at *time.Time) string {
	if at == nil {
		return "-"
	}
	left := time.Until(*at)
	switch {
	case left <= 0:
		return "ended " + at.Local().Format(time.DateTime)
	case left < 48*time.Hour:
		return "in " + left.Round(time.Second).String()
	default:
		return fmt.Sprintf("in %d days", int(left.Hours()/24))
	}
}

package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// fresh returns how long after the mark a share of the hosts had all that there
// is, and whether they had before the scene ended.
func (f *fleet) fresh(share float64) (after time.Duration, all bool) {
	at := f.arrivals()
	n := int(share * float64(len(f.hosts)-1))
	if n >= len(at) {
		return f.length - f.mark(), false
	}
	return at[n] - f.mark(), true
}

// arrivals returns when the hosts were fresh, in order.
func (f *fleet) arrivals() []time.Duration {
	var at []time.Duration
	for i := range f.hosts {
		if h := &f.hosts[i]; h.fresh > 0 {
			at = append(at, h.fresh)
		}
	}
	slices.Sort(at)
	return at
}

// lapsed returns how many hosts were without a session after their first one.
func (f *fleet) lapsed() int {
	n := 0
	for i := range f.hosts {
		if f.hosts[i].lapsed {
			n++
		}
	}
	return n
}

// steady reports whether nothing happens that hosts could be late for.
func (s scene) steady() bool { return !s.cold && s.mark() == 0 }

// row is the scene in the document's table.
func (f *fleet) row() string {
	cells := []string{f.name}
	for o := range operation(operations) {
		cell := "–"
		if most := f.account.busiest(o); most > 0 {
			cell = thousands(most)
		}
		if missed := f.account.missed[o]; missed > 0 {
			cell += " (" + thousands(missed) + ")"
		}
		cells = append(cells, cell)
	}
	times := []string{}
	for _, share := range []float64{0.5, 0.99, 1} {
		after, all := f.fresh(share)
		text := after.Round(time.Second).String()
		if !all {
			text = "> " + text
		}
		times = append(times, text)
	}
	if f.steady() {
		times = []string{"–"}
	}
	cells = append(cells, strings.Join(times, ", "), thousands(f.lapsed()))
	return "| " + strings.Join(cells, " | ") + " |\n"
}

// table is what became of a fleet of one size.
func table(fleets []*fleet) string {
	var b strings.Builder
	b.WriteString("| |")
	for o := range operation(operations) {
		fmt.Fprintf(&b, " %v, %s/s |", o, thousands(int(fleets[0].rates[o])))
	}
	b.WriteString(" half, 99 %, all fresh after | hosts that lost their session |\n|---|" + strings.Repeat("---|", operations+2) + "\n")
	for _, f := range fleets {
		b.WriteString(f.row())
	}
	return b.String()
}

// between cuts the text at the marks that enclose what a size's run has written.
func (s size) between(text string) (before, within, after string, err error) {
	opening, closing := fmt.Sprintf("<!-- %v -->\n", s), fmt.Sprintf("<!-- /%v -->\n", s)
	before, rest, opened := strings.Cut(text, opening)
	within, after, closed := strings.Cut(rest, closing)
	if !opened || !closed {
		return "", "", "", fmt.Errorf("it lacks %q or %q", opening, closing)
	}
	return before + opening, within, closing + after, nil
}

// write puts a size's outcome into the document between its marks.
func (s size) write(path, outcome string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, _, after, err := s.between(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, []byte(before+outcome+after), 0o644) //nolint:gosec // a document for everybody
}

// thousands writes a number with commas.
func thousands(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}

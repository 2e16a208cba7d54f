package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// report is the outcome of everything.
type report struct {
	settings
	machine
	starts []start
	moves  sample
	pushes sample // moves with push
	hours  []hourly
	rests  []*rest
}

// sample is one measurement, taken several times.
type sample []time.Duration

// at returns the duration that a share of the sample does not exceed.
func (s sample) at(share float64) time.Duration {
	sorted := slices.Sorted(slices.Values(s))
	return sorted[min(int(share*float64(len(sorted))), len(sorted)-1)]
}

func (s sample) median() time.Duration { return s.at(0.5) }

// spread is the median, and the least and the most in brackets.
func (s sample) spread() string {
	return fmt.Sprintf("%s (%s to %s)", milliseconds(s.median()), milliseconds(s.at(0)), milliseconds(s.at(1)))
}

// latest is the last run in full.
func (r *report) latest() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s. %v.\n\n", r.date, r.version, r.machine)
	fmt.Fprintf(&b, "Medians of %d, with the least and the most, in ms:\n\n", r.runs)
	b.WriteString("| cold start | budget | outrider | bare floor | calls to AWS (at most) |\n|---|---|---|---|---|\n")
	for _, s := range r.starts {
		fmt.Fprintf(&b, "| %v | %s | %s | %s | %d (%d) |\n", s.shape, milliseconds(s.budget), s.sidecar.spread(), s.floor.spread(), s.calls, s.bound())
	}
	b.WriteString("\n| | budget | |\n|---|---|---|\n")
	for _, t := range r.rests {
		fmt.Fprintf(&b, "| RssAnon, %v: after the start, and %g min later | < 12 MiB | %s, %s MiB |\n",
			t.shape, r.idle.Minutes(), mebibytes(t.memory), mebibytes(t.later))
	}
	for _, t := range r.rests {
		fmt.Fprintf(&b, "| processor time, %v: over %g min of idling | < 20 ms a minute | %s ms a minute |\n", t.shape, r.idle.Minutes(), milliseconds(t.used))
	}
	fmt.Fprintf(&b, "| label moved to program has re-read, looking every second, %d times: p50, p99 | | %s, %s ms |\n",
		len(r.moves), milliseconds(r.moves.median()), milliseconds(r.moves.at(0.99)))
	fmt.Fprintf(&b, "| label moved to program has re-read, push and default settings, %d times: p50, p99 | < 25, 100 ms | %s, %s ms |\n",
		len(r.pushes), milliseconds(r.pushes.median()), milliseconds(r.pushes.at(0.99)))
	fmt.Fprintf(&b, "| binary, stripped | < 24 MiB | %s MiB |\n", mebibytes(r.size))
	b.WriteString(r.hourlyTable())
	return b.String()
}

// row is the run in the history.
func (r *report) row() string {
	cells := []string{r.date, r.version}
	for _, apps := range []bool{false, true} {
		var times, floors []string
		for _, s := range r.starts {
			if s.apps == apps || s.secrets == 1 {
				times = append(times, milliseconds(s.sidecar.median()))
				floors = append(floors, milliseconds(s.floor.median()))
			}
		}
		cells = append(cells, strings.Join(times, " / "), strings.Join(floors, " / "))
	}
	var memory, idle []string
	for _, t := range r.rests {
		memory = append(memory, mebibytes(max(t.memory, t.later)))
		idle = append(idle, milliseconds(t.used))
	}
	cells = append(cells, strings.Join(memory, " / "), strings.Join(idle, " / "),
		milliseconds(r.moves.median())+" / "+milliseconds(r.moves.at(0.99))+", "+milliseconds(r.pushes.median())+" / "+milliseconds(r.pushes.at(0.99)),
		mebibytes(r.size))
	return "| " + strings.Join(cells, " | ") + " |\n"
}

// write puts the run into the document: between two marks in full, and into
// the history, the table of ten columns after them, where it takes the place
// of another run of the same version.
func (r *report) write(path string) error {
	const opening, closing, history = "<!-- latest -->\n", "<!-- /latest -->\n", "|---|---|---|---|---|---|---|---|---|---|\n"
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	head, rest, opened := strings.Cut(string(text), opening)
	_, rest, closed := strings.Cut(rest, closing)
	middle, rows, marked := strings.Cut(rest, history)
	if !opened || !closed || !marked {
		return fmt.Errorf("%s: lacks one of %q, %q, %q", path, opening, closing, history)
	}
	var kept strings.Builder
	for line := range strings.Lines(rows) {
		if !strings.Contains(line, "| "+r.version+" |") {
			kept.WriteString(line)
		}
	}
	return os.WriteFile(path, []byte(head+opening+r.latest()+closing+middle+history+r.row()+kept.String()), 0o644) //nolint:gosec // a document for everybody
}

func milliseconds(d time.Duration) string {
	ms := d.Seconds() * 1000
	if ms < 100 {
		return fmt.Sprintf("%.1f", ms)
	}
	return fmt.Sprintf("%.0f", ms)
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f", float64(n)/(1<<20)) }

func thousands(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%d,%03d", n/1000, n%1000)
}

package main

import (
	"fmt"
	"os"
	"strings"
)

// latest is the load in full.
func (l *load) latest() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s. %v.\n\n", l.date, l.version, l.machine)
	fmt.Fprintf(&b, "%s secrets, %d apps and as many programs, %s files; times in ms:\n\n", thousands(l.apps*each), l.apps, thousands(l.apps*each))
	b.WriteString("| every secret rotated once | label moved to files: p50, p99, most | label moved to program has re-read | generations told | processor time, s | RssAnon at most, MiB |\n|---|---|---|---|---|---|\n")
	for _, p := range l.passages {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %.1f | %s |\n", p.name, p.filed.three(), p.told.three(), thousands(p.notices), p.used.Seconds(), mebibytes(p.peak))
	}
	operations := []string{"GetSecretValue", "BatchGetSecretValue", "DescribeSecret", "ReceiveMessage", "DeleteMessageBatch"}
	fmt.Fprintf(&b, "\n| calls | %s | throttled |\n|---|%s---|\n", strings.Join(operations, " | "), strings.Repeat("---|", len(operations)))
	for _, p := range l.passages {
		fmt.Fprintf(&b, "| %s |", p.name)
		for _, o := range operations {
			fmt.Fprintf(&b, " %s |", thousands(p.calls["secretsmanager."+o]+p.calls["sqs."+o]))
		}
		fmt.Fprintf(&b, " %d |\n", p.throttled)
	}
	fmt.Fprintf(&b, "\nIn %v of quiet after the first two, with push: %s ms of processor time a minute, RssAnon %s MiB. VmHWM over all that was push: %s MiB.\n",
		l.span, milliseconds(l.quiet.used), mebibytes(l.quiet.later), mebibytes(l.mark))
	b.WriteString(l.clientTable())
	return b.String()
}

func (l *load) clientTable() string {
	var b strings.Builder
	size := 0
	for _, a := range l.crowd {
		size += a.clients
	}
	fmt.Fprintf(&b, "\n%s clients with an open connection each took RssAnon from %s to %s MiB, and %s descriptors; times in ms:\n\n",
		thousands(size), mebibytes(l.alone), mebibytes(l.gathered), thousands(l.descriptors))
	b.WriteString("| clients of | how many | answers a second | p50, p99, most | errors | without a pause: answers a second | p50, p99, most | errors |\n|---|---|---|---|---|---|---|---|\n")
	for i, a := range l.crowd {
		fmt.Fprintf(&b, "| %s | %s | %s |", a.name, thousands(a.clients), a)
		if i < len(l.rush) {
			fmt.Fprintf(&b, " %s |\n", l.rush[i])
		} else {
			b.WriteString(" | | |\n")
		}
	}
	if l.waits > 0 {
		fmt.Fprintf(&b, "\nWhere %s clients of the container endpoint stay connected and ask for nothing more, the next one has its answer in %s ms.\n",
			thousands(l.full), milliseconds(l.waits))
	}
	return b.String()
}

// String is the part of a row that was measured.
func (a audience) String() string {
	return fmt.Sprintf("%s | %s | %d", thousands(int(float64(len(a.took))/a.over.Seconds())), a.took.three(), len(a.errs))
}

// three is what most, nearly all, and all of the sample do not exceed.
func (s sample) three() string {
	if len(s) == 0 {
		return "none"
	}
	return fmt.Sprintf("%s, %s, %s", milliseconds(s.median()), milliseconds(s.at(0.99)), milliseconds(s.at(1)))
}

// write puts the load into the document, between two marks.
func (l *load) write(path string) error {
	const opening, closing = "<!-- load -->\n", "<!-- /load -->\n"
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	head, rest, opened := strings.Cut(string(text), opening)
	_, tail, closed := strings.Cut(rest, closing)
	if !opened || !closed {
		return fmt.Errorf("%s: lacks one of %q, %q", path, opening, closing)
	}
	return os.WriteFile(path, []byte(head+opening+l.latest()+closing+tail), 0o644) //nolint:gosec // a document for everybody
}

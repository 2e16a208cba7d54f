package main

import (
	"io"
	"regexp"
	"strings"
)

// What a terminal is told for the colours (ECMA-48, SGR).
const (
	plain  = "\x1b[0m"
	bold   = "\x1b[1m"
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
)

// coloured reports whether what is written there may have colours: on a
// terminal, unless the environment refuses them (https://no-color.org).
func (o *options) coloured(out io.Writer) bool { return o.getenv("NO_COLOR") == "" && terminal(out) }

// row matches the row of an app or of the queue: its name, its state, the rest.
var row = regexp.MustCompile(`^(\S+ +)(current|receiving|starting|stale|failing|set_aside)( .*)$`)

// paint colours the lines of a table, whose columns stand already.
func paint(table string) string {
	var out strings.Builder
	for line := range strings.Lines(table) {
		text := strings.TrimSuffix(line, "\n")
		end := line[len(text):]
		switch {
		case strings.HasPrefix(text, "  ! "), strings.HasSuffix(text, ", not ready"), strings.Contains(text, " ended "):
			text = red + text + plain
		case strings.HasPrefix(text, "outrider "), text != "" && text == strings.ToUpper(text):
			text = bold + text + plain
		default:
			if m := row.FindStringSubmatch(text); m != nil {
				text = m[1] + colourOf(m[2]) + m[2] + plain + m[3]
			}
		}
		out.WriteString(text + end)
	}
	return out.String()
}

func colourOf(state string) string {
	switch state {
	case "current", "receiving":
		return green
	case "starting":
		return yellow
	}
	return red
}

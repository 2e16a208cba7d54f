package main

import (
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
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
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
			_, _ = fmt.Fprintf(t, "  issuer %s, serial %s in hex, key in %s%s\n", i.Issuer, i.SerialHex, i.Place, names(i.SAN))
		}
		problem(t, i.Error)
	}
	if len(s.Roles) > 0 {
		_, _ = fmt.Fprintln(t, "\nROLE\tREGION\tSESSION\tENDS\t")
	}
	for _, name := range slices.Sorted(maps.Keys(s.Roles)) {
		r := s.Roles[name]
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t\n", name, r.Region, first(r.AccessKeyID, "none"), ends(r.Expires))
		problem(t, r.Error)
	}
	if len(s.Apps) > 0 {
		_, _ = fmt.Fprintln(t, "\nAPP\tSTATE\tGENERATION\tAGE\tFILES\tOWED\t")
	}
	for _, name := range slices.Sorted(maps.Keys(s.Apps)) {
		a := s.Apps[name]
		age := time.Duration(a.AgeSeconds * float64(time.Second)).Round(time.Second)
		_, _ = fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%d\t%s\t\n", name, a.State, a.Generation, age, len(a.Files), first(strings.Join(a.Owed, ", "), "-"))
		problem(t, a.Error)
	}
	return t.Flush()
}

// problem writes what is wrong under the row it belongs to.
func problem(t io.Writer, text string) {
	if text == "" {
		return
	}
	for line := range strings.SplitSeq(text, "\n") {
		_, _ = fmt.Fprintf(t, "  ! %s\n", line)
	}
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

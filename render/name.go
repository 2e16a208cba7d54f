package render

import (
	"iter"
	"slices"
	"strconv"
	"strings"
)

// quoted returns a name as errors show it: in quotation marks unless it is
// plain.
func quoted(name string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./"
	if name != "" && strings.Trim(name, plain) == "" {
		return name
	}
	return strconv.Quote(name)
}

// listed returns names in one line.
func listed(names []string) string {
	const most = 20
	if len(names) == 0 {
		return "nothing"
	}
	var out []string
	for _, n := range names[:min(len(names), most)] {
		out = append(out, quoted(n))
	}
	if len(names) > most {
		out = append(out, "…")
	}
	return strings.Join(out, ", ")
}

// suggestion returns "; did you mean …?" with the nearest of the names, or
// nothing if none is near.
func suggestion(name string, names iter.Seq[string]) string {
	best, least := "", min(max(1, len(name)/2), 2)+1
	for _, n := range slices.Sorted(names) {
		if d := distance(strings.ToLower(name), strings.ToLower(n)); d < least && n != "" {
			best, least = n, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + quoted(best) + "?"
}

// distance is the number of letters to insert, remove or replace to get from
// a to b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

package config

import (
	"slices"
	"strings"
)

// didYouMean returns "; did you mean x?" for the candidate nearest to word,
// or the candidates themselves when none is near.
func didYouMean(word string, candidates []string) string {
	if near := nearest(word, candidates); near != "" {
		return "; did you mean " + near + "?"
	}
	return "; known here: " + strings.Join(slices.Sorted(slices.Values(candidates)), ", ")
}

// nearest returns the candidate that is so near to word that it may be what
// was meant, or nothing.
func nearest(word string, candidates []string) string {
	best, least := "", min(len(word), 1+max(1, len(word)/3))
	for _, c := range candidates {
		d := distance(word, c)
		if len(word) > 2 && (strings.HasPrefix(c, word) || strings.HasPrefix(word, c)) {
			d = min(d, 1)
		}
		if d < least {
			best, least = c, d
		}
	}
	return best
}

// distance counts the letters to insert, delete, replace or swap with their
// neighbour to make b from a (optimal string alignment).
func distance(a, b string) int {
	var before []int // the row before the last one
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			replace := last[j]
			if a[i] != b[j] {
				replace++
			}
			row[j+1] = min(row[j]+1, last[j+1]+1, replace)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}

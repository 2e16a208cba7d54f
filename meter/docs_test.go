package meter

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestEveryMetricStandsInOperations(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{} // labels by metric
	for _, m := range regexp.MustCompile("(?m)^\\| `(outrider_[a-z_]+)` \\| ([a-z, ]*) ?\\|").FindAllStringSubmatch(string(page), -1) {
		rows[m[1]] = strings.TrimSpace(m[2])
	}
	families, err := used(t).registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "outrider_") {
			continue
		}
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		told, ok := rows[f.GetName()]
		want := strings.Split(told, ", ")
		if told == "" {
			want = nil
		}
		slices.Sort(want)
		if !ok || !slices.Equal(labels, want) {
			t.Errorf("%s has the labels %q; docs/operations.md says %q (row: %v)", f.GetName(), labels, told, ok)
		}
		delete(rows, f.GetName())
	}
	for name := range rows {
		t.Errorf("docs/operations.md has %s, which is not served", name)
	}
}

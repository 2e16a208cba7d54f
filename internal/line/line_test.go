package line

import (
	"strings"
	"testing"
)

func TestOfIsOneLine(t *testing.T) {
	for s, want := range map[string]string{
		"":                        "",
		"not authorized":          "not authorized",
		" a\r\nb\t":               "a  b",
		"\x1b[31mred\x07":         "[31mred",
		"a\u202eb\xffc":           "a b\ufffdc",
		strings.Repeat("ü", 1000): strings.Repeat("ü", 600) + "…",
	} {
		if got := Of(s); got != want {
			t.Errorf("Of(%q) = %q, want %q", s, got, want)
		}
	}
}

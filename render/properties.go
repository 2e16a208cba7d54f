package render

import (
	"fmt"
	"strings"
	"unicode/utf16"
)

// properties is what java.util.Properties.load reads.
func properties() *grammar {
	l := lines{comments: "#!", assign: "=:", spaced: true, flags: true, escapes: "kb", joined: true, unicode: true}
	return &grammar{
		start:  l.start(),
		step:   l.step,
		insert: l.insert,
		escape: func(_ spot, v insertion) (string, error) { return propertiesText(v.text) },
		check: func(result []byte) error {
			return l.check(result, func(mode, string) string { return "" })
		},
	}
}

// propertiesText writes ASCII alone: Java takes the bytes of a file for
// Latin-1 or for UTF-8, depending on who opens it.
func propertiesText(text string) (string, error) {
	var b strings.Builder
	leading := true
	for _, r := range text {
		switch {
		case strings.ContainsRune(`\=:#!`, r), r == ' ' && leading:
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r >= ' ' && r <= '~':
			b.WriteRune(r)
		default:
			for _, unit := range utf16.AppendRune(nil, r) {
				fmt.Fprintf(&b, `\u%04X`, unit)
			}
		}
		leading = leading && r == ' '
	}
	return b.String(), checkText(text, Properties)
}

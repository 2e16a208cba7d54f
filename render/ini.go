package render

import (
	"strings"
	"unicode"
)

// ini is what Python's configparser reads by default, interpolation included.
func ini() *grammar {
	l := lines{comments: "#;", assign: "=:", sections: "[", indents: true, percent: true}
	return &grammar{
		start:  l.start(),
		step:   l.step,
		insert: l.insert,
		escape: func(_ spot, v insertion) (string, error) { return iniText(v.text) },
		check:  func(result []byte) error { return l.check(result, judgeINI()) },
	}
}

func iniText(text string) (string, error) {
	switch {
	case strings.ContainsAny(text, "\n\r"):
		return "", cannotCarry("a line break", INI)
	case strings.TrimFunc(text, isStripped) != text:
		return "", cannotCarry("white space at its beginning or end", INI)
	}
	return strings.ReplaceAll(text, "%", "%%"), checkText(text, INI)
}

// isStripped reports whether Python's str.strip removes r.
func isStripped(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }

// judgeINI finds what configparser refuses of keys and sections.
func judgeINI() func(m mode, text string) string {
	section, seen := "", map[string]bool{}
	return func(m mode, text string) string {
		switch {
		case m == inKey && section == "":
			return "a value stands before the first [section]"
		case m == inKey:
			text = section + strings.ToLower(text)
		case !strings.Contains(text, "]"):
			return "] is missing"
		default:
			section = text
		}
		if seen[text] {
			return "this key or section is there already"
		}
		seen[text] = true
		return ""
	}
}

package render

import (
	"bytes"
	"strings"
)

// maxMyCnf is the longest line that MySQL and MariaDB read, without its end.
const maxMyCnf = 4094

// myCnf is what the programs of MySQL and MariaDB read as an option file.
func myCnf() *grammar {
	l := lines{comments: "#;", assign: "=", flags: true, sections: "[!", escapes: "bsd", quotes: true, inner: true, pieces: true, notes: anyNotes}
	return &grammar{
		start:  l.start(),
		step:   l.step,
		insert: l.insert,
		escape: myCnfText,
		check:  func(result []byte) error { return checkMyCnf(l, result) },
	}
}

func myCnfText(p spot, v insertion) (string, error) {
	if strings.Contains(v.text, "\x00") {
		return "", cannotCarry("a NUL", MyCnf)
	}
	quoted := func(mark string) string {
		return strings.ReplaceAll(strings.ReplaceAll(backslashed(v.text, `\`+mark), "\n", `\n`), "\r", `\r`)
	}
	switch {
	case p == single:
		return quoted("'"), nil
	case p == double:
		return quoted(`"`), nil
	case isPlain(v.text):
		return v.text, nil
	}
	return `"` + quoted(`"`) + `"`, nil
}

func checkMyCnf(l lines, result []byte) error {
	group := false
	if err := l.check(result, func(m mode, text string) string {
		switch {
		case m == inKey && !group:
			return "an option stands before the first [group]"
		case m == inName && strings.HasPrefix(text, "["):
			group = true
			if !strings.Contains(text, "]") {
				return "] is missing"
			}
		}
		return ""
	}); err != nil {
		return err
	}
	n := 0
	for text := range bytes.Lines(result) {
		if n++; len(bytes.TrimSuffix(text, []byte("\n"))) > maxMyCnf {
			return faultf("line %d: it is longer than %d bytes, the most that MySQL and MariaDB read", n, maxMyCnf)
		}
	}
	return nil
}

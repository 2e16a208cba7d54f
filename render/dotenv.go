package render

import "strings"

// dotenv is what Docker Compose reads.
func dotenv() *grammar {
	l := lines{comments: "#", assign: "=", escapes: "sd", quotes: true, several: true, joined: true, dollar: true, notes: spaceNotes}
	return &grammar{
		start:  l.start(),
		step:   l.step,
		insert: l.insert,
		escape: dotenvText,
		check:  func(result []byte) error { return l.check(result, judgeVariable) },
	}
}

// dotenvText writes a bare value as the most readers of such files take it
// alike: as it is, then between single quotation marks, where no reader
// expands anything, and only then between double ones.
func dotenvText(p spot, v insertion) (string, error) {
	text := v.text
	if err := checkText(text, Dotenv); err != nil {
		return "", err
	}
	if strings.Contains(text, "\x00") {
		return "", cannotCarry("a NUL", Dotenv)
	}
	inDouble := strings.ReplaceAll(backslashed(text, `\"$`), "\r", `\r`)
	trouble := ""
	switch {
	case strings.Contains(text, "'"):
		trouble = "a single quotation mark"
	case strings.Contains(text, "\r"):
		trouble = "a carriage return"
	case strings.HasSuffix(text, `\`):
		trouble = "a backslash at its end"
	}
	switch {
	case p == double:
		return inDouble, nil
	case p == single && trouble != "":
		return "", cannotQuote(trouble, Dotenv)
	case p == single, isPlain(text) && text != "": // a # after nothing would be the value
		return text, nil
	case trouble == "":
		return "'" + text + "'", nil
	}
	return `"` + inDouble + `"`, nil
}

// judgeVariable finds what is no name of a variable.
func judgeVariable(_ mode, name string) string {
	name = strings.TrimSpace(strings.TrimPrefix(name, "export "))
	if name == "" || strings.Trim(name, letters+digits+"_.-") != "" {
		return "what stands before = is not the name of a variable"
	}
	return ""
}

package render

import "strings"

// systemdEnvironment is what systemd reads for EnvironmentFile=, as
// systemd.exec(5) documents it.
func systemdEnvironment() *grammar {
	l := lines{comments: "#;", assign: "=", escapes: "bdc", joined: true, quotes: true, several: true}
	return &grammar{
		start:  l.start(),
		step:   l.step,
		insert: l.insert,
		escape: systemdText,
		check:  func(result []byte) error { return l.check(result, judgeEnvironment) },
	}
}

func systemdText(p spot, v insertion) (string, error) {
	if err := checkText(v.text, SystemdEnvironment); err != nil {
		return "", err
	}
	for _, r := range v.text {
		switch {
		case r == '\n', r == '\t':
		case r < ' ', r >= 0x7f && r < 0xa0: // before systemd 248 the variable would be left out
			return "", cannotCarry("a control character", SystemdEnvironment)
		case r == '\ufeff', r&0xfffe == 0xfffe, r >= 0xfdd0 && r <= 0xfdef:
			return "", cannotCarry("a byte order mark or what is no character of Unicode", SystemdEnvironment)
		}
	}
	quote := strings.Contains(v.text, "'")
	switch {
	case p == double:
		return backslashed(v.text, "\\\"`$"), nil
	case p == single && quote:
		return "", cannotQuote("a single quotation mark", SystemdEnvironment)
	case p == single, isPlain(v.text):
		return v.text, nil
	case !quote:
		return "'" + v.text + "'", nil
	}
	return `"` + backslashed(v.text, "\\\"`$") + `"`, nil
}

// judgeEnvironment finds what systemd would silently leave out.
func judgeEnvironment(_ mode, name string) string {
	if name == "" || strings.Trim(name, letters+digits+"_") != "" || strings.IndexByte(digits, name[0]) >= 0 {
		return "what stands before = is not the name of a variable"
	}
	return ""
}

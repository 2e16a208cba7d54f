package render

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits  = "0123456789"
)

// isBlank reports whether c is white space that ends no line. A carriage
// return belongs to the line break after it.
func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' }

// isNameByte reports whether c may be in the name of a variable.
func isNameByte(c byte) bool { return strings.IndexByte(letters+digits+"_", c) >= 0 }

// isPlain reports whether text means itself without quotation marks in all
// formats that have them.
func isPlain(text string) bool {
	return strings.Trim(text, letters+digits+"_-./:@%+,") == ""
}

// backslashed returns text with a backslash before each of the special
// characters.
func backslashed(text, special string) string {
	var b strings.Builder
	for i := range len(text) {
		if strings.IndexByte(special, text[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(text[i])
	}
	return b.String()
}

// doubleQuoted returns text as it stands between double quotation marks in
// JSON, YAML and TOML alike. What one of them does not allow as it is, or
// takes for a line break, is escaped for all.
func doubleQuoted(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch r {
		case '"', '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case '\n':
			b.WriteString(`\n`)
		case '\r':
			b.WriteString(`\r`)
		case '\t':
			b.WriteString(`\t`)
		default:
			if isUnsafe(r) {
				fmt.Fprintf(&b, `\u%04x`, r)
			} else {
				b.WriteRune(r)
			}
		}
	}
	return b.String()
}

// isUnsafe reports whether YAML, the strictest, wants r escaped.
func isUnsafe(r rune) bool {
	switch {
	case r < ' ', r >= 0x7f && r < 0xa0, r == '\u2028', r == '\u2029', r == '\ufeff', r == '\ufffe', r == '\uffff':
		return true
	}
	return false
}

// cannotCarry is the fault of a value that a format has no way to write. What
// it holds is told by its kind alone.
func cannotCarry(what string, f Format) error {
	return faultf("holds %s, which %s cannot carry", what, f)
}

// cannotQuote is the fault of a value that cannot stand between single
// quotation marks.
func cannotQuote(what string, f Format) error {
	return faultf("holds %s, which cannot stand between single quotation marks in %s: take these out of the template, or write double ones", what, f)
}

// checkText checks that text is UTF-8.
func checkText(text string, f Format) error {
	if !utf8.ValidString(text) {
		return faultf("is not UTF-8 text, as %s is: use base64Encode", f)
	}
	return nil
}

// checkLine checks that text has neither line breaks nor NUL.
func checkLine(text string, f Format) error {
	switch {
	case strings.ContainsAny(text, "\n\r"):
		return cannotCarry("a line break", f)
	case strings.Contains(text, "\x00"):
		return cannotCarry("a NUL", f)
	}
	return nil
}

// checkSingle checks that text means itself between the single quotation
// marks of YAML and TOML.
func checkSingle(text, refused string, f Format) error {
	for _, r := range text {
		switch {
		case r == '\n' || r == '\r':
			return cannotQuote("a line break", f)
		case isUnsafe(r) && r != '\t':
			return cannotQuote("a control character", f)
		case strings.ContainsRune(refused, r):
			return cannotQuote("a single quotation mark", f)
		}
	}
	return checkText(text, f)
}

// safeJSON returns JSON that YAML and TOML read alike: what they do not allow
// as it is can only stand in its strings.
func safeJSON(text string) string {
	var b strings.Builder
	for _, r := range text {
		if isUnsafe(r) && r >= 0x7f {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

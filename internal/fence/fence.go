// Package fence reads the fenced blocks of a Markdown page, for the tests of the documentation.
package fence

import "strings"

// Block is one fenced block.
type Block struct {
	Line     int    // of its first line of text, from 1
	Language string // the word behind the fence; empty: none
	Mark     string // the text of a comment on the line before the fence; empty: none
	Text     string
}

// Blocks returns the fenced blocks of a page in order. One in a list loses the
// indentation of its fence.
func Blocks(page string) []Block {
	var (
		all    []Block
		open   *Block
		indent string
		mark   string
	)
	for i, line := range strings.Split(page, "\n") {
		bare := strings.TrimSpace(line)
		language, fence := strings.CutPrefix(bare, "```")
		switch {
		case open != nil && bare == "```":
			all = append(all, *open)
			open = nil
		case open != nil:
			open.Text += strings.TrimPrefix(line, indent) + "\n"
		case fence:
			open = &Block{Line: i + 2, Language: language, Mark: mark}
			indent = line[:strings.Index(line, "```")]
		}
		mark = comment(bare)
	}
	return all
}

// comment returns the text of a line that is one comment.
func comment(line string) string {
	inside, ok := strings.CutPrefix(line, "<!--")
	if !ok {
		return ""
	}
	inside, ok = strings.CutSuffix(inside, "-->")
	if !ok {
		return ""
	}
	return strings.TrimSpace(inside)
}

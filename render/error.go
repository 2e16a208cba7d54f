package render

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Error is one mistake in a template, or the one reason why it could not be
// executed. It never holds the value of a secret: names of fields are the
// most it says about one.
type Error struct {
	Source   string // the name that Parse was given
	Line     int    // from 1; 0 when it is the result as a whole that is wrong
	Column   int    // from 1, in characters
	Function string // the function that failed; empty when it was none
	Message  string // what kind of failure it is, and the remedy where there is one
}

// Error returns source:line:column, the function and the message.
func (e *Error) Error() string {
	message := e.Message
	if e.Function != "" {
		message = e.Function + ": " + message
	}
	if e.Line == 0 {
		return e.Source + ": " + message
	}
	return fmt.Sprintf("%s:%d:%d: %s", e.Source, e.Line, e.Column, message)
}

// fault is an error whose text is known to hold no value. The text of every
// other error is thrown away: libraries like to quote their input.
type fault string

// Error returns the text.
func (f fault) Error() string { return string(f) }

// faultf makes a fault. Its arguments are names, words and counts, never
// values.
func faultf(format string, args ...any) error {
	return fault(fmt.Sprintf(format, args...))
}

// errArguments stands for every error and panic that is not a fault.
const errArguments = fault("it cannot work with these arguments")

// failure makes the Error for err at a place in the text.
func (t *Template) failure(pos int, function string, err error) *Error {
	if known, ok := errors.AsType[*Error](err); ok {
		return known
	}
	message, ok := errors.AsType[fault](err)
	if !ok {
		message = errArguments
	}
	line, column := place(t.text, pos)
	return &Error{Source: t.source, Line: line, Column: column, Function: function, Message: string(message)}
}

// place returns the line and the column of the byte at pos.
func place(text string, pos int) (line, column int) {
	before := text[:min(max(pos, 0), len(text))]
	start := strings.LastIndexByte(before, '\n') + 1
	return 1 + strings.Count(before, "\n"), 1 + utf8.RuneCountInString(before[start:])
}

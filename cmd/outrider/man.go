//go:build man

// Command outrider, in this build, writes its manual pages.
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra/doc"
)

// main writes a page for each command into the folder that is its argument,
// dated by SOURCE_DATE_EPOCH.
func main() {
	if err := writeManual(os.Args[len(os.Args)-1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(exitFailed)
	}
}

func writeManual(dir string) error {
	seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err != nil {
		return fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	root := newRoot(streams{in: os.Stdin, out: os.Stdout, err: os.Stderr, getenv: os.Getenv})
	root.DisableAutoGenTag = true
	date := time.Unix(seconds, 0).UTC()
	return doc.GenManTree(root, &doc.GenManHeader{Section: "1", Source: "outrider", Manual: "outrider", Date: &date}, dir)
}

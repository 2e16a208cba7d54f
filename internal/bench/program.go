package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// pidFile is where a program says which process it is.
const pidFile = "program.pid"

// password matches what crypto/rand.Text makes, whatever the format around it.
var password = regexp.MustCompile(`[A-Z2-7]{26}`)

// runProgram is an application in its folder: whenever it is told it reads its
// files, and says which passwords stand in all of them, by their digests. The
// first line says that it is there.
func runProgram(ctx context.Context, out io.Writer) error {
	told := make(chan os.Signal, 1) // one word is as good as several
	signal.Notify(told, unix.SIGHUP)
	defer signal.Stop(told)
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	if err := os.WriteFile(pidFile, []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		return err
	}
	words := []string{filepath.Base(dir)}
	for {
		if _, err := fmt.Fprintln(out, strings.Join(words, " ")); err != nil {
			return err
		}
		select {
		case <-told:
		case <-ctx.Done():
			return nil
		}
		if words, err = readAll(dir); err != nil {
			return err
		}
	}
}

// readAll returns the name of the folder, and the digests of the passwords
// that all of its files hold.
func readAll(dir string) ([]string, error) {
	words, held := []string{filepath.Base(dir)}, map[string]int{}
	for _, f := range forms() {
		digests, err := passwords(filepath.Join(dir, f.name))
		if err != nil {
			return nil, err
		}
		for _, d := range digests {
			if held[d]++; held[d] == each {
				words = append(words, d)
			}
		}
	}
	return words, nil
}

// passwords returns the digests of the passwords in a file.
func passwords(path string) ([]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var digests []string
	for _, p := range password.FindAll(text, -1) {
		digests = append(digests, digest(p)[:12])
	}
	return digests, nil
}

package main

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// resident returns how much of the program's text is in memory, in KiB.
func resident(t *testing.T) int {
	t.Helper()
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ours := false
	for line := range strings.Lines(string(smaps)) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 6 && fields[1] == "r-xp":
			ours = fields[5] == program
		case ours && fields[0] == "Rss:":
			kib, err := strconv.Atoi(fields[1])
			if err != nil {
				t.Fatal(err)
			}
			return kib
		}
	}
	t.Fatal("the program's text is not mapped")
	return 0
}

func TestPagesThatStartingNeededAreGivenBack(t *testing.T) {
	before := resident(t)
	shedText()
	if got := resident(t); got >= before {
		t.Errorf("%d KiB of text are in memory, of %d before; want fewer", got, before)
	}
}

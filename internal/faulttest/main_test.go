package faulttest

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// program is the path of the program under test, built as it is released.
var program string

var (
	update = flag.Bool("update", false, "write docs/faults.md")
	hold   = flag.Duration("hold", 2*time.Second, "how long a fault lasts on the wire after it was seen")
)

func TestMain(m *testing.M) {
	flag.Parse()
	// Nearly all the time the cells wait.
	if err := flag.Set("test.parallel", "24"); err != nil {
		fail(err)
	}
	dir, err := os.MkdirTemp("", "fault-program-")
	if err != nil {
		fail(err)
	}
	program = filepath.Join(dir, "outrider")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, "outrider/cmd/outrider")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fail(fmt.Errorf("go build: %w\n%s", err, out))
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

// program is the path of the program under test, built as it is released.
var program string

func TestMain(m *testing.M) {
	flag.Parse()
	// Most of the time the tests wait for other processes.
	if err := flag.Set("test.parallel", "8"); err != nil {
		fail(err)
	}
	dir, err := os.MkdirTemp("", "e2e-program-")
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

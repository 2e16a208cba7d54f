// Package programtest has what tests need that run outrider: the program as it is released, and its log.
package programtest

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"go.uber.org/goleak"
)

// Main is the body of a package's TestMain: it builds the program, sets its
// path, and runs the tests, so many at a time, for nearly all of their time they
// wait. It returns what to exit with: not 0, too, when the program cannot be
// built or goroutines are left.
func Main(m *testing.M, complaints io.Writer, program *string, parallel int) int {
	flag.Parse()
	dir, err := build(program, parallel)
	defer func() { _ = os.RemoveAll(dir) }()
	if err != nil {
		_, _ = fmt.Fprintln(complaints, err)
		return 1
	}
	ended := 1
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) { ended = code }))
	return ended
}

func build(program *string, parallel int) (dir string, err error) {
	if err := flag.Set("test.parallel", strconv.Itoa(parallel)); err != nil {
		return "", err
	}
	if dir, err = os.MkdirTemp("", "outrider-program-"); err != nil {
		return "", err
	}
	*program = filepath.Join(dir, "outrider")
	build := exec.CommandContext(context.Background(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", *program, "outrider/cmd/outrider")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return dir, fmt.Errorf("go build: %w\n%s", err, out)
	}
	return dir, nil
}

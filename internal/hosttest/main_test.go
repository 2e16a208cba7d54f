package hosttest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

// reader makes this test binary the program that reads a secret with the
// default chain of the SDK for Go.
const reader = "HOSTTEST_READER"

func TestMain(m *testing.M) {
	if os.Getenv(reader) != "" {
		if err := readSecret(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	dir, err := os.MkdirTemp("", "outrider-")
	if err != nil {
		panic(err)
	}
	binaries = dir
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// binaries is where what the tests run is built, once for all of them.
var binaries string

var (
	static = sync.OnceValues(func() (string, error) { return build("outrider", "0") })
	pkcs11 = sync.OnceValues(func() (string, error) { return build("outrider-pkcs11", "1", "-tags", "pkcs11") })
)

func build(name, cgo string, flags ...string) (string, error) {
	path := filepath.Join(binaries, name)
	cmd := exec.Command("go", slices.Concat([]string{"build", "-trimpath", "-ldflags", "-s -w", "-o", path}, flags, []string{"outrider/cmd/outrider"})...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED="+cgo)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build of %s: %w\n%s", name, err, out)
	}
	return path, nil
}

package pkitest

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// missing leaves a test out for want of a Debian package; in CI it fails.
func missing(tb testing.TB, part string) {
	tb.Helper()
	if os.Getenv("CI") == "true" {
		tb.Fatalf("%s is not installed; scripts/setup installs it", part)
	}
	tb.Skipf("left out: %s is not installed (scripts/setup)", part)
}

// Run runs a program of this host and returns its standard output, or leaves
// the test out when the host has none of that name.
func Run(tb testing.TB, program string, args ...string) []byte {
	tb.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		missing(tb, program)
	}
	cmd := exec.CommandContext(tb.Context(), path, args...)
	var failure strings.Builder
	cmd.Stderr = &failure
	out, err := cmd.Output()
	if err != nil {
		tb.Fatalf("%s %q: %v\n%s", program, args, err, failure.String())
	}
	return out
}

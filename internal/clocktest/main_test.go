package clocktest

import (
	"os"
	"testing"

	"outrider/internal/programtest"
)

// program is the path of the program under test, built as it is released.
var program string

func TestMain(m *testing.M) {
	if os.Getenv(inside) != "" {
		os.Exit(m.Run())
	}
	os.Exit(programtest.Main(m, os.Stderr, &program, 8))
}

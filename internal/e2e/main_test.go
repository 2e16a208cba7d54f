package e2e

import (
	"os"
	"testing"

	"outrider/internal/programtest"
)

// program is the path of the program under test, built as it is released.
var program string

func TestMain(m *testing.M) { os.Exit(programtest.Main(m, os.Stderr, &program, 8)) }

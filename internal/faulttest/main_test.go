package faulttest

import (
	"flag"
	"os"
	"testing"
	"time"

	"outrider/internal/programtest"
)

// program is the path of the program under test, built as it is released.
var program string

var (
	update = flag.Bool("update", false, "write docs/faults.md")
	hold   = flag.Duration("hold", 2*time.Second, "how long a fault lasts on the wire after it was seen")
)

func TestMain(m *testing.M) { os.Exit(programtest.Main(m, os.Stderr, &program, 24)) }

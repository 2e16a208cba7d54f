package soaktest

import (
	"flag"
	"os"
	"testing"
	"time"

	"outrider/internal/programtest"
)

// program is the path of the program under test, built as it is released.
var program string

// How long each test goes on. docs/soak.md has the figures of an hour.
var (
	storm     = flag.Duration("storm", 15*time.Second, "how long sidecars are killed")
	rotations = flag.Int("rotations", 300, "how many rotations one sidecar lives through")
	refreshes = flag.Int("refreshes", 2000, "how many refreshes one agent answers")
	seed      = flag.Uint64("seed", 0, "of the random numbers; 0: another one each time")
)

func TestMain(m *testing.M) { os.Exit(programtest.Main(m, os.Stderr, &program, 8)) }

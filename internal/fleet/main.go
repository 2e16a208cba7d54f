// Package fleet simulates thousands of sidecars that share one account's quotas, for docs/scale.md.
package main

import (
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

const (
	document = "docs/scale.md" // from the module's folder
	plots    = "docs/fleet"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil { //nolint:forbidigo // main alone has the streams
		_, _ = fmt.Fprintln(os.Stderr, "fleet:", err) //nolint:forbidigo // as above
		os.Exit(1)                                    //nolint:forbidigo // main alone exits
	}
}

func run(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("fleet", flag.ContinueOnError)
	write := flags.Bool("write", false, "put the tables into "+document+" and the plots into "+plots)
	if err := flags.Parse(args); err != nil {
		return err
	}
	for _, s := range sizes() {
		began := time.Now()
		fleets := s.play()
		if _, err := fmt.Fprintf(out, "%v, in %v:\n%s", s, time.Since(began).Round(time.Second), table(fleets)); err != nil {
			return err
		}
		if !*write {
			continue
		}
		if err := s.write(document, table(fleets)); err != nil {
			return err
		}
		for _, f := range fleets {
			name := fmt.Sprintf("%v-%s.svg", s, strings.ReplaceAll(f.name, " ", "-"))
			if err := os.WriteFile(filepath.Join(plots, name), []byte(f.plot()), 0o644); err != nil { //nolint:gosec // a picture for everybody
				return err
			}
		}
	}
	return nil
}

// play plays every scene, one on each processor.
func (s size) play() []*fleet {
	scenes := s.scenes()
	fleets := make([]*fleet, len(scenes))
	var all sync.WaitGroup
	for i, scene := range scenes {
		all.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(i))) //nolint:gosec // what is told must be repeatable
			fleets[i] = scene.play(random.Float64)
		})
	}
	all.Wait()
	return fleets
}

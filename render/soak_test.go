package render

import (
	"os"
	"testing"
	"time"
)

func TestSoak(t *testing.T) {
	d, err := time.ParseDuration(os.Getenv("SOAK"))
	if err != nil {
		t.Skip()
	}
	values := passwords()
	for _, f := range Formats() {
		if p, _ := fragments(f); p == nil {
			continue
		}
		t.Run(string(f), func(t *testing.T) {
			seen, seed := 0, uint64(1e6)
			for end := time.Now().Add(d); time.Now().Before(end) && !t.Failed(); seed++ {
				if trial(t, f, seed, values) {
					seen++
				}
			}
			t.Log(seed-1e6, seen)
		})
	}
}

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSharesOfASample(t *testing.T) {
	s := sample{5, 1, 4, 2, 3}
	got := []time.Duration{s.at(0), s.median(), s.at(0.99), s.at(1)}
	if diff := cmp.Diff([]time.Duration{1, 3, 5, 5}, got); diff != "" {
		t.Errorf("least, median, p99 and most (-want +got):\n%s", diff)
	}
}

func TestACallMoreThanTwoForEachBatchIsOverTheBound(t *testing.T) {
	got := map[int]int{}
	for _, n := range []int{1, 20, 21, 100, 1000} {
		got[n] = shape{secrets: n}.bound()
	}
	if diff := cmp.Diff(map[int]int{1: 3, 20: 3, 21: 5, 100: 11, 1000: 101}, got); diff != "" {
		t.Errorf("bounds (-want +got):\n%s", diff)
	}
}

// copyOfDocument returns the path of a copy of the real one, and its text.
func copyOfDocument(t *testing.T) (path string, text []byte) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../..", document))
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "performance.md")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, text
}

// TestARunTakesItsPlaceInTheDocument writes into a copy of the real one.
func TestARunTakesItsPlaceInTheDocument(t *testing.T) {
	path, text := copyOfDocument(t)
	r := report{settings: settings{idle: 10 * time.Minute}, moves: sample{time.Second}, pushes: sample{time.Millisecond}}
	for _, version := range []string{"v1", "v2", "v2"} {
		r.version = version
		if err := r.write(path); err != nil {
			t.Fatal(err)
		}
	}
	written, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, history, _ := strings.Cut(string(written), strings.Repeat("|---", 10)+"|\n")
	_, before, _ := strings.Cut(string(text), strings.Repeat("|---", 10)+"|\n")
	want := r.row()
	if !strings.Contains(string(written), r.latest()) || strings.Count(string(written), "| cold start |") != 1 {
		t.Error("the last run does not stand in the document, and it alone, in full")
	}
	r.version = "v1"
	want += r.row() + before
	if diff := cmp.Diff(want, history); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
}

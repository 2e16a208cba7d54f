package main

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
)

// hourly is how many calls to AWS a sidecar makes in an hour of quiet.
type hourly struct{ secrets, poll, push string }

// counted matches what the test of the calls prints.
var counted = regexp.MustCompile(`secrets=(\d+) poll=(\d+) push=(\d+)`)

// steadyState counts all calls to AWS in simulated hours, which pass in
// seconds: what counts is how many there are, not how long they take.
func (s *stage) steadyState(ctx context.Context, r *report) error {
	out, err := exec.CommandContext(ctx, "go", "test", "./agent", "-count=1", "-v", "-run", "^TestCallsAnHour$").CombinedOutput()
	if err != nil {
		return fmt.Errorf("go test: %w: %s", err, out)
	}
	for _, m := range counted.FindAllStringSubmatch(string(out), -1) {
		r.hours = append(r.hours, hourly{m[1], m[2], m[3]})
	}
	return nil
}

// hourlyTable is the outcome in the document.
func (r *report) hourlyTable() string {
	var b strings.Builder
	b.WriteString("\n| secrets | calls an hour, polling | with push (at most 200) |\n|---|---|---|\n")
	for _, h := range r.hours {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", h.secrets, h.poll, h.push)
	}
	return b.String()
}

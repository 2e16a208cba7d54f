package agent

import (
	"fmt"
	"testing"
	"time"

	"outrider/awslab"
)

// TestCallsAnHour counts all calls to AWS in the steady state, at the default
// interval. What it prints is what the bench puts into docs/performance.md.
func TestCallsAnHour(t *testing.T) {
	for _, secrets := range []int{1, 20, 100, 1000} {
		perHour := map[bool]float64{}
		for _, push := range []bool{false, true} {
			bubble(t, func(_ *testing.T, h *house) {
				var ids []string
				for i := range secrets {
					ids = append(ids, fmt.Sprintf("s/%d", i))
					h.put(ids[i], "v")
				}
				c := h.config(5*time.Minute, h.app("one", ids...))
				hours := 0.5
				if push {
					hours = 10 // a pass over everything may take four
					queue := h.queued(awslab.EventForm{}).Watch
					queue.Interval = c.Watch.Interval
					c.Watch = queue
				}
				stop := h.run(h.agent(c))
				defer stop()
				time.Sleep(10 * time.Minute)
				h.lab.ResetCalls()
				time.Sleep(time.Duration(hours * float64(time.Hour)))
				total := 0
				for _, n := range h.lab.Calls() {
					total += n
				}
				perHour[push] = float64(total) / hours
			})
		}
		t.Logf("secrets=%d poll=%.0f push=%.0f", secrets, perHour[false], perHour[true])
		if perHour[true] > 200 {
			t.Errorf("%.0f calls an hour with push for %d secrets", perHour[true], secrets)
		}
	}
}

package agent

import (
	"strings"
	"testing"
	"time"

	"outrider/awslab"
	"outrider/serve"
)

// said counts the log lines with a message.
func (h *house) said(message string) int { return strings.Count(h.log.String(), `"msg":"`+message+`"`) }

func TestWhatFailsCountsAsMendedOnlyOnceItHasWorked(t *testing.T) {
	const describe = "DescribeSecret"
	for name, tc := range map[string]struct {
		interval time.Duration
		fault    awslab.Fault
		current  bool // the apps are all the time: values tell what DescribeSecret does not
	}{
		"DescribeSecret fails":                   {5 * time.Minute, awslab.Fault{Kind: awslab.Fail, Operation: describe}, true},
		"DescribeSecret fails hasty polls":       {time.Second, awslab.Fault{Kind: awslab.Fail, Operation: describe}, true},
		"DescribeSecret hangs":                   {time.Minute, awslab.Fault{Kind: awslab.Hang, Operation: describe}, true},
		"DescribeSecret is throttled":            {5 * time.Minute, awslab.Fault{Kind: awslab.Throttle, Operation: describe}, true},
		"DescribeSecret is throttled when hasty": {time.Second, awslab.Fault{Kind: awslab.Throttle, Operation: describe}, true},
		"everything is throttled":                {5 * time.Minute, awslab.Fault{Kind: awslab.Throttle, Service: "secretsmanager"}, false},
		"everything is throttled when hasty":     {time.Second, awslab.Fault{Kind: awslab.Throttle, Service: "secretsmanager"}, false},
		"everything fails":                       {time.Minute, awslab.Fault{Kind: awslab.Fail, Service: "secretsmanager"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, h *house) {
				for _, id := range []string{"a", "b", "c", "d"} {
					h.put(id, "1")
				}
				a := h.agent(h.config(tc.interval, h.app("one", "a", "b"), h.app("two", "c", "d")))
				stop := h.run(a)
				defer stop()
				time.Sleep(10 * time.Second)
				if err := h.lab.AddFault(tc.fault); err != nil {
					t.Fatal(err)
				}
				for range 10 {
					time.Sleep(max(tc.interval, 10*time.Second) * 6 / 5)
					if state := a.Status(serve.Self()).Apps["one"].State; tc.current && state != serve.Current {
						t.Fatalf("the app is %s", state)
					}
				}
				h.put("a", "2")
				time.Sleep(max(tc.interval, 10*time.Second) * 6 / 5)
				status := a.Status(serve.Self())
				note, fresh := status.Roles["role"].Error, h.read("one") == "2\n1\n"
				if said := strings.Contains(note, "DescribeSecret fails"); said != tc.current || fresh != tc.current {
					t.Errorf("the role's error is %q, the change delivered: %v; want both: %v", note, fresh, tc.current)
				}
				failing, recovered, dark := h.said("app failing"), h.said("app recovered"), h.said("labels not read")
				if tc.current && (failing > 0 || dark != 1) || !tc.current && (failing > 8 || recovered > 0 || dark > 0) {
					t.Errorf("logged failing %d times, recovered %d times, and of labels %d times", failing, recovered, dark)
				}
				h.lab.ClearFaults()
				time.Sleep(2 * time.Minute)
				status = a.Status(serve.Self())
				if note := status.Roles["role"].Error + status.Apps["one"].Error; note != "" || h.read("one") != "2\n1\n" {
					t.Errorf("in the end the status says %q", note)
				}
				if back, lit := h.said("app recovered"), h.said("labels read again"); tc.current && lit != 1 || !tc.current && back != 2 {
					t.Errorf("logged recovered %d times and labels read again %d times, want once an app, or once", back, lit)
				}
			})
		})
	}
}

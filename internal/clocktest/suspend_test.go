package clocktest

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"outrider/awslab"
)

// suspended is how long a machine or process does nothing.
const suspended = time.Hour

// sleeps lets everybody's wall clock go on by an hour, and the host's monotonic
// one, too, or not.
func (s *scene) sleeps(monotonic time.Duration) {
	s.t.Helper()
	s.ahead.Add(int64(suspended))
	s.clock.Step(s.t, suspended, monotonic)
}

// calls waits until an operation was called so many times more than before.
func (s *scene) calls(operation string, more int) {
	s.t.Helper()
	before := s.lab.Calls()[operation]
	s.eventually(fmt.Sprintf("%d more of %s", more, operation), func() error {
		if s.lab.Calls()[operation] < before+more {
			return errNotYet
		}
		return nil
	})
}

func TestAMachineThatWasSuspendedLooksOnceAtWhatIsDue(t *testing.T) {
	s := newScene(t, 0)
	s.configure(40*time.Minute, "")
	s.start(0)
	s.delivered("1")
	first := s.handed()
	s.lab.ResetCalls()
	s.rotate("2")
	s.sleeps(0)
	if h := s.handed(); h.AccessKeyID == first.AccessKeyID {
		t.Error("a session is given out that has ended while the machine was suspended")
	}
	s.delivered("2")
	s.eventually("the next look is planned", func() error {
		status, err := s.client().Status(t.Context())
		if err != nil {
			return err
		}
		next := status.Apps["billing"].Secrets["db"].Next
		if next == nil || next.Before(time.Now().Add(suspended+time.Minute)) {
			return fmt.Errorf("it is at %v", next)
		}
		return nil
	})
	got := s.lab.Calls()
	for operation, most := range map[string]int{"secretsmanager.DescribeSecret": 1, "secretsmanager.GetSecretValue": 1, "rolesanywhere.CreateSession": 2} {
		if got[operation] > most || got[operation] == 0 {
			t.Errorf("%d calls of %s after the machine was suspended for more than an interval, want %d at the most", got[operation], operation, most)
		}
	}
}

func TestALongPollThatDiedWhileTheMachineWasSuspendedIsGivenUp(t *testing.T) {
	s := newScene(t, 0)
	path, err := s.lab.CreateQueue("changes")
	if err == nil {
		err = s.lab.Subscribe("changes", awslab.EventForm{})
	}
	if err != nil {
		t.Fatal(err)
	}
	s.queue = ", queue: https://sqs." + s.lab.Setup().Region + ".amazonaws.com" + path
	s.configure(12*time.Hour, "")
	s.start(0)
	s.says("queue receiving")
	s.delivered("1")
	if err := s.lab.AddFault(awslab.Fault{Kind: awslab.Hang, Operation: "ReceiveMessage", Count: 1}); err != nil {
		t.Fatal(err)
	}
	s.rotate("2")
	s.calls("sqs.ReceiveMessage", 1)
	s.delivered("2")
	s.sleeps(0)
	s.rotate("3")
	s.delivered("3")
}

func TestAProcessThatWasStoppedForAnHourGoesOn(t *testing.T) {
	s := newScene(t, 0)
	s.configure(2*time.Second, "")
	const watchdog = 3 * time.Second
	m := s.manager(watchdog)
	s.start(0)
	s.delivered("1")
	s.says(`"ready"`)
	first := s.handed()
	if err := s.lab.AddFault(awslab.Fault{Kind: awslab.Hang, Operation: "DescribeSecret", Count: 1}); err != nil {
		t.Fatal(err)
	}
	s.calls("secretsmanager.DescribeSecret", 1)
	s.sleeps(suspended)
	if h := s.handed(); h.AccessKeyID == first.AccessKeyID {
		t.Error("a session is given out that has ended while the process was stopped")
	}
	s.rotate("2")
	s.delivered("2")
	before := m.count("WATCHDOG=1")
	s.eventually("the watchdog is told again", func() error {
		if m.count("WATCHDOG=1") < before+2 {
			return errNotYet
		}
		return nil
	})
	if strings.Contains(s.said.String(), "loop hangs") {
		t.Error("a loop is said to hang that was stopped with all others")
	}
}

// TestASignalThatStopsTheProcessLeavesNoOldSession is the real thing, with
// sessions that are shorter.
func TestASignalThatStopsTheProcessLeavesNoOldSession(t *testing.T) {
	s := newScene(t, 6*time.Second)
	s.configure(5*time.Minute, "")
	s.start(0)
	s.delivered("1")
	if err := s.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	// No session that it can have by now is longer.
	over := time.NewTimer(7 * time.Second)
	<-over.C
	answer := make(chan handed, 1)
	go func() {
		defer close(answer)
		if h, err := s.ask(); err == nil {
			answer <- h
		}
	}()
	if err := s.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	asked := time.Now()
	h, ok := <-answer
	if !ok { // AWS took longer than an asker waits
		h = s.handed()
	}
	if h.Expiration.Before(asked.Truncate(time.Second)) {
		t.Errorf("a session is given out that had ended %v before the process went on", asked.Sub(h.Expiration))
	}
	s.rotate("2")
	if _, err := s.client().Refresh(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	s.delivered("2")
}

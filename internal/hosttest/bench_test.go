package hosttest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"outrider/awslab"
)

// server is a process that hands sessions out, and how a client of it asks.
type server struct {
	name, address, opening, request string
	start                           func() (pid int, stop func())
}

// besides returns the two endpoints of a sidecar, and `aws_signing_helper
// serve` for the same role.
func (h *host) besides(b *testing.B) []server {
	b.Helper()
	helper := filepath.Join(binaries, "aws_signing_helper")
	build := exec.CommandContext(b.Context(), "go", "build", "-ldflags", "-s -w", "-o", helper, "github.com/aws/rolesanywhere-credential-helper")
	build.Dir = filepath.Join("..", "..", "scripts", "peers", "helper")
	if out, err := build.CombinedOutput(); err != nil {
		b.Skipf("left out: aws_signing_helper does not build: %v\n%s", err, out)
	}
	container, imds := h.served()
	sidecar := func() (int, func()) {
		_ = os.Remove(h.path("billing.token")) // the one before had another
		s := h.start("--log-level", "info")
		h.await("billing")
		h.checkToken("billing.token")
		return s.cmd.Process.Pid, func() { s.stop() }
	}
	l := h.lab.Setup()
	theirs := free(b)
	_, port, _ := net.SplitHostPort(theirs)
	serve := func() (int, func()) {
		cmd := exec.CommandContext(b.Context(), helper, "serve", "--port", port, "--endpoint", h.endpoint, "--region", l.Region,
			"--certificate", h.path("host.pem"), "--private-key", h.path("host.key"),
			"--trust-anchor-arn", l.TrustAnchor, "--profile-arn", l.Profile, "--role-arn", l.Role)
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		return cmd.Process.Pid, func() { _ = cmd.Process.Signal(syscall.SIGTERM); _ = cmd.Wait() }
	}
	return []server{
		{"container", container, "", "", sidecar},
		{"imds", imds, imdsOpening, imdsRequest, sidecar},
		{"helper", theirs, imdsOpening, imdsRequest, serve},
	}
}

// connect starts the server and returns clients of it that have each had an
// answer.
func (s server) connect(h *host, clients int) (pid int, stop func(), all []ask) {
	h.t.Helper()
	pid, stop = s.start()
	if s.name == "container" {
		s.request = containerRequest(h.read("billing.token"))
	}
	for range clients {
		all = append(all, h.client(s.address, s.opening, s.request))
	}
	for _, ask := range all {
		eventually(h.t, s.name, func() error { _, err := ask(); return err })
	}
	return pid, stop, all
}

// BenchmarkBesideTheHelper puts the same load on the endpoints of the sidecar
// and on the helper's, each a process of its own. Beside the time it reports
// what a second of the server's processor answers, the slowest hundredth, and
// the memory afterwards.
func BenchmarkBesideTheHelper(b *testing.B) {
	h := newHost(b, awslab.Options{})
	for _, s := range h.besides(b) {
		for _, connections := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("%s/%d", s.name, connections), func(b *testing.B) {
				pid, stop, clients := s.connect(h, connections)
				defer stop()
				took := make([][]time.Duration, connections)
				before := processor(b, pid)
				b.ResetTimer()
				var group errgroup.Group
				for i, ask := range clients {
					group.Go(func() (err error) {
						took[i], err = repeat(ask, (b.N+connections-1)/connections)
						return err
					})
				}
				if err := group.Wait(); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				all := slices.Sorted(slices.Values(slices.Concat(took...)))
				if spent := processor(b, pid) - before; spent > 0 {
					b.ReportMetric(float64(len(all))/spent.Seconds(), "req/cpu-s")
				}
				b.ReportMetric(float64(all[(len(all)-1)*99/100].Microseconds()), "p99-µs")
				b.ReportMetric(float64(memory(b, pid, "VmRSS"))/1024, "rss-MiB")
				b.ReportMetric(float64(memory(b, pid, "RssAnon"))/1024, "anon-MiB")
			})
		}
	}
}

// repeat asks n times and returns how long each took.
func repeat(ask ask, n int) ([]time.Duration, error) {
	took := make([]time.Duration, 0, n)
	for range n {
		began := time.Now()
		if _, err := ask(); err != nil {
			return nil, err
		}
		took = append(took, time.Since(began))
	}
	return took, nil
}

// BenchmarkACrowdAtTheEndOfASession has a thousand clients ask at once when
// the session has ten minutes left, where the helper opens the next one. AWS
// takes a tenth of a second. It reports how many sessions that makes.
func BenchmarkACrowdAtTheEndOfASession(b *testing.B) {
	const spare = 4 * time.Second
	h := newHost(b, awslab.Options{SessionDuration: 10*time.Minute + spare})
	if err := h.lab.AddFault(awslab.Fault{Kind: awslab.Delay, Delay: 100 * time.Millisecond}); err != nil {
		b.Fatal(err)
	}
	for _, s := range h.besides(b) {
		b.Run(s.name, func(b *testing.B) {
			sessions := 0
			for b.Loop() {
				_, stop, clients := s.connect(h, crowdSize)
				<-time.After(spare)
				h.lab.ResetCalls()
				var group errgroup.Group
				for _, ask := range clients {
					group.Go(func() error { _, err := ask(); return err })
				}
				if err := group.Wait(); err != nil {
					b.Error(err)
				}
				sessions += h.lab.Calls()["rolesanywhere.CreateSession"]
				stop()
			}
			b.ReportMetric(float64(sessions)/float64(b.N), "CreateSession/crowd")
		})
	}
}

// processor returns the processor time that a process has used; the kernel
// counts hundredths of a second (proc_pid_stat(5)).
func processor(b *testing.B, pid int) time.Duration {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	var sum time.Duration
	for _, f := range bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])[11:13] {
		n, err := strconv.Atoi(string(f))
		if err != nil {
			b.Fatal(err)
		}
		sum += time.Duration(n) * 10 * time.Millisecond
	}
	return sum
}

// memory returns a line of a process's status in KiB (proc_pid_status(5)).
func memory(b *testing.B, pid int, name string) int {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); fields[0] == name+":" {
			n, _ := strconv.Atoi(fields[1])
			return n
		}
	}
	b.Fatalf("no %s", name)
	return 0
}

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
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"outrider/awslab"
	"outrider/internal/porttest"
)

// peer hands sessions out, in a process of its own.
type peer struct {
	h                               *host
	name, address, opening, request string
	pid                             int

	took  []time.Duration // by each request
	spent time.Duration   // by the process meanwhile
}

// peers starts a sidecar for the container endpoint, one for IMDS, and
// `aws_signing_helper serve`, each on a host of its own where AWS takes so
// long for an answer and gives sessions of that length.
func peers(b *testing.B, delay, session time.Duration) []*peer {
	b.Helper()
	var hosts [3]*host
	for i := range hosts {
		hosts[i] = newHost(b, awslab.Options{SessionDuration: session})
		if err := hosts[i].lab.AddFault(awslab.Fault{Kind: awslab.Delay, Delay: delay}); err != nil {
			b.Fatal(err)
		}
	}
	container, _ := hosts[0].served()
	_, imds := hosts[1].served()
	sidecar := func(h *host) int {
		pid := h.start("--log-level", "info").cmd.Process.Pid
		h.await("billing")
		return pid
	}
	address, helper := hosts[2].helper(b)
	return []*peer{
		{h: hosts[0], name: "container", pid: sidecar(hosts[0]), address: container, request: containerRequest(hosts[0].checkToken("billing.token"))},
		{h: hosts[1], name: "imds", pid: sidecar(hosts[1]), address: imds, opening: imdsOpening, request: imdsRequest},
		{h: hosts[2], name: "helper", pid: helper, address: address, opening: imdsOpening, request: imdsRequest},
	}
}

// helper starts `aws_signing_helper serve`.
func (h *host) helper(b *testing.B) (address string, pid int) {
	b.Helper()
	helper := filepath.Join(binaries, "aws_signing_helper")
	build := exec.CommandContext(b.Context(), "go", "build", "-ldflags", "-s -w", "-o", helper, "github.com/aws/rolesanywhere-credential-helper")
	build.Dir = filepath.Join("..", "..", "scripts", "peers", "helper")
	if out, err := build.CombinedOutput(); err != nil {
		b.Skipf("left out: aws_signing_helper does not build: %v\n%s", err, out)
	}
	l := h.lab.Setup()
	address = porttest.Free(b)
	_, port, _ := net.SplitHostPort(address)
	serve := exec.CommandContext(b.Context(), helper, "serve", "--port", port, "--endpoint", h.endpoint, "--region", l.Region,
		"--certificate", h.path("host.pem"), "--private-key", h.path("host.key"),
		"--trust-anchor-arn", l.TrustAnchor, "--profile-arn", l.Profile, "--role-arn", l.Role)
	if err := serve.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = serve.Process.Kill(); _ = serve.Wait() })
	return address, serve.Process.Pid
}

// connect returns clients of the peer that have each had an answer.
func (p *peer) connect(n int) []ask {
	p.h.t.Helper()
	clients := make([]ask, n)
	for i := range clients {
		clients[i] = p.h.client(p.address, p.opening, p.request)
		eventually(p.h.t, p.name, func() error { _, err := clients[i](); return err })
	}
	return clients
}

// load has each client ask n times, all at once.
func (p *peer) load(b *testing.B, clients []ask, n int) {
	b.Helper()
	took := make([][]time.Duration, len(clients))
	before := processor(b, p.pid)
	var group errgroup.Group
	for i, ask := range clients {
		group.Go(func() (err error) {
			took[i], err = repeat(ask, n)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		b.Fatalf("%s: %v", p.name, err)
	}
	p.spent += processor(b, p.pid) - before
	p.took = append(p.took, slices.Concat(took...)...)
}

// BenchmarkBesideTheHelper puts the same load on the endpoints of the sidecar
// and on the helper's, in turns, so that what else the machine does strikes
// all alike. It reports what a second of each one's processor answers, the
// slowest hundredth, and the memory afterwards.
func BenchmarkBesideTheHelper(b *testing.B) {
	const turns = 20
	for _, connections := range []int{1, 16, 64} {
		b.Run(strconv.Itoa(connections), func(b *testing.B) {
			peers := peers(b, 0, time.Hour)
			var clients [][]ask
			for _, p := range peers {
				clients = append(clients, p.connect(connections))
			}
			b.ResetTimer()
			for range turns {
				for i, p := range peers {
					p.load(b, clients[i], max(b.N/turns/connections, 1))
				}
			}
			b.StopTimer()
			b.ReportMetric(0, "ns/op") // it is that of three, and of their clients
			for _, p := range peers {
				slices.Sort(p.took)
				if p.spent > 0 {
					b.ReportMetric(float64(len(p.took))/p.spent.Seconds(), p.name+"-req/cpu-s")
				}
				b.ReportMetric(float64(p.took[(len(p.took)-1)*99/100].Microseconds()), p.name+"-p99-µs")
				b.ReportMetric(memory(b, p.pid, "RssAnon"), p.name+"-anon-MiB")
				b.ReportMetric(memory(b, p.pid, "VmRSS"), p.name+"-rss-MiB")
			}
		})
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
	sessions := map[string]int{}
	for b.Loop() {
		peers := peers(b, 100*time.Millisecond, 10*time.Minute+spare)
		var clients [][]ask
		for _, p := range peers {
			clients = append(clients, p.connect(crowdSize))
		}
		<-time.After(spare)
		for i, p := range peers {
			p.h.lab.ResetCalls()
			p.load(b, clients[i], 1)
			sessions[p.name] += p.h.lab.Calls()["rolesanywhere.CreateSession"]
		}
	}
	for name, n := range sessions {
		b.ReportMetric(float64(n)/float64(b.N), name+"-sessions")
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

// memory returns a line of a process's status in MiB (proc_pid_status(5)).
func memory(b *testing.B, pid int, name string) float64 {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); fields[0] == name+":" {
			n, _ := strconv.Atoi(fields[1])
			return float64(n) / 1024
		}
	}
	b.Fatalf("no %s", name)
	return 0
}

package serve

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
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
	"outrider/internal/porttest"
	"outrider/secret"
)

// BenchmarkHandlers measures what the endpoints add to net/http.
func BenchmarkHandlers(b *testing.B) {
	metadata := IMDS{Role: "billing", Agent: newReady()}.endpoint()
	answer, _ := ask(metadata, http.MethodPut, "/latest/api/token", http.Header{ttlHeader: {"21600"}})
	for _, bm := range []struct {
		name    string
		handler http.Handler
		path    string
		header  http.Header
	}{
		{"container", Container{Agent: newReady()}.endpoint(), "/roles/billing", http.Header{"Authorization": {"tok"}}},
		{"imds", metadata, credentialsPath + "lab-billing", http.Header{tokenHeader: {answer.Body}}},
	} {
		b.Run(bm.name, func(b *testing.B) {
			r := httptest.NewRequest(http.MethodGet, "http://127.0.0.1"+bm.path, http.NoBody)
			r.Header = bm.header
			w := &sink{header: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				bm.handler.ServeHTTP(w, r)
			}
			if w.status != http.StatusOK {
				b.Fatalf("%d, want 200", w.status)
			}
		})
	}
}

// sink is a ResponseWriter that keeps the status alone.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(status int)      { s.status = status }
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }

// BenchmarkBesideTheHelper puts the same load on the two endpoints and on
// `aws_signing_helper serve`, each a process of its own. Beside the time it
// reports what a second of the server's processor answers, the slowest
// hundredth, and the resident memory.
func BenchmarkBesideTheHelper(b *testing.B) {
	lab, err := awslab.New(awslab.Options{})
	if err != nil {
		b.Fatal(err)
	}
	upstream := httptest.NewServer(lab)
	b.Cleanup(upstream.Close)
	setup, err := lab.Write(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	helper := filepath.Join(b.TempDir(), "aws_signing_helper")
	build := exec.CommandContext(b.Context(), "go", "build", "-o", helper, "github.com/aws/rolesanywhere-credential-helper")
	build.Dir = filepath.Join("..", "scripts", "peers", "helper")
	if out, err := build.CombinedOutput(); err != nil {
		b.Skipf("left out: aws_signing_helper does not build: %v\n%s", err, out)
	}
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	for _, s := range []struct {
		name, path string
		command    func(address string) *exec.Cmd
	}{
		{"container", "/roles/billing", func(address string) *exec.Cmd {
			cmd := exec.CommandContext(b.Context(), self)
			cmd.Env = []string{"SERVE_TEST_ENDPOINT=container", "SERVE_TEST_ADDRESS=" + address}
			return cmd
		}},
		{"imds", credentialsPath + "lab-billing", func(address string) *exec.Cmd {
			cmd := exec.CommandContext(b.Context(), self)
			cmd.Env = []string{"SERVE_TEST_ENDPOINT=imds", "SERVE_TEST_ADDRESS=" + address}
			return cmd
		}},
		{"helper", credentialsPath + "outrider-lab", func(address string) *exec.Cmd {
			_, port, _ := net.SplitHostPort(address)
			return exec.CommandContext(b.Context(), helper, "serve", "--port", port, "--endpoint", upstream.URL, "--region", setup.Region,
				"--certificate", setup.Certificate, "--private-key", setup.PrivateKey,
				"--trust-anchor-arn", setup.TrustAnchor, "--profile-arn", setup.Profile, "--role-arn", setup.Role)
		}},
	} {
		for _, connections := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("%s/%d", s.name, connections), func(b *testing.B) {
				address := porttest.Free(b)
				cmd := s.command(address)
				if err := cmd.Start(); err != nil {
					b.Fatal(err)
				}
				defer func() { _ = cmd.Process.Signal(syscall.SIGTERM); _ = cmd.Wait() }()
				load(b, cmd.Process.Pid, address, s.path, connections)
			})
		}
	}
}

// ready is an agent that has its answers at hand, as the real one does.
type ready struct {
	grant       Grant
	credentials Credentials
}

func newReady() ready {
	agent := keeper{token: "tok"}
	grant, _ := agent.Grant("billing")
	credentials, _ := agent.Credentials(context.Background(), Self(), "billing")
	credentials.SessionToken = secret.Text(strings.Repeat("t", 560)) // as long as what the lab hands out
	return ready{grant, credentials}
}

func (r ready) Grant(string) (Grant, error) { return r.grant, nil }

func (r ready) Credentials(context.Context, Caller, string) (Credentials, error) {
	return r.credentials, nil
}

// serveForBench runs an endpoint until it is killed.
func serveForBench(endpoint, address string) {
	agent := newReady()
	run := Container{Address: address, Agent: agent, Log: slog.New(slog.DiscardHandler)}.Run
	if endpoint == "imds" {
		run = IMDS{Address: address, Role: "billing", Agent: agent, Log: slog.New(slog.DiscardHandler)}.Run
	}
	fmt.Println(run(context.Background()))
}

func load(b *testing.B, pid int, address, path string, connections int) {
	for deadline := time.Now().Add(30 * time.Second); ; {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
			break
		}
		if time.Now().After(deadline) {
			b.Fatal(err)
		}
	}
	token := "tok" // no other header does harm where it is not wanted
	if strings.HasPrefix(path, "/latest") {
		body, err := fetch(http.DefaultClient, http.MethodPut, "http://"+address+"/latest/api/token", ttlHeader, "21600")
		if err != nil {
			b.Fatal(err)
		}
		token = string(body)
	}
	request := fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nAuthorization: %s\r\n%s: %s\r\n\r\n", path, address, token, tokenHeader, token)
	took := make([][]time.Duration, connections)
	size := make([]int, connections)
	before := processor(b, pid)
	b.ResetTimer()
	var group errgroup.Group
	for i := range connections {
		group.Go(func() (err error) {
			took[i], size[i], err = repeat(address, request, (b.N+connections-1)/connections)
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
	b.ReportMetric(float64(resident(b, pid))/1024, "rss-MiB")
	b.ReportMetric(float64(size[0]), "body-B")
}

// repeat asks n times on one connection, and returns how long each took and
// the size of the body.
func repeat(address string, request []byte, n int) (took []time.Duration, size int, err error) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return nil, 0, err
	}
	defer c.Close()
	answers := bufio.NewReader(c)
	for range n {
		began := time.Now()
		if _, err := c.Write(request); err != nil {
			return nil, 0, err
		}
		r, err := http.ReadResponse(answers, nil)
		if err != nil {
			return nil, 0, err
		}
		body, err := io.ReadAll(r.Body)
		if err != nil || r.StatusCode != http.StatusOK {
			return nil, 0, cmp.Or(err, fmt.Errorf("%s: %s", r.Status, body))
		}
		took, size = append(took, time.Since(began)), len(body)
	}
	return took, size, nil
}

// processor returns the processor time that a process has used; the kernel
// counts hundredths of a second (proc_pid_stat(5)).
func processor(b *testing.B, pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	var sum time.Duration
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(string(f))
		if err != nil {
			b.Fatal(err)
		}
		sum += time.Duration(n) * 10 * time.Millisecond
	}
	return sum
}

// resident returns a process's memory in KiB.
func resident(b *testing.B, pid int) int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); fields[0] == "VmRSS:" {
			n, _ := strconv.Atoi(fields[1])
			return n
		}
	}
	b.Fatal("no VmRSS")
	return 0
}

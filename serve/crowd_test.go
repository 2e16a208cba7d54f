package serve

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"outrider/secret"
)

const plainRequest = "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"

// opens connects and writes a text.
func opens(t *testing.T, network, address, text string) net.Conn {
	t.Helper()
	c, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	return c
}

// answered returns the status of the answer that comes, 0 when none does.
func answered(c net.Conn) int {
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0
	}
	_ = r.Body.Close()
	return r.StatusCode
}

func TestAClientWaitsWhileAllPlacesAreAtWork(t *testing.T) {
	arrived, release := make(chan struct{}, 3), make(chan struct{})
	url, stop := served(t, func(http.ResponseWriter, *http.Request) {
		arrived <- struct{}{}
		<-release
	}, 0, 2)
	address := strings.TrimPrefix(url, "http://")
	first := opens(t, "tcp", address, plainRequest)
	second := opens(t, "tcp", address, plainRequest)
	<-arrived
	<-arrived
	third := opens(t, "tcp", address, plainRequest)
	select {
	case <-arrived:
		t.Error("a connection over the bound was served")
	case <-time.After(50 * time.Millisecond):
	}
	release <- struct{}{}
	<-arrived
	close(release)
	for i, c := range []net.Conn{first, second, third} {
		if got := answered(c); got != http.StatusOK {
			t.Errorf("client %d got %d, want its answer", i+1, got)
		}
		_ = c.Close()
	}
	if err := stop(); !errors.Is(err, errStopped) {
		t.Errorf("serve = %v, want its context's cause", err)
	}
}

// TestWhoWaitsComesInOnceAnAnswerIsGiven has all places at work, and their
// clients keep their connections: one of them makes room, with its answer.
func TestWhoWaitsComesInOnceAnAnswerIsGiven(t *testing.T) {
	arrived, release := make(chan struct{}, 3), make(chan struct{})
	server := newServerOf(newCrowd(2, 2), http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		arrived <- struct{}{}
		<-release
	}), slog.New(slog.DiscardHandler))
	server.IdleTimeout = time.Hour // which would make room as well
	url, stop := servedBy(t, server, 0)
	address := strings.TrimPrefix(url, "http://")
	clients := []net.Conn{opens(t, "tcp", address, plainRequest), opens(t, "tcp", address, plainRequest)}
	<-arrived
	<-arrived
	clients = append(clients, opens(t, "tcp", address, plainRequest))
	select {
	case <-arrived:
		t.Error("a connection over the bound was served")
	case <-time.After(50 * time.Millisecond):
	}
	close(release)
	for i, c := range clients {
		if got := answered(c); got != http.StatusOK {
			t.Errorf("client %d got %d, want its answer", i+1, got)
		}
	}
	if err := stop(); !errors.Is(err, errStopped) {
		t.Errorf("serve = %v, want its context's cause", err)
	}
}

func TestWhoAsksNothingMakesRoom(t *testing.T) {
	for name, silence := range map[string]string{"idle from the start": "", "slow": "GET / HTTP/1.1\r\nHost: ", "idle since it asked": plainRequest} {
		t.Run(name, func(t *testing.T) {
			idle := make(chan struct{}, 4)
			server := newServerOf(newCrowd(2, 2), http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), slog.New(slog.DiscardHandler))
			state := server.ConnState
			server.ConnState = func(c net.Conn, s http.ConnState) {
				if state(c, s); s == http.StateIdle {
					idle <- struct{}{}
				}
			}
			url, stop := servedBy(t, server, 0)
			address := strings.TrimPrefix(url, "http://")
			longest := opens(t, "tcp", address, silence)
			if silence == plainRequest {
				if answered(longest) != http.StatusOK {
					t.Error("the first client got no answer")
				}
				<-idle
			}
			later := opens(t, "tcp", address, "")
			if got := answered(opens(t, "tcp", address, plainRequest)); got != http.StatusOK {
				t.Errorf("a client that found it full got %d, want its answer", got)
			}
			if got := answered(longest); got != 0 {
				t.Errorf("the longest silent one got %d, want to be hung up on", got)
			}
			if _, err := io.WriteString(later, plainRequest); err != nil || answered(later) != http.StatusOK {
				t.Errorf("the other silent one is hung up on, too (%v)", err)
			}
			if err := stop(); !errors.Is(err, errStopped) {
				t.Errorf("serve = %v, want its context's cause", err)
			}
		})
	}
}

// TestTwoThousandIdleConnectionsKeepNobodyOut connects to each listener as often
// as that, without a word or with half of one, and then asks.
func TestTwoThousandIdleConnectionsKeepNobodyOut(t *testing.T) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Cur < 5000 {
		t.Skipf("left out: 5000 descriptors are needed, and %d allowed (%v)", limit.Cur, err)
	}
	for name, l := range listeners(t) {
		t.Run(name, func(t *testing.T) {
			start(t, l.network, l.address, l.run)
			for i := range 2000 {
				half := ""
				if i%2 == 0 {
					half = l.request + "X: "
				}
				c, err := net.Dial(l.network, l.address)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				_, _ = io.WriteString(c, half) // it may be hung up on by now
			}
			if got := asks(t, l, l.request+"Host: 127.0.0.1\r\nConnection: close\r\n\r\n"); got != http.StatusOK {
				t.Errorf("a good client got %d, want its answer", got)
			}
		})
	}
}

// over is how many connections beyond its share a user tries to have.
const over = 44

// crowdIn is the client of one user that takes all it can of the admin socket
// with questions that take long. It says how often it was refused, and holds on
// until its input ends.
func crowdIn(socket string) {
	refused := make(chan struct{}, maxOfUser+over)
	for range maxOfUser + over {
		c, err := net.Dial("unix", socket)
		if err != nil {
			fmt.Println(err)
			return
		}
		go func() {
			_, _ = io.WriteString(c, "GET /wait/billing HTTP/1.1\r\nHost: outrider\r\n\r\n")
			_, _ = io.Copy(io.Discard, c)
			refused <- struct{}{}
		}()
	}
	patience := time.After(time.Minute)
	n := 0
	for n < over {
		select {
		case <-refused:
			n++
			continue
		case <-patience:
		}
		break
	}
	fmt.Println(n, "refused")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func TestOneUserKeepsNoOtherFromASocket(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can connect as somebody else")
	}
	client := serving(t, decider{users: []string{"65533"}})
	open(t, client.Path)
	greedy := as(t, 65534, "SERVE_TEST_CROWD="+client.Path, client.Path)
	hold, err := greedy.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	says, err := greedy.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := greedy.Start(); err != nil {
		t.Fatal(err)
	}
	got, err := bufio.NewReader(says).ReadString('\n')
	if want := fmt.Sprintln(over, "refused"); err != nil || got != want {
		t.Errorf("a user who wants more than its share: %q, %v; want %q", got, err, want)
	}
	out, err := as(t, 65533, "SERVE_TEST_SOCKET="+client.Path, client.Path).CombinedOutput()
	if want := "status: 1 apps, <nil>"; err != nil || !strings.HasPrefix(string(out), want) {
		t.Errorf("another user meanwhile: %s, %v; want %q", out, err, want)
	}
	_ = hold.Close()
	if err := greedy.Wait(); err != nil {
		t.Error(err)
	}
}

// queueVault counts the units that wait, and answers when it is told to.
type queueVault struct {
	waiting atomic.Int32
	release chan struct{}
}

func (v *queueVault) Credential(context.Context, string, string) (secret.Value, error) {
	v.waiting.Add(1)
	<-v.release
	return secret.Text("pw"), nil
}

func TestUnitsOverTheBoundWaitForTheirCredential(t *testing.T) {
	path := filepath.Join(t.TempDir(), "credentials.sock")
	vault := &queueVault{release: make(chan struct{})}
	start(t, "unix", path, Systemd{Path: path, Agent: vault, Log: slog.New(slog.DiscardHandler), root: uint32(os.Getuid())}.Run)
	const units = maxConnections + 6
	got := make(chan string, units)
	for i := range units {
		dialer := net.Dialer{LocalAddr: &net.UnixAddr{Name: fmt.Sprintf("@%x/unit/u%d.service/db", os.Getpid(), i), Net: "unix"}}
		c, err := dialer.DialContext(t.Context(), "unix", path)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			defer c.Close()
			text, _ := io.ReadAll(c)
			got <- string(text)
		}()
	}
	for vault.waiting.Load() < maxConnections {
		if t.Context().Err() != nil {
			return
		}
	}
	if n := vault.waiting.Load(); n != maxConnections {
		t.Errorf("%d units are answered at once, want %d", n, maxConnections)
	}
	close(vault.release)
	for range units {
		if text := <-got; text != "pw" {
			t.Errorf("a unit got %d bytes, want its credential", len(text))
		}
	}
}

func TestAUnitThatDoesNotReadIsGivenUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "credentials.sock")
	big := unitVault{"billing.service/db": secret.Text(strings.Repeat("x", credentialLimit))}
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan struct{}), make(chan error, 1)
	server := Systemd{Path: path, Agent: big, Log: slog.New(slog.DiscardHandler), Listening: func() { close(ready) }, root: uint32(os.Getuid())}
	go func() { ended <- server.Run(ctx) }()
	<-ready
	dialer := net.Dialer{LocalAddr: &net.UnixAddr{Name: "@1/unit/billing.service/db", Net: "unix"}}
	c, err := dialer.DialContext(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) { // it has no other way to end
		t.Errorf("Run = %v, want its context's cause", err)
	}
}

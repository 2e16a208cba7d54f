package serve

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"outrider/internal/porttest"
)

func container(address string) Container {
	return Container{Address: address, Agent: keeper{token: "tok"}, Log: slog.New(slog.DiscardHandler)}
}

func metadataAt(address string) IMDS {
	return IMDS{Address: address, Role: "billing", Agent: keeper{}, Log: slog.New(slog.DiscardHandler)}
}

func TestEndpointsListenOnLoopbackAlone(t *testing.T) {
	for _, address := range []string{"", "9470", ":9470", "localhost:9470", "0.0.0.0:0", "[::]:0", "192.0.2.1:9470", "169.254.169.254:80"} {
		for key, run := range map[string]func(context.Context) error{
			"listen.credentials": container(address).Run, "listen.imds.address": metadataAt(address).Run,
		} {
			if err := run(t.Context()); err == nil || !strings.Contains(err.Error(), "not a loopback address") || !strings.Contains(err.Error(), key) {
				t.Errorf("%s %q: %v, want the remedy", key, address, err)
			}
		}
	}
	if err := metadataAt("unix:/run/imds.sock").Run(t.Context()); err == nil {
		t.Error("IMDS listens on a unix socket")
	}
}

func TestASecondListenerIsToldSo(t *testing.T) {
	address := porttest.Free(t)
	start(t, "tcp", address, container(address).Run)
	for key, run := range map[string]func(context.Context) error{
		"listen.credentials": container(address).Run, "listen.imds.address": metadataAt(address).Run,
	} {
		want := address + ": another process listens there; stop that one or change " + key
		if err := run(t.Context()); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestOptionsOfTheServerIsAMethodLikeOthers(t *testing.T) {
	address := porttest.Free(t)
	start(t, "tcp", address, container(address).Run)
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "OPTIONS * HTTP/1.1\r\nHost: "+address+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || answer.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("got %v, %v, want 405", answer, err)
	}
}

func TestAnswersHaveOneHopToLive(t *testing.T) {
	for _, tc := range []struct {
		address       string
		level, option int
	}{{"127.0.0.1:0", unix.IPPROTO_IP, unix.IP_TTL}, {"[::1]:0", unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS}} {
		l, err := place{address: tc.address}.listenTCP(t.Context())
		if err != nil {
			if strings.Contains(tc.address, "::1") && errors.Is(err, unix.EADDRNOTAVAIL) {
				t.Log("no IPv6 here")
				continue
			}
			t.Fatal(err)
		}
		defer l.Close()
		client, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		accepted, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer accepted.Close()
		raw, err := accepted.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		hops := 0
		if err := raw.Control(func(fd uintptr) { hops, err = unix.GetsockoptInt(int(fd), tc.level, tc.option) }); err != nil {
			t.Fatal(err)
		}
		if err != nil || hops != 1 {
			t.Errorf("%s: an accepted connection has a hop limit of %d (%v), want 1", tc.address, hops, err)
		}
	}
}

// served runs a handler until the returned stop, which returns what serve did.
func served(t *testing.T, h http.HandlerFunc, grace time.Duration, most int) (url string, stop func() error) {
	t.Helper()
	return servedBy(t, newServerOf(newCrowd(most, most), h, slog.New(slog.DiscardHandler)), grace)
}

func servedBy(t *testing.T, s *http.Server, grace time.Duration) (url string, stop func() error) {
	t.Helper()
	p := place{what: "test", address: "127.0.0.1:0"}
	l, err := p.listenTCP(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.serve(ctx, l, s, grace) }()
	return "http://" + l.Addr().String(), func() error {
		cancel(errStopped)
		return <-ended
	}
}

var errStopped = errors.New("stopped")

func TestAnswersUnderWayHaveTheGracePeriod(t *testing.T) {
	for name, grace := range map[string]time.Duration{"a minute to end": time.Minute, "no time": 0} {
		arrived, release := make(chan struct{}), make(chan struct{})
		url, stop := served(t, func(w http.ResponseWriter, r *http.Request) {
			close(arrived)
			select {
			case <-release:
			case <-r.Context().Done(): // the connection was cut
			}
			_, _ = io.WriteString(w, "whole")
		}, grace, 10)
		answer := make(chan string, 1)
		go func() {
			r, err := http.Get(url)
			if err != nil {
				answer <- ""
				return
			}
			defer r.Body.Close()
			body, _ := io.ReadAll(r.Body)
			answer <- string(body)
		}()
		<-arrived
		stopped := make(chan error, 1)
		go func() { stopped <- stop() }()
		want := ""
		if grace > 0 {
			want = "whole"
			for dialable(url) { // until the endpoint has begun to stop
				continue
			}
			close(release)
		}
		if got := <-answer; got != want {
			t.Errorf("%s: the client got %q, want %q", name, got, want)
		}
		if err := <-stopped; !errors.Is(err, errStopped) {
			t.Errorf("%s: serve = %v, want its context's cause", name, err)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

func dialable(url string) bool {
	c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err == nil {
		c.Close()
	}
	return err == nil
}

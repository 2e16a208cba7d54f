package agent

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// hangUp answers the first request on each connection, and cuts the connection
// once the next one has come, as a load balancer does with what was idle. It
// returns what the requests held.
func hangUp(t *testing.T, l net.Listener) <-chan string {
	t.Helper()
	bodies := make(chan string, 10)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			in := bufio.NewReader(c)
			for answer := "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"; ; answer = "" {
				r, err := http.ReadRequest(in)
				if err != nil {
					break
				}
				body, _ := io.ReadAll(r.Body)
				bodies <- string(body) + strings.Join(r.Header["X-Idempotency-Key"], "")
				if answer == "" {
					break
				}
				_, _ = io.WriteString(c, answer)
			}
			_ = c.Close()
		}
	}()
	return bodies
}

func TestAnIdleConnectionThatWasCutCostsNoCall(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	bodies := hangUp(t, l)
	base := baseTransport()
	defer base.CloseIdleConnections()
	client := &http.Client{Transport: inMemory{base}, Timeout: time.Minute}
	for i := range 3 {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+l.Addr().String(), io.NopCloser(strings.NewReader("asked")))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := client.Do(r)
		if err != nil {
			t.Fatalf("call %d: %v", i+1, err)
		}
		_ = answer.Body.Close()
		if _, ok := r.Header["X-Idempotency-Key"]; ok || r.GetBody != nil {
			t.Error("the caller's request was changed")
		}
	}
	for range 5 { // the second and the third came twice
		if got := <-bodies; got != "asked" {
			t.Errorf("%q came over the wire, want what was asked and nothing else", got)
		}
	}
}

package serve

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"outrider/internal/porttest"
)

// listener is one of the HTTP listeners, what it can be asked with success,
// and for what host.
type listener struct {
	network, address string
	run              func(context.Context) error
	request          string // without the Host and the empty line
	named            bool   // it may be asked by any name
}

// listeners returns all of them, each at an address of its own.
func listeners(t *testing.T) map[string]listener {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	local, admin := filepath.Join(t.TempDir(), "c.sock"), filepath.Join(t.TempDir(), "a.sock")
	credentials, imds, metrics := porttest.Free(t), porttest.Free(t), porttest.Free(t)
	const role, scraped = "GET /roles/billing HTTP/1.1\r\nAuthorization: tok\r\n", "GET /metrics HTTP/1.1\r\n"
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	at := func(address string) Metrics { return Metrics{Address: address, Agent: apps(nil), Scrape: ok, Log: log} }
	all := map[string]listener{
		"credentials":           {"tcp", credentials, container(credentials).Run, role, false},
		"credentials, a socket": {"unix", local, container("unix:" + local).Run, role, true},
		"imds":                  {"tcp", imds, metadataAt(imds).Run, "PUT /latest/api/token HTTP/1.1\r\n" + ttlHeader + ": 60\r\n", false},
		"metrics":               {"tcp", metrics, at(metrics).Run, scraped, false},
		"admin":                 {"unix", admin, Admin{Path: admin, Agent: decider{}, Log: log}.Run, "GET /status HTTP/1.1\r\n", true},
	}
	_, port, _ := net.SplitHostPort(porttest.Free(t))
	everywhere := "0.0.0.0:" + port
	all["metrics, everywhere"] = listener{"tcp", everywhere, at(everywhere).Run, scraped, true}
	return all
}

// asks sends the text of a request and returns the answer's status, 0 when
// there is none but the end.
func asks(t *testing.T, l listener, text string) int {
	t.Helper()
	c, err := net.Dial(l.network, l.address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(c, text); err != nil {
		return 0 // it was answered, and closed, before all of it was read
	}
	answer, err := io.ReadAll(io.LimitReader(c, 12))
	if err != nil || len(answer) < 12 {
		return 0
	}
	status, _ := strconv.Atoi(string(answer[9:]))
	return status
}

func TestEveryListenerRefusesBrowsersAndWhatIsTooLong(t *testing.T) {
	for name, l := range listeners(t) {
		t.Run(name, func(t *testing.T) {
			start(t, l.network, l.address, l.run)
			here := "Host: " + l.address + "\r\n"
			if l.network == "unix" {
				here = "Host: outrider\r\n"
			}
			byName := http.StatusBadRequest
			if l.named {
				byName = http.StatusOK
			}
			for what, tc := range map[string]struct {
				headers string
				want    int
			}{
				"what a client asks":                    {here, 200},
				"what a person asks in a browser":       {here + "Sec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\n", 200},
				"what a page asks":                      {here + "Origin: https://example.com\r\n", 403},
				"what a page without an origin asks":    {here + "Origin: null\r\n", 403},
				"what an image in a page asks":          {here + "Sec-Fetch-Site: cross-site\r\n", 403},
				"what a page asks that came from here":  {here + "Sec-Fetch-Site: same-origin\r\n", 403},
				"what a proxy passes on":                {here + "X-Forwarded-For: 192.0.2.1\r\n", 400},
				"what asks by a name":                   {"Host: rebound.example\r\n", byName},
				"what asks for two hosts":               {here + here, 400},
				"what asks for none":                    {"", 400},
				"a header that is too long":             {here + "X: " + strings.Repeat("x", 64<<10) + "\r\n", 431},
				"a header of 10 MiB":                    {here + "X: " + strings.Repeat("x", 10<<20) + "\r\n", 431},
				"a hundred thousand headers":            {here + strings.Repeat("X: x\r\n", 100_000), 431},
				"a header that is none":                 {here + "X\r\n", 400},
				"a length that contradicts another one": {here + "Content-Length: 1\r\nContent-Length: 2\r\n", 400},
			} {
				got := asks(t, l, l.request+tc.headers+"Connection: close\r\n\r\n")
				if got != tc.want && (tc.want != 431 || got != 0) {
					t.Errorf("%s: got %d, want %d", what, got, tc.want)
				}
			}
		})
	}
}

// TestEveryListenerGivesUpOnTheSlow has clients that stop in the middle of
// what they ask, all at once: each waits for as long as one may.
func TestEveryListenerGivesUpOnTheSlow(t *testing.T) {
	open := map[string]net.Conn{}
	for name, l := range listeners(t) {
		start(t, l.network, l.address, l.run)
		for what, text := range map[string]string{
			"nothing":                   "",
			"half a header":             l.request + "X: ",
			"a body that does not come": l.request + "Host: 127.0.0.1\r\nContent-Length: 1000\r\n\r\nx",
			"a piece of a body":         l.request + "Host: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
		} {
			c, err := net.Dial(l.network, l.address)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := io.WriteString(c, text); err != nil {
				t.Fatal(err)
			}
			open[name+": "+what] = c
		}
	}
	for what, c := range open {
		_ = c.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the listener waits for ever", what)
		}
	}
}

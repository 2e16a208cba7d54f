package serve

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzRequest gives each listener's handler what a client on this machine may
// write. Only what shows the token gets a session, and nothing brings a handler
// down.
func FuzzRequest(f *testing.F) {
	const host = "Host: 127.0.0.1\r\n"
	for _, seed := range []string{
		"GET /roles/billing HTTP/1.1\r\n" + host + "Authorization: tok\r\n\r\n",
		"GET //roles//other/ HTTP/1.1\r\n" + host + "\r\n",
		"PUT /latest/api/token HTTP/1.1\r\n" + host + "X-aws-ec2-metadata-token-ttl-seconds: 60\r\n\r\n",
		"GET /latest/meta-data/iam/security-credentials/lab-billing HTTP/1.1\r\n" + host + "X-aws-ec2-metadata-token: AAAA\r\n\r\n",
		"GET /latest/dynamic/instance-identity/document HTTP/1.0\r\n\r\n",
		"GET /readyz?app=web&app=%zz HTTP/1.1\r\n" + host + "\r\n",
		"HEAD /metrics HTTP/1.1\r\n" + host + "Origin: null\r\n\r\n",
		"POST /refresh?app=billing HTTP/1.1\r\nHost: outrider\r\n\r\n",
		"GET /credentials/%2e%2e%2fbilling HTTP/1.1\r\nHost: outrider\r\nX-Forwarded-For: ::1\r\n\r\n",
		"POST /retry/billing HTTP/1.1\r\nHost: outrider\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
		"GET /status HTTP/1.1\r\nHost: [::1]:9\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\n" + host + "\r\n",
	} {
		f.Add([]byte(seed))
	}
	log := slog.New(slog.DiscardHandler)
	admin := Admin{Agent: decider{}, Log: log}.handler()
	handlers := map[string]http.Handler{
		"credentials": container("127.0.0.1:9470").endpoint(),
		"socket":      container("unix:/run/credentials.sock").endpoint(),
		"imds":        metadataAt("127.0.0.1:9911").endpoint(),
		"metrics":     Metrics{Address: "127.0.0.1:9469", Agent: apps{"billing"}, Scrape: http.NotFoundHandler()}.handler(),
		"admin":       admin,
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for name, h := range handlers {
			r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(text)))
			if err != nil {
				return
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel() // a wait is not waited for
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r.WithContext(ctx))
			shown := name == "credentials" && r.Header.Get("Authorization") == "tok"
			if body := w.Body.String(); !shown && (strings.Contains(body, "s3cret") || strings.Contains(body, "t0ken")) {
				t.Errorf("%s: %q got a session", name, text)
			}
			if w.Code == http.StatusOK && (r.Header["Origin"] != nil || r.Header["X-Forwarded-For"] != nil) {
				t.Errorf("%s: %q was answered", name, text)
			}
		}
	})
}

// FuzzPeerName gives what a process may have bound its end to. Only systemd's
// form names a unit.
func FuzzPeerName(f *testing.F) {
	for _, seed := range []string{"@a1b2/unit/billing.service/db", "@/unit/a/b", "@0/unit//b", "@0/unit/a/b/c", "@0/unit/a\n/b", "", "@", "/run/x", "@0/unit/../b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		m := peerName.FindStringSubmatch(name)
		if m == nil {
			return
		}
		if m[1] == "" || m[2] == "" || strings.Contains(m[1]+m[2], "/") || !strings.HasSuffix(name, "/unit/"+m[1]+"/"+m[2]) {
			t.Errorf("%q names unit %q and credential %q", name, m[1], m[2])
		}
	})
}

// FuzzAnswer gives the client what whoever has the socket may answer.
func FuzzAnswer(f *testing.F) {
	const head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
	for _, seed := range []string{
		head + `{"version":"1","ready":true,"apps":{"billing":{"state":"current","files":{"/f":{}}}}}`,
		head + `{"apps":null}`, head + `[]`, head + `{"apps":{"a":1}}`, head,
		"HTTP/1.1 403 Forbidden\r\n\r\n{\"error\":\"not allowed\"}", "HTTP/1.1 503 X\r\n\r\n{\"stopping\":true,\"error\":\"x\"}",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "HTTP/1.1 100 Continue\r\n\r\n", "SSH-2.0-x\r\n", "",
	} {
		f.Add([]byte(seed))
	}
	dir, err := os.MkdirTemp("", "fuzz-") // a socket's path is short
	if err != nil {
		f.Fatal(err)
	}
	path := filepath.Join(dir, "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = l.Close(); _ = os.RemoveAll(dir) })
	f.Fuzz(func(t *testing.T, answer []byte) {
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			_, _ = http.ReadRequest(bufio.NewReader(c))
			_, _ = io.Copy(c, bytes.NewReader(answer))
		}()
		_, err := Client{Path: path}.Status(t.Context())
		<-ended
		if err != nil && err.Error() == "" {
			t.Error("got an error without a text")
		}
	})
}

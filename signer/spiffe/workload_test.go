package spiffe_test

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"outrider/internal/pkitest"
	"outrider/signer/spiffe"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const id = "spiffe://example.org/billing"

// issued is a new SVID with its chain.
func issued(t *testing.T, ca pkitest.Authority) (pkitest.Leaf, pkitest.SVID) {
	t.Helper()
	leaf := ca.Leaf(t, pkitest.Options{})
	return leaf, pkitest.NewSVID(t, id, leaf, ca.Certificate)
}

func TestFetchReturnsTheFirstSVIDWithItsChain(t *testing.T) {
	api := pkitest.NewWorkloadAPI(t)
	ca := pkitest.NewRoot(t, "root").Intermediate(t, "ca")
	leaf, svid := issued(t, ca)
	_, second := issued(t, ca)
	api.Push(svid, second)
	for _, address := range []string{"unix://" + api.Socket, "unix:" + api.Socket} {
		got, err := spiffe.Fetch(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		if got.ID != id || len(got.Certificates) != 2 || !got.Certificates[0].Equal(leaf.Parsed) || !got.Certificates[1].Equal(ca.Certificate) {
			t.Errorf("%s: got %s with %d certificates", address, got.ID, len(got.Certificates))
		}
		if diff := cmp.Diff(leaf.Key.Public(), got.Key.Public()); diff != "" {
			t.Errorf("%s: got another key", address)
		}
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	ca := pkitest.NewRoot(t, "root")
	leaf, _ := issued(t, ca)
	garbage := pkitest.NewSVID(t, id, leaf)
	garbage.X509Svid = []byte("garbage")
	keyless := pkitest.NewSVID(t, id, leaf)
	keyless.X509SvidKey = nil
	tests := map[string]struct {
		arrange func(api *pkitest.WorkloadAPI)
		want    string
	}{
		"no entry for this process":  {func(api *pkitest.WorkloadAPI) { api.Refuse(status.Error(codes.PermissionDenied, "no identity issued")) }, `"no identity issued"; register an entry`},
		"an agent that is not ready": {func(api *pkitest.WorkloadAPI) { api.Refuse(status.Error(codes.Unavailable, "still\nsyncing")) }, `not available: "still\nsyncing"`},
		"another failure":            {func(api *pkitest.WorkloadAPI) { api.Refuse(status.Error(codes.Internal, "disk full")) }, `"disk full" (gRPC status 13)`},
		"no SVID":                    {func(api *pkitest.WorkloadAPI) { api.Push() }, "no SVID for this process; register"},
		"a certificate that is none": {func(api *pkitest.WorkloadAPI) { api.Push(garbage) }, `"spiffe://example.org/billing" holds no certificate`},
		"a key that is none":         {func(api *pkitest.WorkloadAPI) { api.Push(keyless) }, "holds no private key"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			api := pkitest.NewWorkloadAPI(t)
			test.arrange(api)
			_, err := spiffe.Fetch(t.Context(), "unix://"+api.Socket)
			want := "SPIFFE Workload API at unix://" + api.Socket + ": "
			if err == nil || !strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), test.want) || strings.ContainsAny(err.Error(), "\r\n") {
				t.Errorf("got %v, want one line with %q", err, test.want)
			}
		})
	}
}

func TestSocketsThatAreNoWorkloadAPIs(t *testing.T) {
	dir := t.TempDir()
	for address, want := range map[string]string{
		"unix://" + dir + "/none": "no such file or directory; start the SPIFFE agent",
		"tcp://127.0.0.1:8081":    "is not the address of a socket",
		"unix:":                   "is not the address of a socket",
		"unix://host/path":        "is not the address of a socket",
	} {
		_, err := spiffe.Fetch(t.Context(), address)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", address, err, want)
		}
	}
	for name, answer := range map[string]string{"silence": "", "HTTP/1.1": "HTTP/1.1 400 Bad Request\r\n\r\n", "an end": "end"} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeoutCause(t.Context(), 200*time.Millisecond, errors.New("waited 200ms"))
			defer cancel()
			if got, err := spiffe.Fetch(ctx, "unix://"+answering(t, answer)); err == nil || len(got.Certificates) > 0 {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

// answering accepts connections and answers each with one text.
func answering(t *testing.T, answer string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "api-") //nolint:usetesting // the test's own folder may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, "sock"))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var open []net.Conn
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Write([]byte(answer))
			if answer == "end" {
				c.Close()
			}
			open = append(open, c)
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
		for _, c := range open {
			c.Close()
		}
		os.RemoveAll(dir)
	})
	return l.Addr().String()
}

func TestWatchTellsOfEachUpdateAndOfTheEnd(t *testing.T) {
	api := pkitest.NewWorkloadAPI(t)
	ca := pkitest.NewRoot(t, "root")
	_, svid := issued(t, ca)
	api.Push(svid)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	calls, done := make(chan struct{}, 10), make(chan error, 1)
	watch := func(ctx context.Context) {
		done <- spiffe.Watch(ctx, "unix://"+api.Socket, func() { calls <- struct{}{} })
	}
	go watch(ctx)
	await(t, calls)
	var last *x509.Certificate
	for range 3 {
		leaf, svid := issued(t, ca)
		api.Push(svid)
		await(t, calls)
		last = leaf.Parsed
	}
	if got, err := spiffe.Fetch(t.Context(), "unix://"+api.Socket); err != nil || !got.Certificates[0].Equal(last) {
		t.Errorf("got not the last SVID that was pushed, %v", err)
	}
	api.Stop()
	await(t, calls)
	if err := <-done; err == nil || !strings.HasPrefix(err.Error(), "SPIFFE Workload API at ") {
		t.Errorf("with the agent gone: got %v", err)
	}

	api = pkitest.NewWorkloadAPI(t)
	api.Push(svid)
	go watch(ctx)
	await(t, calls)
	cancel()
	if err := <-done; err != nil {
		t.Errorf("with the context at its end: got %v, want nil", err)
	}
	if len(calls) > 0 {
		t.Error("changed was called after the context's end")
	}
}

func await(t *testing.T, calls <-chan struct{}) {
	t.Helper()
	select {
	case <-calls:
	case <-time.After(time.Minute):
		t.Fatal("changed was not called within a minute")
	}
}

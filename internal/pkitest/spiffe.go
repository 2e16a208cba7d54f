package pkitest

import (
	"bytes"
	"context"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// SVID is what a Workload API hands out.
type SVID = *workload.X509SVID

// NewSVID returns the SVID of a leaf and what stands above it.
func NewSVID(tb testing.TB, id string, leaf Leaf, chain ...*x509.Certificate) SVID {
	tb.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(leaf.Key)
	if err != nil {
		tb.Fatal(err)
	}
	certificates := bytes.Clone(leaf.Parsed.Raw)
	for _, c := range chain {
		certificates = append(certificates, c.Raw...)
	}
	return &workload.X509SVID{SpiffeId: id, X509Svid: certificates, X509SvidKey: key, Bundle: leaf.Parsed.Raw}
}

// WorkloadAPI is a SPIFFE Workload API, served by gRPC's own library.
type WorkloadAPI struct {
	workload.UnimplementedSpiffeWorkloadAPIServer
	Socket string // path

	server *grpc.Server

	mu      sync.Mutex
	answer  *workload.X509SVIDResponse // nil until Push
	refusal error
	changed chan struct{} // closed when one of them is replaced
}

// NewWorkloadAPI serves a Workload API for the length of the test.
func NewWorkloadAPI(tb testing.TB) *WorkloadAPI {
	tb.Helper()
	// A socket's path is short: the test's own folder may not be.
	dir, err := os.MkdirTemp("", "spiffe-") //nolint:usetesting // see above
	if err != nil {
		tb.Fatal(err)
	}
	w := &WorkloadAPI{Socket: filepath.Join(dir, "sock"), server: grpc.NewServer(), changed: make(chan struct{})}
	workload.RegisterSpiffeWorkloadAPIServer(w.server, w)
	l, err := new(net.ListenConfig).Listen(context.Background(), "unix", w.Socket)
	if err != nil {
		tb.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = w.server.Serve(l)
	}()
	tb.Cleanup(func() {
		w.Stop()
		<-done
		_ = os.RemoveAll(dir)
	})
	return w
}

// Stop ends the server and every stream of it.
func (w *WorkloadAPI) Stop() { w.server.Stop() }

// Push hands out SVIDs from now on.
func (w *WorkloadAPI) Push(svids ...SVID) { w.set(&workload.X509SVIDResponse{Svids: svids}, nil) }

// Refuse answers with an error from now on.
func (w *WorkloadAPI) Refuse(err error) { w.set(nil, err) }

func (w *WorkloadAPI) set(answer *workload.X509SVIDResponse, refusal error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer, w.refusal = answer, refusal
	close(w.changed)
	w.changed = make(chan struct{})
}

// FetchX509SVID implements workload.SpiffeWorkloadAPIServer.
func (w *WorkloadAPI) FetchX509SVID(_ *workload.X509SVIDRequest, stream grpc.ServerStreamingServer[workload.X509SVIDResponse]) error {
	md, _ := metadata.FromIncomingContext(stream.Context())
	if got := md.Get("workload.spiffe.io"); len(got) != 1 || got[0] != "true" {
		return status.Error(codes.InvalidArgument, "security header missing from request")
	}
	for {
		w.mu.Lock()
		answer, refusal, changed := w.answer, w.refusal, w.changed
		w.mu.Unlock()
		if refusal != nil {
			return refusal
		}
		if answer != nil {
			if err := stream.Send(answer); err != nil {
				return err
			}
		}
		select {
		case <-changed:
		case <-stream.Context().Done():
			return nil
		}
	}
}

package spiffe

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"google.golang.org/protobuf/proto"
)

func FuzzParse(f *testing.F) {
	for _, svids := range [][]*workload.X509SVID{
		nil, {{}}, {{SpiffeId: "spiffe://example.org/billing", X509Svid: []byte{1}, X509SvidKey: []byte{2}, Hint: "internal"}, {SpiffeId: "second"}},
	} {
		seed, err := proto.Marshal(&workload.X509SVIDResponse{Svids: svids, Crl: [][]byte{{3}}, FederatedBundles: map[string][]byte{"a": {4}}})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(seed)
	}
	f.Add([]byte{0x48, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0x51, 1, 2, 3, 4, 5, 6, 7, 8, 0x5d, 1, 2, 3, 4}) // numbers
	f.Fuzz(func(t *testing.T, message []byte) {
		if svid, err := parse(message); err == nil && (len(svid.Certificates) == 0 || svid.Key == nil) {
			t.Error("got an SVID without a certificate or key")
		}
		var want workload.X509SVIDResponse
		if proto.Unmarshal(message, &want) != nil || len(want.Svids) == 0 {
			return
		}
		answer, err := fields(message)
		if err != nil || len(answer[1]) != len(want.Svids) {
			t.Skip("groups, which nobody sends any more")
		}
		svid, err := fields(answer[1][0])
		if err != nil {
			t.Skip("groups, which nobody sends any more")
		}
		for number, want := range map[uint64]string{1: want.Svids[0].SpiffeId, 2: string(want.Svids[0].X509Svid), 3: string(want.Svids[0].X509SvidKey)} {
			got := ""
			if values := svid[number]; len(values) > 0 {
				got = string(values[len(values)-1])
			}
			if got != want {
				t.Errorf("field %d: got %q, want %q", number, got, want)
			}
		}
	})
}

// FuzzStream gives what whoever serves the socket may answer with: a body of
// framed messages, and the status behind it.
func FuzzStream(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 2, 10, 0, 0, 0, 0, 0, 0}, "0", "")
	f.Add([]byte{0, 0, 0, 0, 9, 1}, "7", "no%20identity%0a issued")
	f.Add([]byte{1, 0, 0, 0, 0}, "14", "%")
	f.Add([]byte{0, 0xff, 0xff, 0xff, 0xff}, "-1", "x")
	f.Fuzz(func(t *testing.T, body []byte, code, text string) {
		left, r := len(body), bytes.NewReader(body)
		for {
			m, err := next(r)
			if err != nil {
				break
			}
			if left -= 5 + len(m); left != r.Len() {
				t.Fatalf("%d bytes are left, want %d", r.Len(), left)
			}
			_, _ = parse(m)
		}
		err := status(&http.Response{Trailer: http.Header{"Grpc-Status": {code}, "Grpc-Message": {text}}})
		if err == nil || strings.ContainsAny(err.Error(), "\r\n\x1b") {
			t.Errorf("got %v, want an error of one line", err)
		}
	})
}

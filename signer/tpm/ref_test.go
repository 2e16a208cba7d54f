package tpm_test

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"outrider/internal/pkitest"
	"outrider/signer/internal/device"
	"outrider/signer/tpm"
)

func TestParse(t *testing.T) {
	tests := map[string]struct {
		want tpm.Ref
		err  string
	}{
		"tpm2:0x81000001":                               {want: tpm.Ref{Handle: 0x81000001, Device: "/dev/tpmrm0"}},
		"tpm2:0X81ABCDEF?device=/dev/tpm0":              {want: tpm.Ref{Handle: 0x81abcdef, Device: "/dev/tpm0"}},
		"tpm2:/etc/host.key":                            {want: tpm.Ref{Path: "/etc/host.key", Device: "/dev/tpmrm0"}},
		"tpm2:host.key?device=unix:/run/tpm":            {want: tpm.Ref{Path: "host.key", Device: "unix:/run/tpm"}},
		"tpm2:host.key?device=tcp:127.0.0.1:2321":       {want: tpm.Ref{Path: "host.key", Device: "tcp:127.0.0.1:2321"}},
		"tpm2:host.key?device=tcp:[::1]:2321":           {want: tpm.Ref{Path: "host.key", Device: "tcp:[::1]:2321"}},
		"tpm2:host.key?device=tcp:tpm.example.com:2321": {err: "loopback"},
		"tpm2:host.key?device=tcp:192.0.2.1:2321":       {err: "loopback"},
		"tpm2:host.key?device=tcp:127.0.0.1":            {err: "loopback"},
		"tpm2:":                                         {err: "persistent handle such as"},
		"tpm2:0x80000001":                               {err: "not a persistent handle"},
		"tpm2:0x1810000001":                             {err: "not a persistent handle"},
		"tpm2:0x":                                       {err: "not a persistent handle"},
		"tpm2:0x81000001?":                              {err: "after ? stands device="},
		"tpm2:0x81000001?devise=/dev/tpm0":              {err: "after ? stands device="},
	}
	for uri, test := range tests {
		got, err := tpm.Parse(uri)
		if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: got %v, want %q", uri, err, test.err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" && test.err == "" {
			t.Errorf("%s (-want +got):\n%s", uri, diff)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, uri := range []string{"tpm2:0x81000001", "tpm2:0x81000001?device=unix:/run/tpm", "tpm2:host.key?device=/dev/tpm0", "tpm2:", "tpm2:a?device=b&c"} {
		f.Add(uri)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		ref, err := tpm.Parse(uri)
		if err == nil && (ref.Handle == 0) == (ref.Path == "") {
			t.Errorf("%q: got %+v, want a handle or a path", uri, ref)
		}
	})
}

func FuzzKeyFile(f *testing.F) {
	f.Add([]byte("-----BEGIN TSS2 PRIVATE KEY-----\nMAA=\n-----END TSS2 PRIVATE KEY-----\n"))
	text, err := os.ReadFile("testdata/p256.pem") // of a TPM that is no more
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	leaf := pkitest.NewRoot(f, "root").Leaf(f, pkitest.Options{}).Parsed
	f.Fuzz(func(t *testing.T, text []byte) {
		ref := tpm.Ref{Path: "host.key", Device: "unix:/nonexistent"}
		if _, err := tpm.Open(t.Context(), &device.Guard{}, ref, text, device.PIN{}, leaf); err == nil {
			t.Error("opened a key without a TPM")
		}
	})
}

package signer

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The two requests of AWS's own client that were captured on the wire; only
// the lengths of their certificates matter here.
func TestCanonicalRequestIsWhatAWSsClientSigns(t *testing.T) {
	const query = "profileArn=arn%3Aaws%3Arolesanywhere%3Aus-east-1%3A111122223333%3Aprofile%2F66666666-7777-8888-9999-000000000000" +
		"&roleArn=arn%3Aaws%3Aiam%3A%3A111122223333%3Arole%2Fservice-role%2Fapp" +
		"&trustAnchorArn=arn%3Aaws%3Arolesanywhere%3Aus-east-1%3A111122223333%3Atrust-anchor%2F11111111-2222-3333-4444-555555555555"
	tests := map[string]struct {
		headers map[string]string
		body    string // its SHA-256
		length  int
		signed  string
	}{
		"with a chain": {
			headers: map[string]string{
				"Amz-Sdk-Invocation-Id": "a32f5495-6878-4c89-b70b-b070756c4626",
				"Amz-Sdk-Request":       "attempt=1; max=3",
				"Content-Type":          "application/json",
				"X-Amz-Date":            "20261122T170650Z",
				"X-Amz-X509":            strings.Repeat("L", 804),
				"X-Amz-X509-Chain":      strings.Repeat("I", 700),
			},
			body:   "492bf9c277900ce5328fdc40fc6629eae44223aee845e97942827fe0f5c3a017",
			length: 2185,
			signed: "amz-sdk-invocation-id;amz-sdk-request;content-type;host;x-amz-date;x-amz-x509;x-amz-x509-chain",
		},
		"without a chain": {
			headers: map[string]string{
				"Amz-Sdk-Invocation-Id": "a7abdab1-e3a3-4c56-bb59-8f776c748f50",
				"Amz-Sdk-Request":       "attempt=1; max=3",
				"Content-Type":          "application/json",
				"X-Amz-Date":            "20261122T170647Z",
				"X-Amz-X509":            strings.Repeat("L", 1108),
			},
			body:   "1a15f67f6619aa540b13e9a4c37d149fb2c9bdea25d82b73a3878826694dfe27",
			length: 1754,
			signed: "amz-sdk-invocation-id;amz-sdk-request;content-type;host;x-amz-date;x-amz-x509",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			// Out of order, so that sorting is seen.
			pairs := strings.Split(query, "&")
			r, err := http.NewRequest(http.MethodPost, "http://127.0.0.1:18411/sessions?"+pairs[2]+"&"+pairs[0]+"&"+pairs[1], nil)
			if err != nil {
				t.Fatal(err)
			}
			want := "POST\n/sessions\n" + query + "\n"
			for name := range strings.SplitSeq(test.signed, ";") {
				if name == "host" {
					want += "host:127.0.0.1:18411\n"
					continue
				}
				r.Header.Set(name, test.headers[http.CanonicalHeaderKey(name)])
				want += name + ":" + test.headers[http.CanonicalHeaderKey(name)] + "\n"
			}
			want += "\n" + test.signed + "\n" + test.body
			for _, name := range []string{"User-Agent", "Accept-Encoding", "X-Amzn-Trace-Id", "Authorization"} {
				r.Header.Set(name, "not signed")
			}

			got, signed := canonical(r, test.body)
			if d := cmp.Diff(got, want); d != "" {
				t.Errorf("canonical request, got -, want +:\n%s", d)
			}
			if signed != test.signed {
				t.Errorf("signed headers: got %s, want %s", signed, test.signed)
			}
			if len(got) != test.length {
				t.Errorf("length: got %d bytes, want the %d that were captured", len(got), test.length)
			}
		})
	}
}

func TestCanonicalRequestEscapesAsRFC3986(t *testing.T) {
	r, err := http.NewRequest(http.MethodPost, "https://aws.test/a%20b?z=1+2&a=x%7Ey%2Bz%2f", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "  application/json;   charset=utf-8 ")
	got, _ := canonical(r, "hash")
	want := "POST\n/a%20b\na=x~y%2Bz%2F&z=1%202\ncontent-type:application/json; charset=utf-8\nhost:aws.test\n\ncontent-type;host\nhash"
	if d := cmp.Diff(got, want); d != "" {
		t.Errorf("canonical request, got -, want +:\n%s", d)
	}
}

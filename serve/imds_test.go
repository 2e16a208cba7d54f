package serve

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

const credentialsPath = "/latest/meta-data/iam/security-credentials/"

func imds(agent keeper) http.Handler {
	return IMDS{Address: "127.0.0.1:9911", Role: "billing", InstanceID: "web-01", Agent: agent}.endpoint()
}

// tokenOf asks for a token that lasts that many seconds.
func tokenOf(t *testing.T, h http.Handler, ttl string) string {
	t.Helper()
	answer, header := ask(h, "PUT", "/latest/api/token", http.Header{ttlHeader: {ttl}})
	if answer.Status != 200 || answer.Type != "text/plain" || header.Get(ttlHeader) != ttl {
		t.Fatalf("PUT token = %d %s, TTL %q, want 200 text/plain, TTL %q", answer.Status, answer.Type, header.Get(ttlHeader), ttl)
	}
	return answer.Body
}

func TestIMDSAnswersWithAToken(t *testing.T) {
	h := imds(keeper{})
	token := tokenOf(t, h, "21600")
	for _, tc := range []struct{ name, path, kind, want string }{
		{"the role's name is the ARN's last part", credentialsPath, "text/plain", "lab-billing"},
		{"a slash at the end may be missing", strings.TrimSuffix(credentialsPath, "/"), "text/plain", "lab-billing"},
		{"slashes may be doubled", "/" + strings.ReplaceAll(credentialsPath, "/", "//"), "text/plain", "lab-billing"},
		{"the region", "/latest/meta-data/placement/region", "text/plain", "eu-west-3"},
		{"the instance", "/latest/meta-data/instance-id/", "text/plain", "web-01"},
		{
			"the identity document", "/latest/dynamic/instance-identity/document", "application/json",
			`{"version":"2017-09-30","accountId":"111122223333","region":"eu-west-3","instanceId":"web-01"}` + "\n",
		},
	} {
		answer, header := ask(h, "GET", tc.path, http.Header{tokenHeader: {token}})
		if diff := cmp.Diff(got{200, tc.kind, tc.want}, answer); diff != "" || header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s (-want +got)\n%s", tc.name, diff)
		}
	}
}

func TestIMDSGivesTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := imds(keeper{})
		token := http.Header{tokenHeader: {tokenOf(t, h, "60")}}
		began := time.Now().UTC().Format(time.RFC3339)
		documents := map[string]map[string]string{
			credentialsPath + "lab-billing/": {
				"Code": "Success", "LastUpdated": began, "Type": "AWS-HMAC", "AccessKeyId": "ASIAX",
				"SecretAccessKey": "s3cret", "Token": "t0ken", "Expiration": "2126-01-02T02:04:05Z",
			},
			"/latest/meta-data/iam/info": {
				"Code": "Success", "LastUpdated": began,
				"InstanceProfileArn": "arn:aws:iam::111122223333:instance-profile/path/lab-billing",
			},
		}
		for range 2 {
			for path, want := range documents {
				answer, _ := ask(h, "GET", path, token)
				var members map[string]string
				if err := json.Unmarshal([]byte(answer.Body), &members); err != nil || answer.Status != 200 || answer.Type != "application/json" {
					t.Fatalf("%s: %d %s, %v", path, answer.Status, answer.Type, err)
				}
				if !cmp.Equal(members, want) {
					t.Errorf("%s: not the members that clients want", path)
				}
			}
			time.Sleep(10 * time.Second) // the session does not change by that
		}
	})
}

func TestIMDSRefuses(t *testing.T) {
	const token = "/latest/api/token"
	for _, tc := range []struct {
		name, method, path string
		header             http.Header // "Good": with a good token
		agent              keeper
		status             int
		want               string
	}{
		{"a GET of the token", "GET", token, nil, keeper{}, 405, "only PUT"},
		{"a POST for a token", "POST", token, nil, keeper{}, 405, "only PUT"},
		{"a token by way of a proxy", "PUT", token, http.Header{ttlHeader: {"60"}, "X-Forwarded-For": {"10.0.0.1"}}, keeper{}, 400, "X-Forwarded-For"},
		{"a token without a TTL", "PUT", token, http.Header{}, keeper{}, 400, "1 to 21600"},
		{"a TTL of nothing", "PUT", token, http.Header{ttlHeader: {"0"}}, keeper{}, 400, "1 to 21600"},
		{"a TTL over six hours", "PUT", token, http.Header{ttlHeader: {"21601"}}, keeper{}, 400, "1 to 21600"},
		{"a TTL below zero", "PUT", token, http.Header{ttlHeader: {"-1"}}, keeper{}, 400, "1 to 21600"},
		{"a TTL too large for any number", "PUT", token, http.Header{ttlHeader: {"99999999999999999999"}}, keeper{}, 400, "1 to 21600"},
		{"a TTL that is no number", "PUT", token, http.Header{ttlHeader: {"1h"}}, keeper{}, 400, "1 to 21600"},
		{"a PUT of credentials", "PUT", credentialsPath, http.Header{"Good": {}}, keeper{}, 405, "only GET"},
		{"credentials by way of a proxy", "GET", credentialsPath, http.Header{"Good": {}, "X-Forwarded-For": {"10.0.0.1"}}, keeper{}, 400, "X-Forwarded-For"},
		{"a role's name without a token", "GET", credentialsPath, nil, keeper{}, 401, "PUT /latest/api/token"},
		{"credentials without a token", "GET", credentialsPath + "lab-billing", nil, keeper{}, 401, "PUT /latest/api/token"},
		{"the region without a token", "GET", "/latest/meta-data/placement/region", nil, keeper{}, 401, "PUT /latest/api/token"},
		{"any path without a token", "GET", "/nowhere", nil, keeper{}, 401, "PUT /latest/api/token"},
		{"a token of its own making", "GET", credentialsPath, http.Header{tokenHeader: {strings.Repeat("A", 64)}}, keeper{}, 401, "PUT /latest/api/token"},
		{"another role", "GET", credentialsPath + "billing", http.Header{"Good": {}}, keeper{}, 404, "nothing is served"},
		{"another path", "GET", "/latest/user-data", http.Header{"Good": {}}, keeper{}, 404, "nothing is served"},
		{"no session", "GET", credentialsPath + "lab-billing", http.Header{"Good": {}}, keeper{err: errors.New("clock off")}, 503, "clock off"},
		{"an expired session", "GET", credentialsPath + "lab-billing", http.Header{"Good": {}}, keeper{change: func(c *Credentials) { c.Expiration = time.Now() }}, 503, "the session ended"},
		{"an empty session", "GET", credentialsPath + "lab-billing", http.Header{"Good": {}}, keeper{change: func(c *Credentials) { *c = Credentials{} }}, 503, "not whole"},
		{"a profile without a session", "GET", "/latest/meta-data/iam/info", http.Header{"Good": {}}, keeper{err: errors.New("clock off")}, 503, "clock off"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := imds(tc.agent)
			if _, ok := tc.header["Good"]; ok {
				tc.header.Set(tokenHeader, tokenOf(t, h, "60"))
			}
			answer, _ := ask(h, tc.method, tc.path, tc.header)
			if answer.Status != tc.status || answer.Type != "application/json" {
				t.Errorf("%d %s, want %d application/json", answer.Status, answer.Type, tc.status)
			}
			checkRefusal(t, answer.Body, tc.want)
		})
	}
}

func TestIMDSAnswersToAddressesAlone(t *testing.T) {
	h := imds(keeper{})
	for host, want := range map[string]int{
		"127.0.0.1:9911": 200, "127.0.0.1": 200, "[::1]:9911": 200, "[::1]": 200, "localhost:9911": 200, "169.254.169.254": 200,
		"rebound.example:9911": 400, "rebound.example": 400, "127.0.0.1.example:9911": 400, "": 400,
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "/latest/api/token", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		r.Header.Set(ttlHeader, "60")
		if answer, _ := record(h, r); answer.Status != want {
			t.Errorf("Host %q: %d, want %d", host, answer.Status, want)
		}
	}
}

func TestIMDSTokensEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := imds(keeper{})
		token := http.Header{tokenHeader: {tokenOf(t, h, "60")}}
		time.Sleep(60*time.Second - time.Nanosecond)
		if answer, _ := ask(h, "GET", credentialsPath, token); answer.Status != 200 {
			t.Errorf("just before its end: %d", answer.Status)
		}
		time.Sleep(time.Nanosecond)
		if answer, _ := ask(h, "GET", credentialsPath, token); answer.Status != 401 {
			t.Errorf("at its end: %d, want 401", answer.Status)
		}
	})
}

func TestIMDSTokensAreNotCrowdedOut(t *testing.T) {
	h := imds(keeper{})
	first := tokenOf(t, h, "60")
	for range 10_000 {
		if tokenOf(t, h, "21600") == first {
			t.Fatal("two tokens are the same")
		}
	}
	if answer, _ := ask(h, "GET", credentialsPath, http.Header{tokenHeader: {first}}); answer.Status != 200 {
		t.Errorf("after 10,000 others the first token gets %d", answer.Status)
	}
	if answer, _ := ask(imds(keeper{}), "GET", credentialsPath, http.Header{tokenHeader: {first}}); answer.Status != 401 {
		t.Errorf("another process's token gets %d, want 401", answer.Status)
	}
}

// FuzzToken looks for a token that was not issued and is valid all the same.
func FuzzToken(f *testing.F) {
	t, now := newTokens(), time.Now()
	issued := t.issue(now.Add(time.Hour))
	f.Add("")
	f.Add(issued[:63])
	f.Add(issued + "\n")
	f.Add("A" + issued[1:])
	f.Fuzz(func(tt *testing.T, token string) {
		if strings.ReplaceAll(strings.ReplaceAll(token, "\n", ""), "\r", "") != issued && t.valid(token, now) {
			tt.Errorf("%q is valid", token)
		}
	})
	if !t.valid(issued, now) {
		f.Error("an issued token is not valid")
	}
}

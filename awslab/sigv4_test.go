package awslab

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/smithy-go"
)

// sdk is AWS's own client on the lab. Without retries, so that a test sees
// the first answer.
func sdk(lab *Lab, keys aws.Credentials) *secretsmanager.Client {
	return secretsmanager.New(secretsmanager.Options{
		Region:      lab.setup.Region,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return keys, nil }),
		HTTPClient:  &http.Client{Transport: lab.RoundTripper()},
		Retryer:     aws.NopRetryer{},
	})
}

func adminKeys(lab *Lab) aws.Credentials {
	return aws.Credentials{AccessKeyID: lab.setup.AccessKeyID, SecretAccessKey: lab.setup.SecretAccessKey}
}

// sessionKeys opens a session as a host would.
func sessionKeys(t *testing.T, lab *Lab) aws.Credentials {
	t.Helper()
	res, body := do(t, lab, newAsker(t, lab, LeafOptions{}).request(t))
	var out struct {
		CredentialSet []struct {
			Credentials struct{ AccessKeyID, SecretAccessKey, SessionToken string }
		}
	}
	if err := json.Unmarshal([]byte(body), &out); err != nil || res.StatusCode != http.StatusCreated {
		t.Fatalf("status %d, %v", res.StatusCode, err)
	}
	c := out.CredentialSet[0].Credentials
	return aws.Credentials{AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken}
}

// codeOf is AWS's code in an error; empty for success.
func codeOf(err error) string {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		return e.ErrorCode()
	}
	return "not an answer of AWS: " + err.Error()
}

// The vectors are those of AWS's published SigV4 test suite.
func TestSignaturesOfThePublishedSuite(t *testing.T) {
	tests := []struct{ name, method, target, header, want string }{
		{"get-vanilla", "GET", "/", "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
		{"post-vanilla", "POST", "/", "", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
		{"get-vanilla-query-order-key-case", "GET", "/?Param2=value2&Param1=value1", "", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
		{"get-header-value-trim", "GET", "/", "My-Header1: value1 |My-Header2: \"a   b   c\"", "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest(test.method, "http://example.amazonaws.com"+test.target, nil)
			r.Header.Set("X-Amz-Date", "20150830T123600Z")
			signed := "host"
			for line := range strings.SplitSeq(test.header, "|") {
				if name, value, ok := strings.Cut(line, ":"); ok {
					r.Header.Set(name, value)
					signed += ";" + strings.ToLower(name)
				}
			}
			r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders="+signed+";x-amz-date, Signature="+test.want)
			a, err := parseAuthorization(r.Header)
			if err != nil {
				t.Fatal(err)
			}
			if got := a.hmacSignature("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", r, nil); got != test.want {
				t.Errorf("signature = %s, want %s", got, test.want)
			}
		})
	}
}

func TestCanonicalQuery(t *testing.T) {
	for raw, want := range map[string]string{
		"":             "",
		"b=2&a=1&a=0":  "a=0&a=1&b=2",
		"a":            "a=",
		"a-b=1&a=2":    "a=2&a-b=1", // sorted by name, not by the pair
		"x=%7E%2a+%20": "x=~%2A%2B%20",
		"x=%zz":        "x=%25zz",
		"roleArn=arn:aws:iam::111122223333:role/app": "roleArn=arn%3Aaws%3Aiam%3A%3A111122223333%3Arole%2Fapp",
	} {
		if got := canonicalQuery(raw); got != want {
			t.Errorf("canonicalQuery(%q) = %q, want %q", raw, got, want)
		}
	}
}

func TestCallsNeedASessionThatIsOpen(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Lab, *aws.Credentials)
		want   string
	}{
		{"a session", func(*Lab, *aws.Credentials) {}, ""},
		{"the lab's own keys", func(lab *Lab, c *aws.Credentials) { *c = adminKeys(lab) }, ""},
		{"an unknown access key", func(_ *Lab, c *aws.Credentials) { c.AccessKeyID = newKeyID("ASIA") }, "UnrecognizedClientException"},
		{"another secret key", func(_ *Lab, c *aws.Credentials) { c.SecretAccessKey = newSecretKey() }, "InvalidSignatureException"},
		{"another token", func(_ *Lab, c *aws.Credentials) { c.SessionToken = newToken() }, "UnrecognizedClientException"},
		{"no token", func(_ *Lab, c *aws.Credentials) { c.SessionToken = "" }, "UnrecognizedClientException"},
		{"a token with the lab's own keys", func(lab *Lab, c *aws.Credentials) {
			*c = adminKeys(lab)
			c.SessionToken = newToken()
		}, "UnrecognizedClientException"},
		{"a session that was revoked", func(lab *Lab, _ *aws.Credentials) { lab.RevokeSessions() }, "ExpiredTokenException"},
		{"a session past its hour", func(lab *Lab, _ *aws.Credentials) { lab.SetSkew(time.Hour) }, "ExpiredTokenException"},
		{"a clock that is off", func(lab *Lab, _ *aws.Credentials) { lab.SetSkew(6 * time.Minute) }, "InvalidSignatureException"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			lab := newLab(t, Options{})
			if _, err := lab.PutSecret("db", "first"); err != nil {
				t.Fatal(err)
			}
			keys := sessionKeys(t, lab)
			test.change(lab, &keys)
			_, err := sdk(lab, keys).GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: aws.String("db")})
			if got := codeOf(err); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if test.name == "a clock that is off" && !strings.Contains(err.Error(), "Signature expired") {
				t.Errorf("%v does not speak of the time", err)
			}
		})
	}
}

// TestEveryPartOfACallIsHeld signs with AWS's own signer and alters one thing
// on the way.
func TestEveryPartOfACallIsHeld(t *testing.T) {
	lab := newLab(t, Options{})
	keys := sessionKeys(t, lab)
	const body = `{"SecretId":"db"}`
	tests := []struct {
		name  string
		alter func(*http.Request)
		want  string // part of the answer
	}{
		{"nothing", func(*http.Request) {}, "ResourceNotFoundException"},
		{"no signature", func(r *http.Request) { r.Header.Del("Authorization") }, "MissingAuthenticationTokenException"},
		{"half a signature", func(r *http.Request) { r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=x") }, "IncompleteSignatureException"},
		{"another algorithm", func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "HMAC", "ECDSA", 1))
		}, "IncompleteSignatureException"},
		{"no date", func(r *http.Request) { r.Header.Del("X-Amz-Date") }, "IncompleteSignatureException"},
		{"another operation", func(r *http.Request) { r.Header.Set("X-Amz-Target", "secretsmanager.DeleteSecret") }, "InvalidSignatureException"},
		{"another host", func(r *http.Request) { r.Host = "secretsmanager.us-east-2.amazonaws.com" }, "InvalidSignatureException"},
		{"another body", func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(`{"SecretId":"dc"}`)) }, "InvalidSignatureException"},
		{"another query", func(r *http.Request) { r.URL.RawQuery = "a=b" }, "InvalidSignatureException"},
		{"another path", func(r *http.Request) { r.URL.Path = "/x" }, "InvalidSignatureException"},
		{"another content type", func(r *http.Request) { r.Header.Set("Content-Type", "application/json") }, "InvalidSignatureException"},
		{"a payload hash that is not the body's", func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD") }, "InvalidSignatureException"},
		{"the token not signed", func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), ";x-amz-security-token", "", 1))
		}, `\"x-amz-security-token\" must be signed`},
		{"another region", func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "us-east-1", "us-east-2", 1))
		}, "credential scope"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := request(t, http.MethodPost, "https://secretsmanager.us-east-1.amazonaws.com/", body)
			r.Header.Set("Content-Type", "application/x-amz-json-1.1")
			r.Header.Set("X-Amz-Target", "secretsmanager.GetSecretValue")
			if err := v4.NewSigner().SignHTTP(t.Context(), keys, r, sha(body), "secretsmanager", "us-east-1", time.Now()); err != nil {
				t.Fatal(err)
			}
			test.alter(r)
			res, answer := do(t, lab, r)
			if res.StatusCode != http.StatusBadRequest || !strings.Contains(answer, test.want) {
				t.Errorf("got %d %s, want 400 with %q", res.StatusCode, answer, test.want)
			}
		})
	}
}

func TestCallerIdentity(t *testing.T) {
	lab := newLab(t, Options{})
	const body = "Action=GetCallerIdentity&Version=2011-06-15"
	for name, test := range map[string]struct {
		keys   aws.Credentials
		status int
		want   string
	}{
		"the lab's own keys": {adminKeys(lab), 200, "<Arn>arn:aws:iam::111122223333:user/lab-admin</Arn>"},
		"a session":          {sessionKeys(t, lab), 200, "<Arn>arn:aws:sts::111122223333:assumed-role/outrider-lab/"},
		"other keys":         {aws.Credentials{AccessKeyID: newKeyID("AKIA"), SecretAccessKey: newSecretKey()}, 403, "<Code>InvalidClientTokenId</Code>"},
	} {
		r := request(t, http.MethodPost, "https://sts.us-east-1.amazonaws.com/", body)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
		if err := v4.NewSigner().SignHTTP(t.Context(), test.keys, r, sha(body), "sts", "us-east-1", time.Now()); err != nil {
			t.Fatal(err)
		}
		if res, answer := do(t, lab, r); res.StatusCode != test.status || !strings.Contains(answer, test.want) {
			t.Errorf("%s: got %d %s, want %d %s", name, res.StatusCode, answer, test.status, test.want)
		}
	}
}

func FuzzAuthorization(f *testing.F) {
	f.Add("AWS4-HMAC-SHA256 Credential=AKID/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, Signature=00", "20150830T123600Z", "a=b&c")
	f.Add("AWS4-X509-RSA-SHA256 Credential=15/x/y/z/w,SignedHeaders=,Signature==", "", "%")
	f.Fuzz(func(t *testing.T, line, stamp, query string) {
		a, err := parseAuthorization(http.Header{"Authorization": {line}, "X-Amz-Date": {stamp}})
		if err == nil && (len(a.signedHeaders) == 0 || a.signature == "" || a.date.Format(amzDate) != stamp) {
			t.Errorf("%q with %q was taken for an authorization: %+v", line, stamp, a)
		}
		if once := canonicalQuery(query); canonicalQuery(once) != once {
			t.Errorf("canonical query of %q is not canonical: %q", query, once)
		}
	})
}

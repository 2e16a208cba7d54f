package awslab

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// asker signs CreateSession by the user guide's recipe, written here once
// more: nothing of what it does is the lab's own code. Its zero fields are
// what a right request has.
type asker struct {
	leaf      *x509.Certificate
	chain     []*x509.Certificate
	key       crypto.Signer
	query     url.Values
	body      string
	date      time.Time
	host      string
	serial    string
	scope     string   // "/DATE/REGION/SERVICE/aws4_request" without the date
	algorithm string   // empty: the key's
	unsigned  []string // headers left out of SignedHeaders
	sign      func(crypto.Signer, []byte) ([]byte, error)
}

func newAsker(t *testing.T, lab *Lab, opts LeafOptions) asker {
	t.Helper()
	certPEM, keyPEM, chainPEM, err := lab.Issue(opts)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(keyPEM)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	leaf := parsePEM(t, certPEM)
	if len(leaf) != 1 {
		t.Fatalf("Issue gave %d leaves, want 1", len(leaf))
	}
	body := fmt.Sprintf(`{"profileArn":%q,"roleArn":%q,"trustAnchorArn":%q}`, lab.setup.Profile, lab.setup.Role, lab.setup.TrustAnchor)
	return asker{
		leaf: leaf[0], chain: parsePEM(t, chainPEM), key: key.(crypto.Signer), body: body, date: lab.now(),
		host: "rolesanywhere.us-east-1.amazonaws.com", serial: leaf[0].SerialNumber.String(), scope: "/us-east-1/rolesanywhere/aws4_request",
		sign: func(key crypto.Signer, message []byte) ([]byte, error) {
			digest := sha256.Sum256(message)
			return key.Sign(rand.Reader, digest[:], crypto.SHA256)
		},
	}
}

func parsePEM(t *testing.T, text []byte) []*x509.Certificate {
	t.Helper()
	var certs []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		certs = append(certs, cert)
	}
	return certs
}

func (a asker) request(t *testing.T) *http.Request {
	t.Helper()
	stamp := a.date.UTC().Format("20060102T150405Z")
	headers := map[string]string{
		"content-type": "application/json",
		"host":         a.host,
		"x-amz-date":   stamp,
		"x-amz-x509":   base64.StdEncoding.EncodeToString(a.leaf.Raw),
	}
	var chain []string
	for _, cert := range a.chain {
		chain = append(chain, base64.StdEncoding.EncodeToString(cert.Raw))
	}
	if len(chain) > 0 {
		headers["x-amz-x509-chain"] = strings.Join(chain, ",")
	}
	algorithm := a.algorithm
	if algorithm == "" {
		algorithm = "AWS4-X509-ECDSA-SHA256"
		if _, ok := a.key.(*rsa.PrivateKey); ok {
			algorithm = "AWS4-X509-RSA-SHA256"
		}
	}
	var names []string
	for name := range headers {
		if !strings.Contains(" "+strings.Join(a.unsigned, " ")+" ", " "+name+" ") {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	query := strings.ReplaceAll(a.query.Encode(), "+", "%20")
	canonical := "POST\n/sessions\n" + query + "\n"
	for _, name := range names {
		canonical += name + ":" + headers[name] + "\n"
	}
	canonical += "\n" + strings.Join(names, ";") + "\n" + sha(a.body)
	scope := stamp[:8] + a.scope
	signature, err := a.sign(a.key, []byte(algorithm+"\n"+stamp+"\n"+scope+"\n"+sha(canonical)))
	if err != nil {
		t.Fatal(err)
	}
	r := request(t, http.MethodPost, "https://"+a.host+"/sessions", a.body)
	r.URL.RawQuery = query
	for name, value := range headers {
		if name != "host" {
			r.Header.Set(name, value)
		}
	}
	r.Header.Set("Authorization", algorithm+" Credential="+a.serial+"/"+scope+", SignedHeaders="+strings.Join(names, ";")+", Signature="+hex.EncodeToString(signature))
	return r
}

func sha(s string) string {
	digest := sha256.Sum256([]byte(s))
	return hex.EncodeToString(digest[:])
}

// answered is what a CreateSession came to.
type answered struct {
	Status        int
	Code, Message string
	Reason        string
}

func ask(t *testing.T, lab *Lab, r *http.Request) answered {
	t.Helper()
	res, body := do(t, lab, r)
	var failure struct{ Message string }
	if err := json.Unmarshal([]byte(body), &failure); err != nil {
		t.Fatal(err)
	}
	return answered{res.StatusCode, res.Header.Get("X-Amzn-ErrorType"), failure.Message, res.Header.Get(reasonHeader)}
}

// toQuery moves members of the body into the query.
func (a asker) toQuery(t *testing.T, members ...string) asker {
	t.Helper()
	var body map[string]any
	if err := json.Unmarshal([]byte(a.body), &body); err != nil {
		t.Fatal(err)
	}
	a.query = url.Values{}
	for _, name := range members {
		a.query.Set(name, body[name].(string))
		delete(body, name)
	}
	rest, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	a.body = string(rest)
	return a
}

func TestARightCreateSessionIsAnswered(t *testing.T) {
	lab := newLab(t, Options{})
	tests := []struct {
		name    string
		leaf    LeafOptions
		members []string // that travel in the query
	}{
		{"P-256 in the body", LeafOptions{}, nil},
		{"P-384 in the body", LeafOptions{Key: P384}, nil},
		{"RSA 2048 in the query", LeafOptions{Key: RSA2048}, []string{"profileArn", "roleArn", "trustAnchorArn"}},
		{"RSA 3072 in the body", LeafOptions{Key: RSA3072}, nil},
		{"RSA 4096 in the body", LeafOptions{Key: RSA4096}, nil},
		{"ARNs in both places", LeafOptions{}, []string{"roleArn"}},
		{"one intermediate", LeafOptions{Intermediates: 1}, nil},
		{"five intermediates", LeafOptions{Intermediates: 5, Key: RSA2048}, []string{"profileArn", "roleArn", "trustAnchorArn"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := newAsker(t, lab, test.leaf).toQuery(t, test.members...)
			if got, want := ask(t, lab, a.request(t)), (answered{Status: 201}); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

func TestTheAnswerOfCreateSession(t *testing.T) {
	start := time.Date(2026, 11, 22, 17, 0, 0, 0, time.UTC)
	lab := newLab(t, Options{Now: func() time.Time { return start }, SessionDuration: 2 * time.Hour})
	a := newAsker(t, lab, LeafOptions{Serial: big.NewInt(0xf00), CommonName: "web-01"})
	res, body := do(t, lab, a.request(t))
	if res.StatusCode != http.StatusCreated {
		t.Fatalf("status %d: %s", res.StatusCode, body)
	}
	var got struct {
		CredentialSet []struct {
			AssumedRoleUser  struct{ ARN, AssumedRoleID string }
			Credentials      struct{ AccessKeyID, SecretAccessKey, SessionToken, Expiration string }
			PackedPolicySize *int
			RoleARN          string
			SourceIdentity   string
		}
		SubjectARN string
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.CredentialSet) != 1 {
		t.Fatalf("%d sets of credentials, want 1", len(got.CredentialSet))
	}
	set := got.CredentialSet[0]
	for _, check := range []struct{ what, got, want string }{
		{"assumed role", set.AssumedRoleUser.ARN, "arn:aws:sts::111122223333:assumed-role/outrider-lab/0f00"},
		{"expiration", set.Credentials.Expiration, "2026-11-22T19:00:00Z"},
		{"role", set.RoleARN, lab.setup.Role},
		{"source identity", set.SourceIdentity, "CN=web-01"},
		{"start of the access key id", set.Credentials.AccessKeyID[:4], "ASIA"},
		{"start of the subject", got.SubjectARN[:52], "arn:aws:rolesanywhere:us-east-1:111122223333:subject"},
	} {
		if check.got != check.want {
			t.Errorf("%s: %s, want %s", check.what, check.got, check.want)
		}
	}
	if set.Credentials.SecretAccessKey == "" || set.Credentials.SessionToken == "" || set.PackedPolicySize == nil {
		t.Error("a member of the credentials is missing")
	}
}

// TestEverySignedPartIsHeld alters one thing a time on the way, after the
// signature was made.
func TestEverySignedPartIsHeld(t *testing.T) {
	lab := newLab(t, Options{})
	other := newAsker(t, lab, LeafOptions{Intermediates: 1})
	header := func(name string, change func(string) string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, change(r.Header.Get(name))) }
	}
	replace := func(old, with string) func(*http.Request) {
		return header("Authorization", func(s string) string { return strings.Replace(s, old, with, 1) })
	}
	tests := []struct {
		name       string
		alter      func(*http.Request)
		wantReason string
	}{
		{"nothing", func(*http.Request) {}, ""},
		{"date by a second", header("X-Amz-Date", func(s string) string {
			at, _ := time.Parse("20060102T150405Z", s)
			return at.Add(time.Second).Format("20060102T150405Z")
		}), "verification error"},
		{"date twice", func(r *http.Request) { r.Header.Add("X-Amz-Date", r.Header.Get("X-Amz-Date")) }, "x-amz-date: sent 2 times"},
		{"date with a fraction", header("X-Amz-Date", func(s string) string { return s[:15] + ".5Z" }), "x-amz-date: not of the form"},
		{"certificate of another host", func(r *http.Request) {
			r.Header.Set("X-Amz-X509", base64.StdEncoding.EncodeToString(other.leaf.Raw))
		}, "credential serial"},
		{"certificate broken", header("X-Amz-X509", func(s string) string { return s[:len(s)-8] }), "x-amz-x509"},
		{"certificate on two lines", header("X-Amz-X509", func(s string) string { return s[:64] + " " + s[64:] }), "x-amz-x509: not padded base64"},
		{"certificate twice", func(r *http.Request) { r.Header.Add("X-Amz-X509", r.Header.Get("X-Amz-X509")) }, "x-amz-x509: sent 2 times"},
		{"chain of another host", func(r *http.Request) {
			r.Header.Set("X-Amz-X509-Chain", base64.StdEncoding.EncodeToString(other.chain[0].Raw))
		}, "verification error"},
		{"chain longer", header("X-Amz-X509-Chain", func(s string) string { return s + "," + s }), "verification error"},
		{"chain with spaces", header("X-Amz-X509-Chain", func(s string) string { return s + ", " + s }), "x-amz-x509-chain: not padded base64"},
		{"chain dropped", func(r *http.Request) { r.Header.Del("X-Amz-X509-Chain") }, `"x-amz-x509-chain" is not in lower case or was not sent`},
		{"host", func(r *http.Request) { r.Host = "rolesanywhere.us-east-2.amazonaws.com" }, "verification error"},
		{"port", func(r *http.Request) { r.Host += ":8443" }, "verification error"},
		{"content type", header("Content-Type", func(s string) string { return s + "; charset=utf-8" }), "verification error"},
		{"method", func(r *http.Request) { r.Method = http.MethodPut }, "unknown operation"},
		{"path", func(r *http.Request) { r.URL.RawPath, r.URL.Path = "/%73essions", "/sessions" }, "verification error"},
		{"body", func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(`{"durationSeconds":43200}`)) }, "verification error"},
		{"body with a space more", func(r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			r.Body = io.NopCloser(bytes.NewReader(append(body, ' ')))
		}, "verification error"},
		{"body dropped", func(r *http.Request) { r.Body = nil }, "verification error"},
		{"query value", func(r *http.Request) {
			r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "111122223333", "111122223334", 1)
		}, "verification error"},
		{"query longer", func(r *http.Request) { r.URL.RawQuery += "&x=y" }, "verification error"},
		{"query dropped", func(r *http.Request) { r.URL.RawQuery = "" }, "verification error"},
		{"algorithm", replace("AWS4-X509-ECDSA-SHA256", "AWS4-X509-RSA-SHA256"), "an EC key signs with"},
		{"algorithm of plain SigV4", replace("AWS4-X509-ECDSA-SHA256", "AWS4-HMAC-SHA256"), "an EC key signs with"},
		{"serial", replace("Credential=", "Credential=1"), "credential serial"},
		{"scope's date", replace("/20", "/19"), "credential scope"},
		{"scope's region", replace("/us-east-1/", "/us-east-2/"), "credential scope"},
		{"scope's service", replace("/rolesanywhere/", "/secretsmanager/"), "credential scope"},
		{"scope's end", replace("/aws4_request", "/aws5_request"), "credential scope"},
		{"scope longer", replace("/aws4_request", "/aws4_request/more"), "authorization: need"},
		{"signed header dropped", replace("content-type;", ""), `"content-type" must be signed`},
		{"signed header added", replace("SignedHeaders=", "SignedHeaders=accept;"), `"accept" is not in lower case or was not sent`},
		{"signed headers reordered", replace("content-type;host", "host;content-type"), "not sorted"},
		{"signed header repeated", replace("host;", "host;host;"), "not sorted, or one repeated"},
		{"signed header in upper case", replace("SignedHeaders=content", "SignedHeaders=Content"), "lower case"},
		{"signature's last bit", header("Authorization", func(s string) string {
			if s[len(s)-1] == '0' {
				return s[:len(s)-1] + "1"
			}
			return s[:len(s)-1] + "0"
		}), "verification error"},
		{"signature longer", header("Authorization", func(s string) string { return s + "00" }), "verification error"},
		{"signature not hexadecimal", replace("Signature=30", "Signature=zz"), "not hexadecimal"},
		{"signature twice", header("Authorization", func(s string) string { return s + s[strings.LastIndex(s, ", "):] }), "repeated"},
		{"header of AWS added", func(r *http.Request) { r.Header.Set("X-Amz-Security-Token", "x") }, `"x-amz-security-token" must be signed`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := newAsker(t, lab, LeafOptions{Intermediates: 1}).toQuery(t, "profileArn", "roleArn", "trustAnchorArn")
			r := a.request(t)
			test.alter(r)
			got := ask(t, lab, r)
			switch {
			case test.wantReason == "":
				if got.Status != http.StatusCreated {
					t.Errorf("the control was refused: %+v", got)
				}
			case test.wantReason == "unknown operation":
				if got.Status != http.StatusNotFound {
					t.Errorf("got %+v, want 404", got)
				}
			case got.Status != http.StatusForbidden || got.Code != "AccessDeniedException" || !strings.Contains(got.Reason, test.wantReason):
				t.Errorf("got %+v, want AccessDeniedException because of %q", got, test.wantReason)
			}
		})
	}
}

// TestWrongSignersAreRefused has the mistakes that implementers make: what
// they send is signed, but not as it should be.
func TestWrongSignersAreRefused(t *testing.T) {
	lab := newLab(t, Options{})
	pss := func(key crypto.Signer, message []byte) ([]byte, error) {
		digest := sha256.Sum256(message)
		return key.Sign(rand.Reader, digest[:], &rsa.PSSOptions{SaltLength: 32, Hash: crypto.SHA256})
	}
	raw := func(key crypto.Signer, message []byte) ([]byte, error) {
		digest := sha256.Sum256(message)
		r, s, err := ecdsa.Sign(rand.Reader, key.(*ecdsa.PrivateKey), digest[:])
		if err != nil {
			return nil, err
		}
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...), nil
	}
	tests := []struct {
		name       string
		leaf       LeafOptions
		change     func(*asker)
		wantReason string
	}{
		{"the serial in hex", LeafOptions{}, func(a *asker) { a.serial = a.leaf.SerialNumber.Text(16) }, "credential serial"},
		{"another region", LeafOptions{}, func(a *asker) { a.scope = "/eu-west-3/rolesanywhere/aws4_request" }, "credential scope"},
		{"another service", LeafOptions{}, func(a *asker) { a.scope = "/us-east-1/sts/aws4_request" }, "credential scope"},
		{"PSS", LeafOptions{Key: RSA2048}, func(a *asker) { a.sign = pss }, "verification error"},
		{"an ECDSA signature that is not ASN.1", LeafOptions{}, func(a *asker) { a.sign = raw }, "verification error"},
		{"the algorithm of the other key", LeafOptions{Key: RSA2048}, func(a *asker) { a.algorithm = "AWS4-X509-ECDSA-SHA256" }, "an RSA key signs with"},
		{"the key of another certificate", LeafOptions{}, func(a *asker) { a.key = newAsker(t, lab, LeafOptions{}).key }, "verification error"},
		{"the chain not signed", LeafOptions{Intermediates: 1}, func(a *asker) { a.unsigned = []string{"x-amz-x509-chain"} }, `"x-amz-x509-chain" must be signed`},
		{"the host not signed", LeafOptions{}, func(a *asker) { a.unsigned = []string{"host"} }, `"host" must be signed`},
		{"the date not signed", LeafOptions{}, func(a *asker) { a.unsigned = []string{"x-amz-date"} }, `"x-amz-date" must be signed`},
		{"the certificate not signed", LeafOptions{}, func(a *asker) { a.unsigned = []string{"x-amz-x509"} }, `"x-amz-x509" must be signed`},
		{"the content type not signed", LeafOptions{}, func(a *asker) { a.unsigned = []string{"content-type"} }, `"content-type" must be signed`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := newAsker(t, lab, test.leaf)
			test.change(&a)
			got := ask(t, lab, a.request(t))
			if got.Message != "Invalid signature" || got.Status != http.StatusForbidden || !strings.Contains(got.Reason, test.wantReason) {
				t.Errorf("got %+v, want Invalid signature because of %q", got, test.wantReason)
			}
		})
	}
}

func TestUntrustedCertificatesAreRefused(t *testing.T) {
	lab, foreign := newLab(t, Options{}), newLab(t, Options{})
	now := lab.now()
	tests := []struct {
		name       string
		from       *Lab
		leaf       LeafOptions
		change     func(*asker)
		wantReason string
	}{
		{"of another authority", foreign, LeafOptions{}, nil, "unknown authority"},
		{"without its intermediate", lab, LeafOptions{Intermediates: 1}, func(a *asker) { a.chain = nil }, "unknown authority"},
		{"with one of two intermediates", lab, LeafOptions{Intermediates: 2}, func(a *asker) { a.chain = a.chain[1:] }, "unknown authority"},
		{"with a chain of six", lab, LeafOptions{Intermediates: 6}, nil, "at most 5"},
		{"expired", lab, LeafOptions{NotAfter: now.Add(-time.Minute)}, nil, "expired"},
		{"not yet valid", lab, LeafOptions{NotBefore: now.Add(time.Minute)}, nil, "not yet valid"},
		{"of an authority", lab, LeafOptions{IsCA: true}, nil, "is a CA's"},
		{"without digitalSignature", lab, LeafOptions{KeyUsage: x509.KeyUsageKeyEncipherment}, nil, "digitalSignature"},
		{"without a subject", lab, LeafOptions{Subject: &pkix.Name{}, URIs: []*url.URL{{Scheme: "spiffe", Host: "lab", Path: "/host"}}}, nil, "empty subject"},
		{"signed with SHA-1", lab, LeafOptions{SignatureAlgorithm: x509.ECDSAWithSHA1}, nil, "unknown authority"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := newAsker(t, test.from, test.leaf)
			a.body = newAsker(t, lab, LeafOptions{}).body
			if test.change != nil {
				test.change(&a)
			}
			got := ask(t, lab, a.request(t))
			if got.Message != "Untrusted signing certificate" || got.Status != http.StatusForbidden || !strings.Contains(got.Reason, test.wantReason) {
				t.Errorf("got %+v, want Untrusted signing certificate because of %q", got, test.wantReason)
			}
		})
	}
}

func TestWhatCreateSessionAsksFor(t *testing.T) {
	other := newLab(t, Options{Region: "eu-west-3"})
	tests := []struct {
		name          string
		opts          Options
		member        string
		value         any // nil: the member is left out
		status        int
		code, message string
	}{
		{"the shortest duration", Options{}, "durationSeconds", 900, 201, "", ""},
		{"the longest duration", Options{}, "durationSeconds", 43200, 201, "", ""},
		{"a duration too short", Options{}, "durationSeconds", 899, 400, "ValidationException", "durationSeconds"},
		{"a duration too long", Options{}, "durationSeconds", 43201, 400, "ValidationException", "durationSeconds"},
		{"a duration that is a string", Options{}, "durationSeconds", "900", 400, "SerializationException", ""},
		{"more than the role allows", Options{SessionDuration: 2 * time.Hour, MaxSessionDuration: time.Hour}, "durationSeconds", 7200, 403, "AccessDeniedException", "Unable to assume role for"},
		{"as much as the role allows", Options{SessionDuration: 2 * time.Hour, MaxSessionDuration: time.Hour}, "durationSeconds", 3600, 201, "", ""},
		{"a session name that the profile accepts", Options{AcceptRoleSessionName: true}, "roleSessionName", "web-01", 201, "", ""},
		{"a session name that STS does not allow", Options{AcceptRoleSessionName: true}, "roleSessionName", "a b", 400, "ValidationException", "roleSessionName"},
		{"a session name that the profile refuses", Options{}, "roleSessionName", "web-01", 403, "AccessDeniedException", "Access Denied"},
		{"the deprecated session name", Options{}, "sessionName", "web-01", 201, "", ""},
		{"a member that is not known", Options{}, "duration", 900, 400, "SerializationException", "duration"},
		{"no trust anchor", Options{}, "trustAnchorArn", nil, 400, "ValidationException", "trustAnchorArn"},
		{"no profile", Options{}, "profileArn", nil, 400, "ValidationException", "profileArn"},
		{"no role", Options{}, "roleArn", nil, 400, "ValidationException", "roleArn"},
		{"a profile where the trust anchor should be", Options{}, "trustAnchorArn", other.setup.Profile, 400, "ValidationException", "trustAnchorArn"},
		{"a trust anchor of another region", Options{}, "trustAnchorArn", other.setup.TrustAnchor, 404, "ResourceNotFoundException", "Trust anchor"},
		{"a profile of another region", Options{}, "profileArn", other.setup.Profile, 404, "ResourceNotFoundException", "Profile"},
		{"a role that the profile does not have", Options{}, "roleArn", "arn:aws:iam::111122223333:role/service-role/admin", 403, "AccessDeniedException", "Unable to assume role for arn:aws:iam::111122223333:role/service-role/admin"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			lab := newLab(t, test.opts)
			a := newAsker(t, lab, LeafOptions{})
			var body map[string]any
			if err := json.Unmarshal([]byte(a.body), &body); err != nil {
				t.Fatal(err)
			}
			if body[test.member] = test.value; test.value == nil {
				delete(body, test.member)
			}
			text, err := json.Marshal(body)
			if err != nil {
				t.Fatal(err)
			}
			a.body = string(text)
			got := ask(t, lab, a.request(t))
			if got.Status != test.status || got.Code != test.code || !strings.Contains(got.Message, test.message) {
				t.Errorf("got %+v, want %d %s %s", got, test.status, test.code, test.message)
			}
		})
	}
}

func TestTheQueryAndTheBodyMustNotDiffer(t *testing.T) {
	lab := newLab(t, Options{})
	for query, want := range map[string]string{
		"roleArn=arn:aws:iam::111122223333:role/other": "roleArn: query and body differ",
		"durationSeconds=900":                          `query: "durationSeconds" is not known, or given twice`,
	} {
		a := newAsker(t, lab, LeafOptions{})
		a.query, _ = url.ParseQuery(query)
		if got := ask(t, lab, a.request(t)); got.Status != 400 || got.Message != want {
			t.Errorf("%s: got %+v, want 400 %s", query, got, want)
		}
	}
}

func TestASigningTimeMayBeFiveMinutesOff(t *testing.T) {
	start := time.Date(2026, 11, 22, 0, 2, 0, 0, time.UTC) // near midnight: the scope's day differs too
	for skew, want := range map[time.Duration]string{
		0:                              "",
		5 * time.Minute:                "",
		-5 * time.Minute:               "",
		5*time.Minute + time.Second:    "Signature expired: 20261122T000200Z is now earlier than 20261122T000201Z (20261122T000701Z - 5 min.)",
		-(5*time.Minute + time.Second): "Signature not yet current: 20261122T000200Z is still later than 20261122T000159Z (20261121T235659Z + 5 min.)",
		365 * 24 * time.Hour:           "Signature expired: 20261122T000200Z is now earlier than 20271121T235700Z (20271122T000200Z - 5 min.)",
	} {
		lab := newLab(t, Options{Now: func() time.Time { return start }})
		a := newAsker(t, lab, LeafOptions{NotBefore: start.Add(-time.Hour)})
		lab.SetSkew(skew)
		got := ask(t, lab, a.request(t))
		if got.Message != want || (want == "") != (got.Status == http.StatusCreated) {
			t.Errorf("skew %v: got %+v, want %q", skew, got, want)
		}
	}
}

func TestARevokedCertificateOpensNoSession(t *testing.T) {
	lab := newLab(t, Options{})
	a := newAsker(t, lab, LeafOptions{})
	lab.RevokeCertificate(a.leaf.SerialNumber)
	want := answered{Status: 403, Code: "AccessDeniedException", Message: "Certificate revoked"}
	if got := ask(t, lab, a.request(t)); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := ask(t, lab, newAsker(t, lab, LeafOptions{}).request(t)); got.Status != http.StatusCreated {
		t.Errorf("another certificate: got %+v, want 201", got)
	}
}

func TestNamesOfSessionAndSourceIdentity(t *testing.T) {
	for serial, want := range map[int64]string{0xf: "0f", 0xfec721: "fec721", 0x7fec721: "07fec721"} {
		if got := hexSerial(big.NewInt(serial)); got != want {
			t.Errorf("hexSerial(%d) = %s, want %s", serial, got, want)
		}
	}
	for name, want := range map[string]string{
		"web-01":                "CN=web-01",
		strings.Repeat("a", 61): "CN=" + strings.Repeat("a", 61),
		strings.Repeat("a", 62): strings.Repeat("a", 62),
		"":                      "ID=0f",
	} {
		cert := &x509.Certificate{SerialNumber: big.NewInt(15), Subject: pkix.Name{CommonName: name}}
		if diff := cmp.Diff(sourceIdentity(cert), want); diff != "" {
			t.Errorf("source identity of %q: %s", name, diff)
		}
	}
}

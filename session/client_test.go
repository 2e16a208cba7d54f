package session_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"outrider/awslab"
	"outrider/internal/pkitest"
	"outrider/session"
	"outrider/signer"
)

// calls is what CreateSession is counted under in the lab.
const calls = "rolesanywhere.CreateSession"

func newLab(t *testing.T, o awslab.Options) (*awslab.Lab, session.Role) {
	t.Helper()
	lab, err := awslab.New(o)
	if err != nil {
		t.Fatal(err)
	}
	s := lab.Setup()
	return lab, session.Role{Region: s.Region, TrustAnchor: s.TrustAnchor, Profile: s.Profile, Role: s.Role}
}

func issue(t *testing.T, lab *awslab.Lab, o awslab.LeafOptions) *signer.Identity {
	t.Helper()
	certificate, key, chain, err := lab.Issue(o)
	if err != nil {
		t.Fatal(err)
	}
	id, err := signer.Parse(certificate, chain, key)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func create(t *testing.T, c *session.Client, role session.Role, id *signer.Identity) session.Session {
	t.Helper()
	s, err := c.Create(t.Context(), role, id)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// refused returns the error of a Create that must fail, and checks what
// holds for every error.
func refused(t *testing.T, c *session.Client, role session.Role, id *signer.Identity) *session.Error {
	t.Helper()
	s, err := c.Create(t.Context(), role, id)
	e, ok := errors.AsType[*session.Error](err)
	if !ok {
		t.Fatalf("got %v, want a *session.Error", err)
	}
	if s.AccessKeyID != "" || s.SessionToken.Len() > 0 {
		t.Error("got credentials beside the error")
	}
	text := err.Error()
	if strings.ContainsAny(text, "\n\r\x1b") || len(text) > 2000 {
		t.Errorf("got %q, want one short line", text)
	}
	for _, not := range []string{role.Profile, role.TrustAnchor, "https://", "?profileArn"} {
		if not != "" && strings.Contains(text, not) {
			t.Errorf("got %q, want no URL and no ARN of ours in it", text)
		}
	}
	return e
}

func TestEveryKindOfIdentityGetsASession(t *testing.T) {
	lab, role := newLab(t, awslab.Options{Region: "eu-west-3"})
	c := &session.Client{Transport: lab.RoundTripper()}
	leaves := []awslab.LeafOptions{
		{Key: awslab.RSA2048}, {Key: awslab.RSA2048, Intermediates: 1},
		{Key: awslab.RSA3072}, {Key: awslab.RSA4096, Intermediates: 1}, // slow to make
		{Key: awslab.P256}, {Key: awslab.P256, Intermediates: 1},
		{Key: awslab.P384}, {Key: awslab.P384, Intermediates: 5},
	}
	for _, leaf := range leaves {
		t.Run(fmt.Sprintf("%s with %d intermediates", leaf.Key, leaf.Intermediates), func(t *testing.T) {
			s := create(t, c, role, issue(t, lab, leaf))
			if left := time.Until(s.Expires); left < 59*time.Minute || left > time.Hour {
				t.Errorf("expires in %s, want the profile's hour", left)
			}
			if !strings.HasPrefix(s.AccessKeyID, "ASIA") || s.SecretAccessKey.Len() == 0 || s.SessionToken.Len() == 0 {
				t.Errorf("got %+v, want temporary credentials", s)
			}
			if s.RoleARN != role.Role || s.Region != "eu-west-3" || !strings.Contains(s.SubjectARN, ":subject/") || s.Skew != 0 {
				t.Errorf("got %+v, want what was asked for", s)
			}
		})
	}
	if got := lab.Calls()[calls]; got != len(leaves) {
		t.Errorf("got %d calls, want %d", got, len(leaves))
	}
}

func TestRequestHoldsOnlyWhatIsSet(t *testing.T) {
	lab, role := newLab(t, awslab.Options{AcceptRoleSessionName: true, SessionDuration: 2 * time.Hour})
	id := issue(t, lab, awslab.LeafOptions{})
	tests := map[string]struct {
		duration time.Duration
		name     string
		want     map[string]any
	}{
		"nothing":    {want: map[string]any{}},
		"a duration": {duration: 30 * time.Minute, want: map[string]any{"durationSeconds": 1800.}},
		"a name":     {name: "web-01", want: map[string]any{"roleSessionName": "web-01"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var got map[string]any
			c := &session.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				body, err := io.ReadAll(r.Body)
				if err != nil {
					return nil, err
				}
				if err := json.Unmarshal(body, &got); err != nil {
					return nil, err
				}
				if query := slices.Sorted(maps.Keys(r.URL.Query())); !slices.Equal(query, []string{"profileArn", "roleArn", "trustAnchorArn"}) {
					t.Errorf("query: got %q", query)
				}
				r.Body = io.NopCloser(bytes.NewReader(body))
				return lab.RoundTripper().RoundTrip(r)
			})}
			role := role
			role.Duration, role.Name = test.duration, test.name
			s := create(t, c, role, id)
			if d := cmp.Diff(got, test.want); d != "" {
				t.Errorf("body, got -, want +:\n%s", d)
			}
			want := 2 * time.Hour
			if test.duration > 0 {
				want = test.duration
			}
			if left := time.Until(s.Expires); left > want || left < want-time.Minute {
				t.Errorf("expires in %s, want %s", left, want)
			}
		})
	}
}

func TestASkewedClockIsCorrectedOnce(t *testing.T) {
	lab, role := newLab(t, awslab.Options{})
	id := issue(t, lab, awslab.LeafOptions{NotBefore: time.Now().Add(-48 * time.Hour)})
	c := &session.Client{Transport: lab.RoundTripper()}
	// In order: what is learned is kept for the next step.
	for _, step := range []struct {
		name  string
		skew  time.Duration
		calls int
		want  time.Duration // of the session
		signs time.Duration // by which later signings are corrected
	}{
		{"together", 0, 1, 0, 0},
		{"AWS half a minute ahead", 30 * time.Second, 1, 30 * time.Second, 0},
		{"AWS half a minute behind", -30 * time.Second, 1, 0, 0},
		{"AWS an hour ahead", time.Hour, 2, time.Hour, time.Hour},
		{"still", time.Hour, 1, time.Hour, time.Hour},
		{"AWS an hour behind", -time.Hour, 2, -time.Hour, -time.Hour},
		{"set right", 0, 2, 0, 0},
		{"right", 0, 1, 0, 0},
	} {
		lab.SetSkew(step.skew)
		lab.ResetCalls()
		s := create(t, c, role, id)
		if got := lab.Calls()[calls]; got != step.calls {
			t.Errorf("%s: got %d calls, want %d", step.name, got, step.calls)
		}
		if off := (s.Skew - step.want).Abs(); off > 2*time.Second || (c.Skew()-step.signs).Abs() > 2*time.Second {
			t.Errorf("%s: got %s in the session and %s in the client, want %s and %s", step.name, s.Skew, c.Skew(), step.want, step.signs)
		}
	}
}

func TestASkewedClockThatIsNotTheReasonIsTriedTwiceOnly(t *testing.T) {
	lab, role := newLab(t, awslab.Options{})
	lab.SetSkew(-time.Hour / 2)
	id := issue(t, lab, awslab.LeafOptions{})
	lab.RevokeCertificate(id.Leaf().SerialNumber)
	e := refused(t, &session.Client{Transport: lab.RoundTripper()}, role, id)
	if got := lab.Calls()[calls]; got != 2 {
		t.Errorf("got %d calls, want 2", got)
	}
	if e.Message != "Certificate revoked" || (e.Skew+time.Hour/2).Abs() > 2*time.Second {
		t.Errorf("got %v and skew %s", e, e.Skew)
	}
}

func TestADateOutOfACacheTeachesNothing(t *testing.T) {
	lab, role := newLab(t, awslab.Options{})
	id := issue(t, lab, awslab.LeafOptions{})
	for name, header := range map[string][2]string{
		"cached":    {"Age", "3600"},
		"malformed": {"Date", "yesterday"},
	} {
		t.Run(name, func(t *testing.T) {
			c := &session.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				res, err := lab.RoundTripper().RoundTrip(r)
				res.Header.Set("Date", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat))
				res.Header.Set(header[0], header[1])
				return res, err
			})}
			if s := create(t, c, role, id); s.Skew != 0 || c.Skew() != 0 {
				t.Errorf("got skew %s, want none", s.Skew)
			}
		})
	}
}

func TestAWSsRefusalsComeWithTheRemedy(t *testing.T) {
	day := 24 * time.Hour
	tests := map[string]struct {
		lab       awslab.Options
		leaf      awslab.LeafOptions
		prepare   func(*awslab.Lab, *session.Role, *signer.Identity)
		status    int
		code      string
		remedy    string
		temporary bool
	}{
		"an unknown authority": {
			prepare: func(_ *awslab.Lab, _ *session.Role, id *signer.Identity) { *id = *stranger(t) },
			status:  403, code: "AccessDeniedException", remedy: `"CN=elsewhere" must be the trust anchor's certificate`,
		},
		"a revoked certificate": {
			prepare: func(l *awslab.Lab, _ *session.Role, id *signer.Identity) { l.RevokeCertificate(id.Leaf().SerialNumber) },
			status:  403, code: "AccessDeniedException", remedy: "issue a new certificate",
		},
		"an expired certificate": {
			leaf:   awslab.LeafOptions{NotBefore: time.Now().Add(-2 * day), NotAfter: time.Now().Add(-day)},
			status: 403, code: "AccessDeniedException", remedy: "expired on",
		},
		"a certificate that is not valid yet": {
			leaf:   awslab.LeafOptions{NotBefore: time.Now().Add(day)},
			status: 403, code: "AccessDeniedException", remedy: "not valid before",
		},
		"a duration over the role's": {
			lab:    awslab.Options{MaxSessionDuration: time.Hour / 2},
			status: 403, code: "AccessDeniedException", remedy: "MaxSessionDuration",
		},
		"a role that cannot be assumed": {
			prepare: func(_ *awslab.Lab, r *session.Role, _ *signer.Identity) { r.Role += "-other" },
			status:  403, code: "AccessDeniedException", remedy: "trust policy must allow rolesanywhere.amazonaws.com",
		},
		"a session name": {
			prepare: func(_ *awslab.Lab, r *session.Role, _ *signer.Identity) { r.Name = "web-01" },
			status:  403, code: "AccessDeniedException", remedy: "leave session_name out",
		},
		"an unknown profile": {
			prepare: func(_ *awslab.Lab, r *session.Role, _ *signer.Identity) { r.Profile += "0" },
			status:  404, code: "ResourceNotFoundException", remedy: "both must exist in us-east-1",
		},
		"a duration that is too short": {
			prepare: func(_ *awslab.Lab, r *session.Role, _ *signer.Identity) { r.Duration = time.Minute },
			status:  400, code: "ValidationException", remedy: "session_duration (15m to 12h)",
		},
		"throttling": {
			prepare: func(l *awslab.Lab, _ *session.Role, _ *signer.Identity) {
				fault(t, l, awslab.Fault{Kind: awslab.Throttle})
			},
			status: 400, code: "ThrottlingException", remedy: "10 CreateSession a second", temporary: true,
		},
		"throttling by status": {
			prepare: func(l *awslab.Lab, _ *session.Role, _ *signer.Identity) {
				fault(t, l, awslab.Fault{Kind: awslab.Throttle, Status: 429, Code: "Slow"})
			},
			status: 429, code: "Slow", remedy: "10 CreateSession a second", temporary: true,
		},
		"an outage": {
			prepare: func(l *awslab.Lab, _ *session.Role, _ *signer.Identity) { fault(t, l, awslab.Fault{Kind: awslab.Fail}) },
			status:  500, code: "InternalServiceError", temporary: true,
		},
		"no reason given": {
			prepare: func(l *awslab.Lab, _ *session.Role, _ *signer.Identity) {
				fault(t, l, awslab.Fault{Kind: awslab.Fail, Status: 403, Code: "AccessDeniedException", Message: "Access Denied"})
			},
			status: 403, code: "AccessDeniedException", remedy: "trust anchor and profile are enabled",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			lab, role := newLab(t, test.lab)
			id := issue(t, lab, test.leaf)
			if test.prepare != nil {
				test.prepare(lab, &role, id)
			}
			e := refused(t, &session.Client{Transport: lab.RoundTripper()}, role, id)
			if e.Status != test.status || e.Code != test.code || e.Message == "" || e.RequestID == "" {
				t.Errorf("got %d %s, message %q, request id %q; want %d %s", e.Status, e.Code, e.Message, e.RequestID, test.status, test.code)
			}
			want := fmt.Sprintf("CreateSession at rolesanywhere.us-east-1.amazonaws.com: %s: %s (HTTP %d, request id %s)", e.Code, e.Message, e.Status, e.RequestID)
			if !strings.HasPrefix(e.Error(), want) {
				t.Errorf("got %q, want it to begin with %q", e, want)
			}
			if !strings.Contains(e.Remedy, test.remedy) || (e.Remedy == "") != (test.remedy == "") {
				t.Errorf("remedy: got %q, want it to contain %q", e.Remedy, test.remedy)
			}
			if e.Temporary() != test.temporary {
				t.Errorf("temporary: got %t, want %t", e.Temporary(), test.temporary)
			}
			if got := lab.Calls()[calls]; got != 1 {
				t.Errorf("got %d calls, want one", got)
			}
		})
	}
}

// stranger is an identity of an authority that the lab does not know.
func stranger(t *testing.T) *signer.Identity {
	t.Helper()
	ca := pkitest.NewRoot(t, "elsewhere").Intermediate(t, "below")
	leaf := ca.Leaf(t, pkitest.Options{})
	id, err := signer.Parse(leaf.Certificate, pkitest.CertificatePEM(ca.Certificate), leaf.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func fault(t *testing.T, lab *awslab.Lab, f awslab.Fault) {
	t.Helper()
	if err := lab.AddFault(f); err != nil {
		t.Fatal(err)
	}
}

func TestAlteredOnTheWayIsAnInvalidSignature(t *testing.T) {
	lab, role := newLab(t, awslab.Options{})
	id := issue(t, lab, awslab.LeafOptions{})
	c := &session.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		r.Header.Set("Amz-Sdk-Request", "attempt=2")
		return lab.RoundTripper().RoundTrip(r)
	})}
	e := refused(t, c, role, id)
	if e.Message != "Invalid signature" || !strings.Contains(e.Remedy, "proxy") || e.Temporary() {
		t.Errorf("got %v, temporary %t", e, e.Temporary())
	}
}

func TestAServerThatHangsIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lab, role := newLab(t, awslab.Options{})
		fault(t, lab, awslab.Fault{Kind: awslab.Hang})
		id := issue(t, lab, awslab.LeafOptions{})
		deadline, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		cancelled, stop := context.WithCancelCause(t.Context())
		time.AfterFunc(2*time.Second, func() { stop(errors.New("shutting down")) })
		givenUp := func(ctx context.Context, name string, timeout, after time.Duration, is error, want string) {
			t.Helper()
			begun := time.Now()
			_, err := (&session.Client{Transport: lab.RoundTripper(), Timeout: timeout}).Create(ctx, role, id)
			if got := time.Since(begun); got != after {
				t.Errorf("%s: returned after %s, want %s", name, got, after)
			}
			e, ok := errors.AsType[*session.Error](err)
			if !ok || !errors.Is(err, is) || !strings.Contains(e.Message, want) || !e.Temporary() {
				t.Errorf("%s: got %v", name, err)
			}
		}
		givenUp(deadline, "at the caller's deadline", 0, time.Second, context.DeadlineExceeded, "deadline exceeded")
		givenUp(deadline, "at once when it is too late already", 0, 0, context.DeadlineExceeded, "deadline exceeded")
		givenUp(cancelled, "when the caller gives up", 0, time.Second, context.Canceled, "shutting down")
		givenUp(t.Context(), "after ten seconds", 0, 10*time.Second, context.DeadlineExceeded, "no answer within 10s")
		givenUp(t.Context(), "after the client's own limit", time.Minute, time.Minute, context.DeadlineExceeded, "no answer within 1m0s")
	})
}

func TestNothingAmbientIsRead(t *testing.T) {
	for name, value := range map[string]string{
		"AWS_PROFILE":                    "no-such-profile",
		"AWS_CONFIG_FILE":                "/dev/null/config",
		"AWS_SHARED_CREDENTIALS_FILE":    "/dev/null/credentials",
		"AWS_CA_BUNDLE":                  "/dev/null/ca.pem",
		"AWS_ENDPOINT_URL":               "http://elsewhere.test",
		"AWS_ENDPOINT_URL_ROLESANYWHERE": "http://elsewhere.test",
		"AWS_USE_FIPS_ENDPOINT":          "true",
		"AWS_USE_DUALSTACK_ENDPOINT":     "true",
		"AWS_MAX_ATTEMPTS":               "7",
		"AWS_RETRY_MODE":                 "adaptive",
		"AWS_REGION":                     "xx-nowhere-1",
		"AWS_ACCESS_KEY_ID":              "AKIAELSEWHERE",
		"AWS_SECRET_ACCESS_KEY":          "elsewhere",
		"AWS_LAMBDA_FUNCTION_NAME":       "elsewhere",
		"_X_AMZN_TRACE_ID":               "elsewhere",
	} {
		t.Setenv(name, value)
	}
	lab, role := newLab(t, awslab.Options{})
	id := issue(t, lab, awslab.LeafOptions{})
	c := &session.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		if r.URL.Scheme != "https" || r.URL.Host != "rolesanywhere.us-east-1.amazonaws.com" {
			t.Errorf("asked %s at %s", r.URL.Scheme, r.URL.Host)
		}
		for name, values := range r.Header {
			if strings.Contains(strings.ToLower(strings.Join(values, " ")), "elsewhere") {
				t.Errorf("the environment shows in %s", name)
			}
		}
		return lab.RoundTripper().RoundTrip(r)
	})}
	create(t, c, role, id)

	lab.ResetCalls()
	fault(t, lab, awslab.Fault{Kind: awslab.Fail})
	refused(t, c, role, id)
	if got := lab.Calls()[calls]; got != 1 {
		t.Errorf("got %d calls for one failure, want one", got)
	}
}

func TestEndpointIsTheRegionsOwn(t *testing.T) {
	tests := map[string]struct{ region, endpoint, want string }{
		"commercial":   {region: "eu-west-3", want: "https://rolesanywhere.eu-west-3.amazonaws.com/sessions"},
		"GovCloud":     {region: "us-gov-west-1", want: "https://rolesanywhere.us-gov-west-1.amazonaws.com/sessions"},
		"China":        {region: "cn-north-1", want: "https://rolesanywhere.cn-north-1.amazonaws.com.cn/sessions"},
		"EU Sovereign": {region: "eusc-de-east-1", want: "https://rolesanywhere.eusc-de-east-1.amazonaws.eu/sessions"},
		"isolated":     {region: "us-isob-east-1", want: "https://rolesanywhere.us-isob-east-1.sc2s.sgov.gov/sessions"},
		"our own":      {region: "eu-west-3", endpoint: "http://127.0.0.1:8080", want: "http://127.0.0.1:8080/sessions"},
		"below a path": {region: "eu-west-3", endpoint: "https://proxy.test/aws/", want: "https://proxy.test/aws/sessions"},
	}
	id := stranger(t)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var got string
			c := &session.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				got = r.URL.Scheme + "://" + r.URL.Host + r.URL.Path
				if scope := "/" + test.region + "/rolesanywhere/aws4_request"; !strings.Contains(r.Header.Get("Authorization"), scope) {
					t.Errorf("signed for another region than %s", test.region)
				}
				return nil, errors.New("enough seen")
			})}
			_, _ = c.Create(t.Context(), session.Role{Region: test.region, Endpoint: test.endpoint, TrustAnchor: "t", Profile: "p", Role: "r"}, id)
			if got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestSessionDoesNotPrintItsSecrets(t *testing.T) {
	lab, role := newLab(t, awslab.Options{})
	s := create(t, &session.Client{Transport: lab.RoundTripper()}, role, issue(t, lab, awslab.LeafOptions{}))
	asJSON, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	for i, text := range []string{fmt.Sprint(s), fmt.Sprintf("%+v", &s), fmt.Sprintf("%#v", s), string(asJSON)} {
		for _, value := range [][]byte{s.SecretAccessKey.Reveal(), s.SessionToken.Reveal()} {
			if strings.Contains(text, string(value)) {
				t.Errorf("form %d prints a secret", i)
			}
		}
	}
}

// roundTrip is a transport.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

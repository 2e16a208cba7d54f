package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"outrider/secret"
)

// keeper is an agent with one role, billing, that decides by the caller.
type keeper struct {
	decider
	token  string
	err    error
	change func(*Credentials)
}

func (k keeper) Grant(role string) (Grant, error) {
	if role != "billing" {
		return Grant{}, unknown{}
	}
	return Grant{RoleARN: "arn:aws:iam::111122223333:role/path/lab-billing", Region: "eu-west-3", Token: secret.Text(k.token)}, nil
}

func (k keeper) Credentials(ctx context.Context, c Caller, role string) (Credentials, error) {
	credentials, err := k.decider.Credentials(ctx, c, role)
	if err == nil {
		err = k.err
	}
	if k.change != nil {
		k.change(&credentials)
	}
	return credentials, err
}

// got is what a client sees of an answer.
type got struct {
	Status int
	Type   string
	Body   string
}

// ask gives a handler one request.
func ask(h http.Handler, method, path string, header http.Header) (got, http.Header) {
	r := httptest.NewRequest(method, "http://127.0.0.1:9470", http.NoBody)
	r.URL.Path, r.Header = path, header
	return record(h, r)
}

func record(h http.Handler, r *http.Request) (got, http.Header) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return got{w.Code, w.Header().Get("Content-Type"), w.Body.String()}, w.Header()
}

const containerBody = `{"AccessKeyId":"ASIAX","SecretAccessKey":"s3cret","Token":"t0ken","Expiration":"2126-01-02T02:04:05Z",` +
	`"AccountId":"111122223333","RoleArn":"arn:aws:iam::111122223333:role/path/lab-billing"}` + "\n"

func TestContainerAnswersInTheProtocolsOrder(t *testing.T) {
	with := func(pairs ...string) http.Header {
		h := http.Header{}
		for i := 0; i < len(pairs); i += 2 {
			h.Add(pairs[i], pairs[i+1])
		}
		return h
	}
	const auth, forwarded = "Authorization", "X-Forwarded-For"
	for _, tc := range []struct {
		name, method, path string
		header             http.Header
		agent              keeper
		status             int
		want               string // of the body; in an error, of its message
	}{
		{"the role's token gets its session", "GET", "/roles/billing", with(auth, "tok"), keeper{}, 200, containerBody},
		{"slashes do not matter", "GET", "//roles//billing/", with(auth, "tok"), keeper{}, 200, containerBody},
		{"another method comes first", "POST", "/nowhere", with(forwarded, "10.0.0.1"), keeper{}, 405, "only GET"},
		{"HEAD is another method", "HEAD", "/roles/billing", with(auth, "tok"), keeper{}, 405, "only GET"},
		{"then what was forwarded", "GET", "/nowhere", with(forwarded, "10.0.0.1", auth, "tok"), keeper{}, 400, "X-Forwarded-For"},
		{"forwarded for nobody is forwarded", "GET", "/roles/billing", with(forwarded, "", auth, "tok"), keeper{}, 400, "X-Forwarded-For"},
		{"then another path", "GET", "/nowhere", with(), keeper{}, 404, "/roles/NAME"},
		{"then another role", "GET", "/roles/other", with(), keeper{}, 404, "no app"},
		{"a path below a role is another role", "GET", "/roles/billing/x", with(auth, "tok"), keeper{}, 404, "no app"},
		{"no role at all", "GET", "/roles/", with(auth, "tok"), keeper{}, 404, "/roles/NAME"},
		{"then no token", "GET", "/roles/billing", with(), keeper{err: errors.New("AWS is away")}, 401, "outrider env billing"},
		{"a wrong token", "GET", "/roles/billing", with(auth, "toc"), keeper{err: errors.New("AWS is away")}, 403, "not this role's"},
		{"a token that only begins right", "GET", "/roles/billing", with(auth, "tok2"), keeper{}, 403, "not this role's"},
		{"a token under a scheme", "GET", "/roles/billing", with(auth, "Bearer tok"), keeper{}, 403, "not this role's"},
		{"a role without a token lets nobody in", "GET", "/roles/billing", with(auth, "tok"), keeper{token: "none"}, 403, "roles.billing.token.file"},
		{"then no session", "GET", "/roles/billing", with(auth, "tok"), keeper{err: errors.New("AccessDeniedException: certificate revoked")}, 503, "certificate revoked"},
		{"an expired session", "GET", "/roles/billing", with(auth, "tok"), keeper{change: func(c *Credentials) { c.Expiration = time.Now() }}, 503, "the session ended at"},
		{"a session without a key", "GET", "/roles/billing", with(auth, "tok"), keeper{change: func(c *Credentials) { c.SecretAccessKey = secret.Value{} }}, 503, "not whole"},
		{"a session without a token", "GET", "/roles/billing", with(auth, "tok"), keeper{change: func(c *Credentials) { c.SessionToken = secret.Value{} }}, 503, "not whole"},
		{"a session without an id", "GET", "/roles/billing", with(auth, "tok"), keeper{change: func(c *Credentials) { c.AccessKeyID = "" }}, 503, "not whole"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.agent.token = map[string]string{"": "tok", "none": ""}[tc.agent.token]
			h := Container{Address: "127.0.0.1:9470", Agent: tc.agent}.endpoint()
			answer, header := ask(h, tc.method, tc.path, tc.header)
			if answer.Status != tc.status || answer.Type != "application/json" {
				t.Errorf("%d %s, want %d application/json", answer.Status, answer.Type, tc.status)
			}
			if got := header.Get("Cache-Control"); got != "no-store" {
				t.Errorf("Cache-Control %q", got)
			}
			if tc.status == 200 {
				if answer.Body != tc.want {
					t.Errorf("the body is not what SDKs want: %d bytes, want %d", len(answer.Body), len(tc.want))
				}
				return
			}
			checkRefusal(t, answer.Body, tc.want)
			if allow := header.Get("Allow"); (tc.status == 405) != (allow == "GET") {
				t.Errorf("Allow: %q", allow)
			}
		})
	}
}

// checkRefusal wants the two members that SDKs show, and no secret.
func checkRefusal(t *testing.T, body, want string) {
	t.Helper()
	var members map[string]string
	if err := json.Unmarshal([]byte(body), &members); err != nil {
		t.Fatalf("the body is not an object of texts: %v", err)
	}
	if len(members) != 2 || members["code"] == "" || !strings.Contains(members["message"], want) {
		t.Errorf("got %v, want a code and a message with %q", members, want)
	}
	if strings.Contains(body, "s3cret") || strings.Contains(body, "t0ken") {
		t.Error("an error shows a secret")
	}
}

func TestContainerFollowsTheSession(t *testing.T) {
	n := 0
	agent := keeper{token: "tok", change: func(c *Credentials) { c.AccessKeyID = fmt.Sprint("ASIA", n) }}
	h := Container{Address: "127.0.0.1:9470", Agent: agent}.endpoint()
	for ; n < 3; n++ {
		for range 2 {
			answer, _ := ask(h, "GET", "/roles/billing", http.Header{"Authorization": {"tok"}})
			if want := strings.Replace(containerBody, "ASIAX", fmt.Sprint("ASIA", n), 1); answer.Body != want {
				t.Errorf("session %d: the answer is another one's", n)
			}
		}
	}
}

// start runs an endpoint until the test ends, and returns when it listens.
func start(t *testing.T, network, address string, run func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v, want its context's cause", err)
		}
	})
	for {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("Run = %v before the test began", err)
		default:
		}
		if c, err := net.Dial(network, address); err == nil {
			c.Close()
			return
		}
	}
}

func TestContainerOnAUnixSocketDecidesByWhoConnects(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can connect as somebody else")
	}
	for _, tc := range []struct {
		name  string
		agent keeper
		want  string
	}{
		{"a user who is not allowed gets nothing", keeper{}, "GET: 403"},
		{"a user who is allowed needs no token", keeper{decider: decider{users: []string{"nobody"}}}, "GET: 200"},
		{"a member of an allowed group needs no token", keeper{decider: decider{groups: []string{"65534"}}}, "GET: 200"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "credentials.sock")
			start(t, "unix", path, Container{Address: "unix:" + path, Agent: tc.agent, Log: slog.New(slog.DiscardHandler)}.Run)
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if mode := info.Mode().Perm(); mode != 0o666 {
				t.Errorf("the socket's mode is %o, want 666: who may ask is decided by who connects", mode)
			}
			if out := asNobody(t, "SERVE_TEST_CONTAINER="+path, path); !strings.HasPrefix(out, tc.want) {
				t.Errorf("got %s, want %s", out, tc.want)
			}
		})
	}
}

// askUnix asks at a unix socket and prints the answer's status.
func askUnix(path string) {
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
	r, err := client.Get("http://outrider/roles/billing")
	if err != nil {
		fmt.Println("GET:", err)
		return
	}
	body, err := io.ReadAll(r.Body)
	fmt.Println("GET:", r.StatusCode, len(body), err)
}

func TestTokensAreFitForAHeaderAndAFile(t *testing.T) {
	a, b := NewToken(), NewToken()
	if a.Equal(b) {
		t.Error("two tokens are the same")
	}
	if !regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`).Match(a.Reveal()) {
		t.Error("a token is not 32 bytes of base64url without padding and end of line")
	}
}

func TestEnvironment(t *testing.T) {
	for _, tc := range []struct {
		name string
		call func() ([]string, error)
		want []string
		err  string
	}{
		{
			"the container endpoint with its token's file",
			func() ([]string, error) {
				return ContainerEnvironment("127.0.0.1:9470", "billing", "/run/outrider/billing.token", "eu-west-3")
			},
			[]string{
				"AWS_CONTAINER_CREDENTIALS_FULL_URI=http://127.0.0.1:9470/roles/billing",
				"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=/run/outrider/billing.token", "AWS_REGION=eu-west-3", "AWS_DEFAULT_REGION=eu-west-3",
			}, "",
		},
		{
			"a role without a token",
			func() ([]string, error) { return ContainerEnvironment("127.0.0.1:9470", "billing", "", "eu-west-3") },
			nil, "set roles.billing.token.file",
		},
		{
			"a unix socket",
			func() ([]string, error) { return ContainerEnvironment("unix:/run/x", "billing", "/t", "eu-west-3") },
			nil, "credential_process = outrider credentials billing",
		},
		{
			"an endpoint that is not configured",
			func() ([]string, error) { return ContainerEnvironment("", "billing", "/t", "eu-west-3") },
			nil, "listen.credentials",
		},
		{
			"IMDS has no slash at its end",
			func() ([]string, error) { return IMDSEnvironment("[::1]:9911", "eu-west-3") },
			[]string{"AWS_EC2_METADATA_SERVICE_ENDPOINT=http://[::1]:9911", "AWS_REGION=eu-west-3", "AWS_DEFAULT_REGION=eu-west-3"}, "",
		},
		{"IMDS that is not configured", func() ([]string, error) { return IMDSEnvironment("", "eu-west-3") }, nil, "listen.imds.address"},
	} {
		lines, err := tc.call()
		if diff := cmp.Diff(tc.want, lines); diff != "" {
			t.Errorf("%s (-want +got)\n%s", tc.name, diff)
		}
		if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.err)
		}
	}
}

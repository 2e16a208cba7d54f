package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"outrider/secret"
)

// TestMain lets the test binary be the client of another user: with a socket
// in the environment it asks there, prints what it got and ends.
func TestMain(m *testing.M) {
	if socket := os.Getenv("SERVE_TEST_CONTAINER"); socket != "" {
		askUnix(socket)
		return
	}
	if endpoint := os.Getenv("SERVE_TEST_ENDPOINT"); endpoint != "" {
		serveForBench(endpoint, os.Getenv("SERVE_TEST_ADDRESS"))
		return
	}
	if socket := os.Getenv("SERVE_TEST_ATTACK"); socket != "" {
		attack(socket, os.Getenv("SERVE_TEST_VICTIM"))
		return
	}
	if socket := os.Getenv("SERVE_TEST_CROWD"); socket != "" {
		crowdIn(socket)
		return
	}
	socket := os.Getenv("SERVE_TEST_SOCKET")
	if socket == "" {
		goleak.VerifyTestMain(m)
		return
	}
	client := Client{Path: socket}
	status, err := client.Status(context.Background())
	fmt.Printf("status: %d apps, %v\n", len(status.Apps), err)
	_, err = client.Refresh(context.Background(), []string{"billing"})
	fmt.Println("refresh:", err)
	_, err = client.Credentials(context.Background(), "billing")
	fmt.Println("credentials:", err)
}

// decider is an agent that decides as the real one does: by the caller.
type decider struct {
	users, groups []string
}

func (d decider) may(c Caller) bool { return c.Is(d.users, d.groups) }

func (d decider) Status(c Caller) Status {
	s := Status{Version: "test", Apps: map[string]App{}}
	if d.may(c) {
		s.Apps["billing"] = App{State: Current}
	}
	return s
}

func (d decider) Refresh(_ context.Context, c Caller, apps []string) ([]Outcome, error) {
	if !d.may(c) {
		return nil, fmt.Errorf("app %v: %w", apps, ErrForbidden)
	}
	return []Outcome{{App: apps[0], Generation: 3, Changed: true}}, nil
}

func (d decider) Retry(_ context.Context, c Caller, app string) (Outcome, error) {
	if !d.may(c) {
		return Outcome{}, ErrForbidden
	}
	return Outcome{App: app, Generation: 4, Changed: true}, nil
}

func (d decider) Wait(ctx context.Context, _ Caller, app string) error {
	if app == "nosuch" {
		return unknown{}
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

func (d decider) Credentials(_ context.Context, c Caller, _ string) (Credentials, error) {
	if !d.may(c) {
		return Credentials{}, ErrForbidden
	}
	return Credentials{
		AccessKeyID: "ASIAX", SecretAccessKey: secret.Text("s3cret"), SessionToken: secret.Text("t0ken"),
		Expiration: time.Date(2126, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600)),
	}, nil
}

type unknown struct{}

func (unknown) Error() string { return `no app "nosuch"` }
func (unknown) Unknown() bool { return true }

// serving runs an admin socket until the test ends.
func serving(t *testing.T, a agent) Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "run", "outrider.sock")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Admin{Path: path, Agent: a, Log: slog.New(slog.DiscardHandler)}.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v, want its context's cause", err)
		}
	})
	client := Client{Path: path}
	for {
		select {
		case err := <-ended:
			t.Fatalf("Run = %v before the test began", err)
		default:
		}
		if _, err := client.Status(t.Context()); err == nil {
			return client
		}
	}
}

func TestAdminAnswersItsOwnUser(t *testing.T) {
	client := serving(t, decider{})
	info, err := os.Stat(client.Path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o660 {
		t.Errorf("the socket's mode is %o, want 660", got)
	}
	outcomes, err := client.Refresh(t.Context(), []string{"billing"})
	if err != nil || len(outcomes) != 1 || outcomes[0] != (Outcome{App: "billing", Generation: 3, Changed: true}) {
		t.Errorf("Refresh = %v, %v", outcomes, err)
	}
	if outcome, err := client.Retry(t.Context(), "billing"); err != nil || outcome.Generation != 4 {
		t.Errorf("Retry = %v, %v", outcome, err)
	}
	document, err := client.Credentials(t.Context(), "billing")
	if err != nil {
		t.Fatal(err)
	}
	want := secret.Text(`{"Version":1,"AccessKeyId":"ASIAX","SecretAccessKey":"s3cret","SessionToken":"t0ken","Expiration":"2126-01-02T02:04:05Z"}` + "\n")
	if !document.Equal(want) {
		t.Errorf("Credentials is not what credential_process wants: %d bytes, want %d", document.Len(), want.Len())
	}
	var refused *RefusedError
	if err := client.Wait(t.Context(), "nosuch"); !errors.As(err, &refused) || !refused.Unknown() {
		t.Errorf("Wait for an unknown app = %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := client.Wait(ctx, "billing"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Wait = %v, want the end of its time", err)
	}
}

func TestAdminDecidesByWhoConnects(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can connect as somebody else")
	}
	for _, tc := range []struct {
		name  string
		agent decider
		want  string
	}{
		{"a user who is not allowed gets nothing", decider{}, "status: 0 apps, <nil>\nrefresh: app [billing]: not allowed"},
		{"a user who is allowed by number gets an answer", decider{users: []string{"65534"}}, "status: 1 apps, <nil>\nrefresh: <nil>\ncredentials: <nil>"},
		{"a user who is allowed by name gets an answer", decider{users: []string{"nobody"}}, "status: 1 apps, <nil>\nrefresh: <nil>\ncredentials: <nil>"},
		{"a member of an allowed group gets an answer", decider{groups: []string{"65534"}}, "status: 1 apps, <nil>\nrefresh: <nil>\ncredentials: <nil>"},
		{"another group is not enough", decider{groups: []string{"root"}}, "status: 0 apps, <nil>\nrefresh: app [billing]: not allowed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			client := serving(t, tc.agent)
			open(t, client.Path)
			if out := asNobody(t, "SERVE_TEST_SOCKET="+client.Path, client.Path); !strings.HasPrefix(out, tc.want) {
				t.Errorf("got\n%s\nwant %s", out, tc.want)
			}
		})
	}
}

// asNobody runs this binary as the client of another user and returns what it
// prints.
func asNobody(t *testing.T, variable, socket string) string {
	t.Helper()
	out, err := as(t, 65534, variable, socket).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// as returns the command that runs this binary as the client of a user.
func as(t *testing.T, user uint32, variable, socket string) *exec.Cmd {
	t.Helper()
	reach(t, socket)
	cmd := exec.CommandContext(t.Context(), executable(t))
	cmd.Env = []string{variable, "GORACE=atexit_sleep_ms=0"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
	return cmd
}

// executable returns a copy of the test binary that everybody may run.
func executable(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "client")
	if err := os.WriteFile(path, content, 0o755); err != nil {
		t.Fatal(err)
	}
	open(t, path)
	return path
}

// open lets everybody use path.
func open(t *testing.T, path string) {
	t.Helper()
	if err := os.Chmod(path, 0o777); err != nil {
		t.Fatal(err)
	}
	reach(t, path)
}

// reach lets everybody into the folders of path, which below the system's
// temporary one belong to the test.
func reach(t *testing.T, path string) {
	t.Helper()
	for dir := filepath.Dir(path); dir != filepath.Clean(os.TempDir()) && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAdminTakesOverOnlyWhatIsDead(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	dead := filepath.Join(dir, "dead")
	listener, err := net.Listen("unix", dead)
	if err != nil {
		t.Fatal(err)
	}
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	live := serving(t, decider{}).Path
	for _, tc := range []struct {
		name, path, want string
	}{
		{"a file is left alone", plain, "something else is there"},
		{"a socket that is served is left alone", live, "another process serves it"},
		{"a folder that cannot be made is named", filepath.Join(dir, "no", "such", "socket"), "create the folder"},
	} {
		if _, err := adminPlace(tc.path).listenUnix(t.Context()); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
	left, theirs := dead+".4194305", dead+".20261124" // no process has such an id
	if err := errors.Join(os.Link(dead, left), os.WriteFile(theirs, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	taken, err := adminPlace(dead).listenUnix(t.Context())
	if err != nil {
		t.Fatalf("a socket that nobody serves was not taken over: %v", err)
	}
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what a killed process has left is still there: %v", err)
	}
	if _, err := os.Stat(theirs); err != nil {
		t.Errorf("a file that is no socket was removed: %v", err)
	}
	if err := taken.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(plain); err != nil {
		t.Error(err)
	}
}

// What a killed process has started may have its sockets for a moment.
func TestAdminWaitsForAProcessThatEnds(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "ending")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	asked := make(chan error, 1)
	go func() {
		_, err := listener.Accept()
		asked <- errors.Join(err, listener.Close())
	}()
	taken, err := adminPlace(socket).listenUnix(t.Context())
	if err != nil {
		t.Fatalf("not waited for: %v", err)
	}
	if err := errors.Join(<-asked, taken.Close()); err != nil {
		t.Error(err)
	}
}

func TestClientWithoutASidecarSaysSo(t *testing.T) {
	client := Client{Path: filepath.Join(t.TempDir(), "outrider.sock")}
	if _, err := client.Status(t.Context()); !errors.Is(err, ErrNoSidecar) || !strings.Contains(err.Error(), "outrider run") {
		t.Errorf("Status = %v, want what is missing and the remedy", err)
	}
}

func TestZeroCallerMayDoNothing(t *testing.T) {
	if (Caller{}).Trusted() || (Caller{}).Is([]string{"0", "root"}, []string{"0", "root"}) {
		t.Error("a caller that the kernel did not vouch for may do something")
	}
}

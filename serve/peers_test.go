package serve_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"outrider/awslab"
	"outrider/internal/credfile"
	"outrider/internal/porttest"
	"outrider/secret"
	"outrider/serve"
	"outrider/session"
	"outrider/signer/source"
)

// Debian's own paths: another Python's awscli or boto3 may come first in PATH.
const (
	awsCLI = "/usr/bin/aws"
	python = "/usr/bin/python3"
)

// boto3Script prints what the default chain's credentials can read. A botocore
// that does not know the token's file is handed its content.
const boto3Script = `
import os
import boto3
from botocore.credentials import ContainerProvider

path = os.environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
if path and not hasattr(ContainerProvider, "ENV_VAR_AUTH_TOKEN_FILE"):
    os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = open(path).read()
sm = boto3.client("secretsmanager", endpoint_url=os.environ["ENDPOINT"])
print(sm.get_secret_value(SecretId="db")["SecretString"])
`

// opened is an agent with one session that the lab has opened, or with the
// cause why there is none.
type opened struct {
	session serve.Credentials
	grant   serve.Grant
	err     error
}

func (o opened) Grant(string) (serve.Grant, error) { return o.grant, nil }

func (o opened) Credentials(context.Context, serve.Caller, string) (serve.Credentials, error) {
	return o.session, o.err
}

// open opens a session of the lab for a host that the lab gives a certificate.
func open(t *testing.T, lab *awslab.Lab) opened {
	t.Helper()
	setup, err := lab.Write(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	host, err := source.Source{Certificate: setup.Certificate, PrivateKey: setup.PrivateKey}.Load(t.Context(), new(source.Devices))
	if err != nil {
		t.Fatal(err)
	}
	client := session.Client{Transport: lab.RoundTripper()}
	s, err := client.Create(t.Context(), session.Role{
		Region: setup.Region, TrustAnchor: setup.TrustAnchor, Profile: setup.Profile, Role: setup.Role,
	}, host)
	if err != nil {
		t.Fatal(err)
	}
	return opened{
		session: serve.Credentials{AccessKeyID: s.AccessKeyID, SecretAccessKey: s.SecretAccessKey, SessionToken: s.SessionToken, Expiration: s.Expires},
		grant:   serve.Grant{RoleARN: setup.Role, Region: setup.Region, Token: serve.NewToken()},
	}
}

// serving runs an endpoint at an address of its own until the test ends.
func serving(t *testing.T, run func(ctx context.Context, address string) error) (address string) {
	t.Helper()
	address = porttest.Free(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, address) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v, want its context's cause", err)
		}
	})
	for {
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			return address
		}
		if len(ended) > 0 {
			t.Fatal("the endpoint does not listen")
		}
	}
}

// containerOf serves the container protocol and returns the variables that
// `outrider env` prints for it.
func containerOf(t *testing.T, o opened) []string {
	t.Helper()
	address := serving(t, func(ctx context.Context, address string) error {
		return serve.Container{Address: address, Agent: o, Log: slog.New(slog.DiscardHandler)}.Run(ctx)
	})
	token := filepath.Join(t.TempDir(), "billing.token")
	if err := os.WriteFile(token, o.grant.Token.Reveal(), 0o440); err != nil {
		t.Fatal(err)
	}
	lines, err := serve.ContainerEnvironment(address, "billing", token, o.grant.Region)
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func imdsOf(t *testing.T, o opened) []string {
	t.Helper()
	address := serving(t, func(ctx context.Context, address string) error {
		return serve.IMDS{Address: address, Role: "billing", Agent: o, Log: slog.New(slog.DiscardHandler)}.Run(ctx)
	})
	lines, err := serve.IMDSEnvironment(address, o.grant.Region)
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// fileOf writes the shared credentials file.
func fileOf(t *testing.T, o opened) []string {
	t.Helper()
	old := "# mine\n[other]\naws_access_key_id = AKIAOTHER\naws_secret_access_key = theirs\n\n[default]\noutput = text\naws_session_token = stale"
	text, err := credfile.Edit(secret.Text(old), "default", credfile.Credentials{
		AccessKeyID: o.session.AccessKeyID, SecretAccessKey: o.session.SecretAccessKey, SessionToken: o.session.SessionToken,
	})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "credentials")
	if err := os.WriteFile(path, text.Reveal(), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"AWS_SHARED_CREDENTIALS_FILE=" + path, "AWS_REGION=" + o.grant.Region, "AWS_DEFAULT_REGION=" + o.grant.Region}
}

// run runs a peer with nothing but the given environment and returns its
// standard output.
func run(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	if _, err := os.Stat(name); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing", name)
		}
		t.Skipf("left out: %s is missing", name)
	}
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append([]string{
		"PATH=/usr/bin:/bin", "HOME=" + t.TempDir(), "LANG=C.UTF-8", "AWS_PAGER=",
		"AWS_METADATA_SERVICE_TIMEOUT=30", // a second else, which on a busy machine may not be enough
	}, env...)
	var failure strings.Builder
	cmd.Stderr = &failure
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", filepath.Base(name), err, failure.String())
	}
	return strings.TrimSpace(string(out))
}

func TestGenuineClientsUseTheSession(t *testing.T) {
	lab, err := awslab.New(awslab.Options{Region: "eu-west-3"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lab.PutSecret("db", "pa55"); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(lab)
	t.Cleanup(server.Close)
	o := open(t, lab)
	for name, way := range map[string]func(*testing.T, opened) []string{"container": containerOf, "imds": imdsOf, "credentials file": fileOf} {
		env := way(t, o)
		t.Run(name+"/AWS CLI", func(t *testing.T) {
			env := cliNeeds(o, env)
			caller := run(t, env, awsCLI, "--endpoint-url", server.URL, "--output", "text", "sts", "get-caller-identity", "--query", "Arn")
			if !strings.Contains(caller, ":assumed-role/outrider-lab/") {
				t.Errorf("the caller is %q, not the role", caller)
			}
			value := run(t, env, awsCLI, "--endpoint-url", server.URL, "--output", "text", "secretsmanager", "get-secret-value", "--secret-id", "db", "--query", "SecretString")
			if value != "pa55" {
				t.Error("the value that was read is another one")
			}
		})
		t.Run(name+"/boto3", func(t *testing.T) {
			if value := run(t, append(env, "ENDPOINT="+server.URL), python, "-c", boto3Script); value != "pa55" {
				t.Error("the value that was read is another one")
			}
		})
		t.Run(name+"/SDK for Go", func(t *testing.T) {
			c := chain(t, env)
			if c.Region != o.grant.Region {
				t.Errorf("region %q, want %q", c.Region, o.grant.Region)
			}
			client := secretsmanager.NewFromConfig(c, func(o *secretsmanager.Options) { o.BaseEndpoint = aws.String(server.URL) })
			out, err := client.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: aws.String("db")})
			if err != nil {
				t.Fatal(err)
			}
			if aws.ToString(out.SecretString) != "pa55" {
				t.Error("the value that was read is another one")
			}
		})
	}
}

// cliNeeds adds what Debian 12's AWS CLI needs: it knows no file of the token,
// and wants a slash at the end of the metadata endpoint.
func cliNeeds(o opened, env []string) []string {
	env = append(slices.Clone(env), "AWS_CONTAINER_AUTHORIZATION_TOKEN="+string(o.grant.Token.Reveal()))
	for i, line := range env {
		if strings.HasPrefix(line, "AWS_EC2_METADATA_SERVICE_ENDPOINT=") {
			env[i] += "/"
		}
	}
	return env
}

// chain is the SDK's default chain under the given environment.
func chain(t *testing.T, env []string) aws.Config {
	t.Helper()
	for _, line := range append(env, "HOME="+t.TempDir()) {
		name, value, _ := strings.Cut(line, "=")
		t.Setenv(name, value)
	}
	c, err := config.LoadDefaultConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The SDK shows the code and the message only of an answer in the one form
// that it knows.
func TestTheSDKShowsWhyThereIsNoSession(t *testing.T) {
	o := opened{
		err:   errors.New("AccessDeniedException: the certificate is revoked"),
		grant: serve.Grant{RoleARN: "arn:aws:iam::111122223333:role/billing", Region: "eu-west-3", Token: serve.NewToken()},
	}
	_, err := chain(t, containerOf(t, o)).Credentials.Retrieve(t.Context())
	if err == nil || !strings.Contains(err.Error(), "NoSession") || !strings.Contains(err.Error(), "the certificate is revoked") {
		t.Errorf("Retrieve = %v, want the code and the cause", err)
	}
}

// An SDK must also say it when the metadata endpoint has no session.
func TestTheSDKGetsNoSessionFromIMDSWithoutOne(t *testing.T) {
	o := opened{
		err:   errors.New("AccessDeniedException: the certificate is revoked"),
		grant: serve.Grant{RoleARN: "arn:aws:iam::111122223333:role/billing", Region: "eu-west-3"},
	}
	if c, err := chain(t, imdsOf(t, o)).Credentials.Retrieve(t.Context()); err == nil {
		t.Errorf("Retrieve gives credentials (%d bytes of a key) and no error", len(c.AccessKeyID))
	}
}

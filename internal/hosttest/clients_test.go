package hosttest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"outrider/awslab"
)

// Debian's own: another Python's may come first in PATH.
const (
	awsCLI = "/usr/bin/aws"
	python = "/usr/bin/python3"
)

const boto3Script = `
import os
import boto3

sm = boto3.client("secretsmanager", endpoint_url=os.environ["ENDPOINT"])
print(sm.get_secret_value(SecretId="db")["SecretString"])
`

// readSecret prints a secret that it reads with the SDK's default chain.
func readSecret() error {
	ctx := context.Background()
	c, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return err
	}
	client := secretsmanager.NewFromConfig(c, func(o *secretsmanager.Options) { o.BaseEndpoint = aws.String(os.Getenv("ENDPOINT")) })
	out, err := client.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: aws.String("db")})
	if err != nil {
		return err
	}
	_, err = fmt.Println(aws.ToString(out.SecretString))
	return err
}

// client is a program that is handed a session, and what it needs besides the
// variables of `outrider env`.
type client struct {
	argv []string
	adds string // to those variables, by a shell
}

func clients(t *testing.T, endpoint string) map[string]client {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// Debian 12's AWS CLI and boto3 know the token, and no file of it; the CLI
	// wants a slash at the end of the metadata endpoint.
	const token = `${AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE:+AWS_CONTAINER_AUTHORIZATION_TOKEN=$(cat "$AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")}`
	const slash = `${AWS_EC2_METADATA_SERVICE_ENDPOINT:+AWS_EC2_METADATA_SERVICE_ENDPOINT=$AWS_EC2_METADATA_SERVICE_ENDPOINT/}`
	return map[string]client{
		"AWS CLI": {[]string{
			awsCLI, "--endpoint-url", endpoint, "--output", "text",
			"secretsmanager", "get-secret-value", "--secret-id", "db", "--query", "SecretString",
		}, token + " " + slash},
		"boto3":      {[]string{python, "-c", boto3Script}, token},
		"SDK for Go": {[]string{self}, ""},
	}
}

// use runs the program with nothing but the given variables, which a shell
// sets as they are printed, and returns what it read.
func (h *host) use(t *testing.T, c client, variables string) string {
	t.Helper()
	if _, err := os.Stat(c.argv[0]); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing", c.argv[0])
		}
		t.Skipf("left out: %s is missing (scripts/setup)", c.argv[0])
	}
	script := "set -a\n" + variables + "\nset +a\nexec env " + c.adds + ` "$@"`
	cmd := exec.CommandContext(t.Context(), "/bin/sh", append([]string{"-euc", script, "client"}, c.argv...)...)
	cmd.Env = []string{
		"PATH=/usr/bin:/bin", "HOME=" + t.TempDir(), "LANG=C.UTF-8", "AWS_PAGER=", "ENDPOINT=" + h.endpoint, reader + "=yes",
		"AWS_METADATA_SERVICE_TIMEOUT=30", // a second else, which on a busy machine may not be enough
	}
	var failure strings.Builder
	cmd.Stderr = &failure
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", filepath.Base(c.argv[0]), err, failure.String())
	}
	return strings.TrimSpace(string(out))
}

// TestGenuineProgramsUseTheSidecarsSession has each program read a secret by
// each way to a session. AWS is asked for one session a role, by the sidecar.
func TestGenuineProgramsUseTheSidecarsSession(t *testing.T) {
	const value = "pa55-of-the-database"
	h := newHost(t, awslab.Options{Region: "eu-west-3"})
	h.canary("the secret", value)
	if _, err := h.lab.PutSecret("db", value); err != nil {
		t.Fatal(err)
	}
	h.write("credentials", []byte(otherProfile+"[default]\noutput = text\naws_session_token = stale\n"))
	if err := os.Chmod(h.path("credentials"), 0o640); err != nil {
		t.Fatal(err)
	}
	h.configure(`
identities: {host: {certificate: host.pem, private_key: host.key}}
roles:
  billing: {${LAB}, token: {file: billing.token}, credentials_file: {path: credentials}}
  metrics: {${LAB}}
listen:
  admin: unix:outrider.sock
  credentials: ` + h.free() + `
  imds: {address: "` + h.free() + `", role: metrics}
`)
	h.start()
	h.await("billing", "metrics")
	container, imds := h.must("env", "billing"), h.must("env", "metrics")
	h.checkToken("billing.token")
	eventually(t, "the credentials file", func() error {
		text := h.read("credentials")
		if !strings.Contains(text, "aws_session_token = ") || strings.Contains(text, "stale") {
			return fmt.Errorf("no session in it")
		}
		return nil
	})
	h.write("config", fmt.Appendf(nil, "[default]\ncredential_process = %s -c %s credentials billing\n", h.binary, h.path("outrider.yaml")))
	region := "\nAWS_REGION=eu-west-3\nAWS_DEFAULT_REGION=eu-west-3"
	for name, variables := range map[string]string{
		"credential_process": "AWS_CONFIG_FILE=" + h.path("config") + region,
		"container":          container,
		"imds":               imds,
		"credentials file":   "AWS_SHARED_CREDENTIALS_FILE=" + h.path("credentials") + region,
	} {
		for program, c := range clients(t, h.endpoint) {
			t.Run(name+"/"+program, func(t *testing.T) {
				if got := h.use(t, c, variables); got != value {
					t.Error("the value that was read is another one")
				}
			})
		}
	}
	if got := h.lab.Calls()["rolesanywhere.CreateSession"]; got != 2 {
		t.Errorf("%d sessions were opened, want one a role", got)
	}
	if text := h.read("credentials"); !strings.HasPrefix(text, otherProfile+"[default]\noutput = text\n") {
		t.Error("what else is in the credentials file did not stay as it was")
	}
	info, err := os.Stat(h.path("credentials"))
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o640 {
		t.Errorf("the credentials file has mode %04o, want that it had", got)
	}
}

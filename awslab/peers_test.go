package awslab

import (
	"encoding/json"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/google/go-cmp/cmp"
)

// Debian's own paths: another Python's awscli or boto3 may come first in PATH.
const (
	awsCLI = "/usr/bin/aws"
	python = "/usr/bin/python3"
)

// missing skips what needs a peer that is not there. In CI that is a failure.
func missing(t *testing.T, peer string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing", peer)
	}
	t.Skipf("left out: %s is missing", peer)
}

// run runs a peer with nothing but the given environment and returns its
// standard output.
func run(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append([]string{"PATH=/usr/bin:/bin", "HOME=" + t.TempDir(), "LANG=C.UTF-8"}, env...)
	var failure strings.Builder
	cmd.Stderr = &failure
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", filepath.Base(name), err, failure.String())
	}
	return string(out)
}

func serve(t *testing.T, lab *Lab) (endpoint string) {
	t.Helper()
	server := httptest.NewServer(lab)
	t.Cleanup(server.Close)
	return server.URL
}

// sdkEnvironment points an SDK at the lab by the variables they all know.
func sdkEnvironment(lab *Lab, endpoint string) []string {
	return []string{
		"AWS_ACCESS_KEY_ID=" + lab.setup.AccessKeyID, "AWS_SECRET_ACCESS_KEY=" + lab.setup.SecretAccessKey,
		"AWS_DEFAULT_REGION=" + lab.setup.Region, "AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=", "ENDPOINT=" + endpoint,
	}
}

// signingHelper builds AWS's own client of CreateSession.
func signingHelper(t *testing.T) string {
	t.Helper()
	for _, tool := range []string{"go", "gcc"} {
		if _, err := exec.LookPath(tool); err != nil {
			missing(t, "aws_signing_helper (its build needs "+tool+")")
		}
	}
	binary := filepath.Join(t.TempDir(), "aws_signing_helper")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "github.com/aws/rolesanywhere-credential-helper")
	build.Dir = filepath.Join("..", "scripts", "peers", "helper")
	build.Env = append(os.Environ(), "CGO_ENABLED=1", "GOFLAGS=", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Log(string(out))
		missing(t, "aws_signing_helper (it does not build)")
	}
	return binary
}

func TestTheGenuineSigningHelperGetsASession(t *testing.T) {
	helper := signingHelper(t)
	lab := newLab(t, Options{})
	endpoint := serve(t, lab)
	if _, err := lab.PutSecret("db", "first"); err != nil {
		t.Fatal(err)
	}
	for name, opts := range map[string]LeafOptions{
		"RSA":              {Key: RSA2048},
		"RSA with a chain": {Key: RSA2048, Intermediates: 2},
		"EC":               {},
		"EC with a chain":  {Key: P384, Intermediates: 1},
	} {
		t.Run(name, func(t *testing.T) {
			certPEM, keyPEM, chainPEM, err := lab.Issue(opts)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			args := []string{
				"credential-process", "--endpoint", endpoint, "--region", lab.setup.Region,
				"--certificate", writeTemp(t, dir, "cert.pem", certPEM), "--private-key", writeTemp(t, dir, "key.pem", keyPEM),
				"--trust-anchor-arn", lab.setup.TrustAnchor, "--profile-arn", lab.setup.Profile, "--role-arn", lab.setup.Role,
			}
			if len(chainPEM) > 0 {
				args = append(args, "--intermediates", writeTemp(t, dir, "chain.pem", chainPEM))
			}
			began := time.Now().Truncate(time.Second)
			out := run(t, nil, helper, args...)
			var credentials struct {
				Version                                    int
				AccessKeyID, SecretAccessKey, SessionToken string
				Expiration                                 time.Time
			}
			if err := json.Unmarshal([]byte(out), &credentials); err != nil || credentials.Version != 1 {
				t.Fatalf("what the helper prints is not of version 1: %v", err)
			}
			if from := credentials.Expiration.Add(-time.Hour); from.Before(began) || from.After(time.Now()) {
				t.Errorf("the session expires at %v, want an hour from then", credentials.Expiration)
			}
			client := sdk(lab, aws.Credentials{AccessKeyID: credentials.AccessKeyID, SecretAccessKey: credentials.SecretAccessKey, SessionToken: credentials.SessionToken})
			if _, err := client.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: aws.String("db")}); err != nil {
				t.Errorf("a read with the helper's session: %v", err)
			}
		})
	}
}

func writeTemp(t *testing.T, dir, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// debiansCLI returns what runs one command of it and returns the output.
func debiansCLI(t *testing.T, lab *Lab) func(args ...string) string {
	t.Helper()
	if _, err := os.Stat(awsCLI); err != nil {
		missing(t, "Debian's awscli")
	}
	endpoint := serve(t, lab)
	return func(args ...string) string {
		t.Helper()
		args = append([]string{"--endpoint-url", endpoint, "--output", "text"}, args...)
		return strings.TrimSpace(run(t, sdkEnvironment(lab, endpoint), awsCLI, args...))
	}
}

func TestDebiansAWSCLIRotatesASecret(t *testing.T) {
	t.Parallel() // the peers are slow to start
	lab := newLab(t, Options{})
	cli := debiansCLI(t, lab)
	sm := func(args ...string) string { t.Helper(); return cli(append([]string{"secretsmanager"}, args...)...) }

	if got, want := cli("sts", "get-caller-identity", "--query", "Account"), lab.setup.Account; got != want {
		t.Errorf("account %q, want %q", got, want)
	}
	first := sm("create-secret", "--name", "prod/db", "--secret-string", "first", "--tags", "Key=app,Value=billing", "--query", "VersionId")
	if got, want := sm("get-secret-value", "--secret-id", "prod/db", "--query", "SecretString"), "first"; got != want {
		t.Errorf("value %q, want %q", got, want)
	}
	second := sm("put-secret-value", "--secret-id", "prod/db", "--secret-string", "second", "--version-stages", "AWSPENDING", "--query", "VersionId")
	if got, want := sm("get-secret-value", "--secret-id", "prod/db", "--query", "SecretString"), "first"; got != want {
		t.Errorf("value while pending %q, want %q", got, want)
	}
	sm("update-secret-version-stage", "--secret-id", "prod/db", "--version-stage", "AWSCURRENT", "--move-to-version-id", second, "--remove-from-version-id", first)
	if got, want := sm("get-secret-value", "--secret-id", "prod/db", "--query", "[SecretString,VersionId]"), "second\t"+second; got != want {
		t.Errorf("value after the rotation %q, want %q", got, want)
	}
	if got, want := sm("get-secret-value", "--secret-id", "prod/db", "--version-stage", "AWSPREVIOUS", "--query", "SecretString"), "first"; got != want {
		t.Errorf("previous value %q, want %q", got, want)
	}
	if got, want := sm("list-secrets", "--filters", "Key=tag-key,Values=app", "--query", "SecretList[].Name"), "prod/db"; got != want {
		t.Errorf("list %q, want %q", got, want)
	}
	if got, want := sm("describe-secret", "--secret-id", "prod/db", "--query", "VersionIdsToStages.\""+first+"\""), "AWSPREVIOUS"; got != want {
		t.Errorf("labels of the first version %q, want %q", got, want)
	}
	if got := sm("get-random-password", "--password-length", "20", "--query", "RandomPassword"); len(got) != 20 {
		t.Errorf("a password of %d characters, want 20", len(got))
	}
	sm("delete-secret", "--secret-id", "prod/db", "--recovery-window-in-days", "7")
	sm("restore-secret", "--secret-id", "prod/db")
	if got, want := lab.Labels("prod/db"), map[string]string{"AWSCURRENT": second, "AWSPENDING": second, "AWSPREVIOUS": first}; !cmp.Equal(got, want) {
		t.Error(cmp.Diff(got, want))
	}
}

func TestDebiansAWSCLIUsesParametersAndHearsOfChanges(t *testing.T) {
	t.Parallel() // the peers are slow to start
	lab := newLab(t, Options{})
	cli := debiansCLI(t, lab)
	url := cli("sqs", "create-queue", "--queue-name", "q", "--attributes", "VisibilityTimeout=60", "--query", "QueueUrl")
	if err := lab.Subscribe("q", EventForm{}); err != nil {
		t.Fatal(err)
	}
	steps := []struct {
		name string
		args []string
		want string
	}{
		{"a parameter", []string{"ssm", "put-parameter", "--name", "/app/a", "--type", "SecureString", "--value", "first", "--query", "[Version,Tier]"}, "1\tStandard"},
		{"again", []string{"ssm", "put-parameter", "--name", "/app/a", "--value", "second", "--overwrite", "--query", "Version"}, "2"},
		{"its label", []string{"ssm", "label-parameter-version", "--name", "/app/a", "--parameter-version", "1", "--labels", "blue", "--query", "ParameterVersion"}, "1"},
		{"by label", []string{"ssm", "get-parameter", "--name", "/app/a:blue", "--with-decryption", "--query", "Parameter.[Value,Selector]"}, "first\t:blue"},
		{"one valid, one not", []string{"ssm", "get-parameters", "--names", "/app/a", "/none", "--with-decryption", "--query", "[Parameters[].Value,InvalidParameters]"}, "second\n/none"},
		{"by path", []string{"ssm", "get-parameters-by-path", "--path", "/app", "--query", "Parameters[].Name"}, "/app/a"},
		{"a secret", []string{"secretsmanager", "create-secret", "--name", "db", "--secret-string", "x", "--query", "Name"}, "db"},
		{"its rotation", []string{"secretsmanager", "put-secret-value", "--secret-id", "db", "--secret-string", "y", "--query", "VersionStages"}, "AWSCURRENT"},
		{"the queue's URL", []string{"sqs", "get-queue-url", "--queue-name", "q", "--query", "QueueUrl"}, url},
		{"its attributes", []string{"sqs", "get-queue-attributes", "--queue-url", url, "--attribute-names", "All", "--query", "Attributes.[VisibilityTimeout,ApproximateNumberOfMessages]"}, "60\t5"},
		{"a message", []string{"sqs", "send-message", "--queue-url", url, "--message-body", "a < b & c", "--query", "MD5OfMessageBody"}, md5Of("a < b & c")},
	}
	for _, step := range steps {
		if got := cli(step.args...); got != step.want {
			t.Errorf("%s: got %q, want %q", step.name, got, step.want)
		}
	}
	got := cli("sqs", "receive-message", "--queue-url", url, "--max-number-of-messages", "10", "--wait-time-seconds", "20", "--query", "Messages[].[Body]")
	if got, want := strings.Count(got, "Parameter Store Change"), 3; got != want {
		t.Errorf("%d events of the parameter, want %d", got, want)
	}
	if got, want := strings.Count(got, "Secret Label Updated"), 2; got != want {
		t.Errorf("%d events of the secret, want %d", got, want)
	}
	cli("sqs", "purge-queue", "--queue-url", url)
	if got := lab.Messages("q"); len(got) != 0 {
		t.Errorf("after the purge: %d messages", len(got))
	}
}

// boto3Script prints one JSON value: what each step came to.
const boto3Script = `
import json, os
import boto3
from botocore.exceptions import ClientError

sm = boto3.client("secretsmanager", endpoint_url=os.environ["ENDPOINT"])
seen = {}

def refused(call, **arguments):
    try:
        call(**arguments)
        return ""
    except ClientError as e:
        return e.response["Error"]["Code"] + (" with a message" if e.response["Error"]["Message"] else "")

first = sm.create_secret(Name="prod/db", SecretString='{"password":"first"}')["VersionId"]
sm.create_secret(Name="prod/keystore", SecretBinary=b"\x00\xff")
second = "bbbbbbbb-0000-4000-8000-000000000000"
pending = dict(SecretId="prod/db", ClientRequestToken=second, SecretString="second", VersionStages=["AWSPENDING"])
for _ in range(2):
    sm.put_secret_value(**pending)
seen["other data"] = refused(sm.put_secret_value, **{**pending, "SecretString": "other"})
move = dict(SecretId="prod/db", VersionStage="AWSCURRENT", MoveToVersionId=second, RemoveFromVersionId=first)
sm.update_secret_version_stage(**move)
seen["lost swap"] = refused(sm.update_secret_version_stage, **move)
value = sm.get_secret_value(SecretId="prod/db")
seen["value"] = [value["SecretString"], sorted(value["VersionStages"]), value["CreatedDate"].tzinfo is not None]
batch = sm.batch_get_secret_value(SecretIdList=["prod/db", "prod/none", "prod/keystore"]) if hasattr(sm, "batch_get_secret_value") else None
if batch is None:
    seen["batch"] = "not in this boto3"
else:
    seen["batch"] = [[v["Name"] for v in batch["SecretValues"]], [e["ErrorCode"] for e in batch["Errors"]]]
seen["binary"] = sm.get_secret_value(SecretId="prod/keystore")["SecretBinary"] == b"\x00\xff"
pages = sm.get_paginator("list_secrets").paginate(Filters=[{"Key": "name", "Values": ["prod/"]}], PaginationConfig={"PageSize": 1})
seen["list"] = sorted(s["Name"] for page in pages for s in page["SecretList"])
stages = sm.describe_secret(SecretId="prod/db")["VersionIdsToStages"]
seen["stages"] = [stages[first], sorted(stages[second])]
seen["missing"] = refused(sm.get_secret_value, SecretId="prod/none")
sm.delete_secret(SecretId="prod/keystore", ForceDeleteWithoutRecovery=True)
seen["deleted"] = refused(sm.get_secret_value, SecretId="prod/keystore")
print(json.dumps(seen))
`

// debiansBoto3 runs a script that prints one JSON value.
func debiansBoto3(t *testing.T, lab *Lab, script string) (seen map[string]any) {
	t.Helper()
	if err := exec.CommandContext(t.Context(), python, "-c", "import boto3").Run(); err != nil {
		missing(t, "Debian's python3-boto3")
	}
	out := run(t, sdkEnvironment(lab, serve(t, lab)), python, "-c", script)
	if err := json.Unmarshal([]byte(out), &seen); err != nil {
		t.Fatal(err)
	}
	return seen
}

func TestDebiansBoto3RotatesASecret(t *testing.T) {
	t.Parallel() // the peers are slow to start
	lab := newLab(t, Options{})
	got := debiansBoto3(t, lab, boto3Script)
	want := map[string]any{
		"other data": "ResourceExistsException with a message",
		"lost swap":  "InvalidParameterException with a message",
		"value":      []any{"second", []any{"AWSCURRENT", "AWSPENDING"}, true},
		"batch":      []any{[]any{"prod/db", "prod/keystore"}, []any{"ResourceNotFoundException"}},
		"binary":     true,
		"list":       []any{"prod/db", "prod/keystore"},
		"stages":     []any{[]any{"AWSPREVIOUS"}, []any{"AWSCURRENT", "AWSPENDING"}},
		"missing":    "ResourceNotFoundException with a message",
		"deleted":    "ResourceNotFoundException with a message",
	}
	if got["batch"] == "not in this boto3" {
		want["batch"] = got["batch"] // the operation is younger than Debian 12's boto3
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("(-got +want)\n%s", diff)
	}
}

// boto3EventsScript waits in one thread for the change that it then makes.
const boto3EventsScript = `
import json, os, threading
import boto3
from botocore.exceptions import ClientError

def client(name):
    return boto3.client(name, endpoint_url=os.environ["ENDPOINT"])

ssm, sqs, sm = client("ssm"), client("sqs"), client("secretsmanager")
seen = {}

def refused(call, **arguments):
    try:
        call(**arguments)
        return ""
    except ClientError as e:
        return e.response["Error"]["Code"]

for i in range(23):
    ssm.put_parameter(Name="/app/%02d" % i, Value="v%d" % i, Type="String")
pages = ssm.get_paginator("get_parameters_by_path").paginate(Path="/app", Recursive=True)
seen["by path"] = [len(page["Parameters"]) for page in pages]
seen["twice"] = refused(ssm.put_parameter, Name="/app/00", Value="x", Type="String")
seen["none"] = refused(ssm.get_parameter, Name="/none")
seen["labels"] = ssm.label_parameter_version(Name="/app/00", Labels=["blue", "1st"])["InvalidLabels"]
seen["label"] = ssm.get_parameter(Name="/app/00:blue")["Parameter"]["Version"]

url = sqs.get_queue_url(QueueName="q")["QueueUrl"]
sqs.purge_queue(QueueUrl=url)
seen["no queue"] = refused(sqs.receive_message, QueueUrl=url + "x")
sm.create_secret(Name="db", SecretString="first")
first = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, AttributeNames=["All"])["Messages"]
seen["received"] = [(m["Attributes"]["ApproximateReceiveCount"], json.loads(m["Body"])["detail"]["labelUpdated"]) for m in first]
entries = [{"Id": str(i), "ReceiptHandle": m["ReceiptHandle"]} for i, m in enumerate(first)] + [{"Id": "bad", "ReceiptHandle": "nonsense"}]
batch = sqs.delete_message_batch(QueueUrl=url, Entries=entries)
seen["batch"] = [[s["Id"] for s in batch["Successful"]], [(f["Id"], f["Code"], f["SenderFault"]) for f in batch["Failed"]]]

later = []
waiter = threading.Thread(target=lambda: later.extend(sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20)["Messages"]))
waiter.start()
version = sm.put_secret_value(SecretId="db", SecretString="second")["VersionId"]
waiter.join()
seen["heard"] = json.loads(later[0]["Body"])["detail"]["versionId"] == version
sqs.delete_message(QueueUrl=url, ReceiptHandle=later[0]["ReceiptHandle"])
sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": "{}", "DelaySeconds": "0"})
seen["attributes"] = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy", "ApproximateNumberOfMessages"])["Attributes"]
print(json.dumps(seen))
`

func TestDebiansBoto3UsesParametersAndHearsOfChanges(t *testing.T) {
	t.Parallel() // the peers are slow to start
	lab := newLab(t, Options{})
	subscribe(t, lab, EventForm{})
	got := debiansBoto3(t, lab, boto3EventsScript)
	want := map[string]any{
		"by path":    []any{10.0, 10.0, 3.0},
		"twice":      "ParameterAlreadyExists",
		"none":       "ParameterNotFound",
		"labels":     []any{"1st"},
		"label":      1.0,
		"no queue":   "AWS.SimpleQueueService.NonExistentQueue",
		"received":   []any{[]any{"1", "AWSCURRENT"}},
		"batch":      []any{[]any{"0"}, []any{[]any{"bad", "ReceiptHandleIsInvalid", true}}},
		"heard":      true,
		"attributes": map[string]any{"Policy": "{}", "ApproximateNumberOfMessages": "0"},
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("(-got +want)\n%s", diff)
	}
}

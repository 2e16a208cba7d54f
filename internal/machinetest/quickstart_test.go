package machinetest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"outrider/awslab"
	"outrider/internal/fence"
)

// The page's commands run in their order, those of the host in a machine and
// those of the workstation beside it, where ssh and scp reach the machine and
// the AWS CLI the lab. Each block of shell says where by the comment before
// it: `e2e: host`, `e2e: workstation`, or `e2e: skip: REASON`.
func TestQuickstartDoesWhatItSays(t *testing.T) {
	q := newQuickstart(t)
	ran := 0
	for _, block := range q.blocks() {
		where, _ := strings.CutPrefix(block.Mark, "e2e: ")
		switch {
		case where == "host":
			q.script("/opt/block", "set -eux\ncd ~root\n"+block.Text)
			q.do("/opt/block")
		case where == "workstation":
			q.work(block)
		case strings.HasPrefix(where, "skip: "):
			continue
		default:
			t.Fatalf("line %d: no comment says where this is run", block.Line)
		}
		ran++
	}
	if ran < 15 {
		t.Errorf("the page has %d blocks to run, want 15 or more", ran)
	}
	q.want("cat /etc/billing/app.properties", "db.username=billing\ndb.password=second")
	q.want("stat -c '%U:%G %a' /etc/billing/app.properties", "outrider:billing 640")
	q.says("billing.service", "settings read again")
	q.want("outrider history billing | grep -o 'current .*' | tr -s ' ' | cut -d' ' -f 4-", "reload_unit billing.service (delivered) -")
	// Two certificates, one process.
	q.eventually("the renewed certificate is taken up", func() error {
		if q.said("outrider.service", "identity loaded") == 2 {
			return nil
		}
		return errNotYet
	})
	q.want("systemctl show --value --property=NRestarts outrider.service", "0")
}

// quickstart is a machine as it comes, and a workstation.
type quickstart struct {
	*machine
	lab     *awslab.Lab
	desk    string // the workstation's folder
	environ []string
}

func newQuickstart(t *testing.T) *quickstart {
	t.Helper()
	q := &quickstart{machine: newMachine(t, "")}
	var err error
	if q.lab, err = awslab.New(awslab.Options{Region: "eu-west-3", Role: "billing"}); err != nil {
		t.Fatal(err)
	}
	q.reaches(q)
	q.furnish()
	return q
}

// reaches makes AWS answer on the loopback of a machine that has no scene.
func (m *machine) reaches(aws http.Handler) {
	m.t.Helper()
	listener, err := listenIn(m.leader, endpoint)
	if err != nil {
		m.t.Fatal(err)
	}
	server := &http.Server{Handler: aws, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }()
	m.t.Cleanup(func() { _ = server.Close() })
	m.write("/etc/default/outrider", "AWS_ENDPOINT_URL=http://"+endpoint+"\n")
}

// furnish makes the workstation: the package, and programs that reach the
// machine and the lab by the names that the page has for them.
func (q *quickstart) furnish() {
	q.t.Helper()
	q.desk = filepath.Join(q.dir, "desk")
	in := "exec nsenter --target " + strconv.Itoa(q.leader)
	root := fmt.Sprintf("/proc/%d/root", q.leader)
	for name, text := range map[string]string{
		"bin/ssh": "shift\n" + in + ` --all --wdns=/ /bin/sh -c "$*"`,
		"bin/scp": `case $1 in
root@web-01:*) exec cp "` + root + `${1#*:}" "$2" ;;
*) to=${2#*:}; exec cp "$1" "` + root + `${to:-$(echo ~root)}" ;;
esac`,
		"bin/aws": in + ` --net /usr/bin/aws --endpoint-url http://` + endpoint + ` "$@"`,
	} {
		writeTool(q.t, filepath.Join(q.desk, name), "#!/bin/sh -eu\n"+text+"\n")
	}
	writeTool(q.t, filepath.Join(q.desk, "dist/outrider_0.0.2_amd64.deb"), packaged(q.t))
	keys := q.lab.Setup()
	q.environ = []string{
		"PATH=" + filepath.Join(q.desk, "bin") + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=" + q.desk, "AWS_ACCESS_KEY_ID=" + keys.AccessKeyID, "AWS_SECRET_ACCESS_KEY=" + keys.SecretAccessKey,
	}
}

// packaged returns the package that the tests install.
func packaged(t *testing.T) string {
	t.Helper()
	packages, err := filepath.Glob(filepath.Join(os.Getenv("OUTRIDER_PACKAGES"), "outrider_0.0.2_*.deb"))
	if err != nil || len(packages) != 1 {
		t.Fatalf("packages: %v, %v; want one", packages, err)
	}
	deb, err := os.ReadFile(packages[0])
	if err != nil {
		t.Fatal(err)
	}
	return string(deb)
}

func writeTool(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
}

func (q *quickstart) blocks() []fence.Block {
	q.t.Helper()
	page, err := os.ReadFile("../../docs/quickstart-onprem.md")
	if err != nil {
		q.t.Fatal(err)
	}
	var shell []fence.Block
	for _, b := range fence.Blocks(string(page)) {
		if b.Language == "sh" {
			shell = append(shell, b)
		}
	}
	return shell
}

// work runs a block at the workstation. Its variables are there in the next.
func (q *quickstart) work(block fence.Block) {
	q.t.Helper()
	cmd := exec.CommandContext(q.t.Context(), "/bin/sh", "-euac", "[ ! -e .vars ] || . ./.vars\nset -x\n"+block.Text+"\nexport -p >.vars\n")
	cmd.Dir, cmd.Env = q.desk, q.environ
	if out, err := cmd.CombinedOutput(); err != nil {
		q.t.Fatalf("line %d: %v\n%s", block.Line, err, out)
	}
}

// ServeHTTP is the lab, with what the administrator of an account does in IAM
// and IAM Roles Anywhere.
func (q *quickstart) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var answer string
	switch setup := q.lab.Setup(); {
	case r.URL.Path == "/trustanchors":
		answer, err = q.trust(body)
	case r.URL.Path == "/profiles":
		answer = fmt.Sprintf(`{"profile": {"profileArn": %q}}`, setup.Profile)
		if !strings.Contains(string(body), setup.Role) {
			err = fmt.Errorf("a profile without the role: %s", body)
		}
	case strings.Contains(r.Header.Get("Authorization"), "/iam/"):
		answer, err = administer(setup, body)
	default:
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		q.lab.ServeHTTP(w, r)
		return
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_, _ = io.WriteString(w, answer)
}

// trust is CreateTrustAnchor.
func (q *quickstart) trust(body []byte) (string, error) {
	var in struct {
		Enabled bool
		Source  struct {
			SourceType string
			SourceData struct{ X509CertificateData string }
		}
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return "", err
	}
	if !in.Enabled || in.Source.SourceType != "CERTIFICATE_BUNDLE" {
		return "", fmt.Errorf("not enabled, or not of a certificate: %s", body)
	}
	return fmt.Sprintf(`{"trustAnchor": {"trustAnchorArn": %q}}`, q.lab.Setup().TrustAnchor),
		q.lab.Trust([]byte(in.Source.SourceData.X509CertificateData))
}

// administer is IAM's CreateRole and PutRolePolicy. It looks at the documents
// as far as the page has a say in them.
func administer(setup awslab.Setup, body []byte) (string, error) {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return "", err
	}
	action := form.Get("Action")
	document := cmp.Or(form.Get("AssumeRolePolicyDocument"), form.Get("PolicyDocument"))
	wanted := map[string][]string{
		"CreateRole":    {"rolesanywhere.amazonaws.com", setup.TrustAnchor, `"web-01"`, "sts:SetSourceIdentity"},
		"PutRolePolicy": {"secretsmanager:GetSecretValue", ":secret:prod/billing/db-??????"},
	}[action]
	if !json.Valid([]byte(document)) || wanted == nil {
		return "", fmt.Errorf("%s with %q", action, document)
	}
	for _, want := range wanted {
		if !strings.Contains(document, want) {
			return "", fmt.Errorf("%s: no %s in %s", action, want, document)
		}
	}
	return fmt.Sprintf(`<%[1]sResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><%[1]sResult><Role><Path>/</Path><RoleName>billing</RoleName><RoleId>AROA</RoleId><Arn>%[2]s</Arn><CreateDate>2026-01-01T00:00:00Z</CreateDate></Role></%[1]sResult><ResponseMetadata><RequestId>lab</RequestId></ResponseMetadata></%[1]sResponse>`, action, setup.Role), nil
}

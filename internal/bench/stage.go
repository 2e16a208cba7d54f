package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

const (
	batch = 20   // the most ids that one BatchGetSecretValue takes
	most  = 1000 // secrets
)

// value is what each secret holds, as JSON.
type value struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

// file is what the template makes of it.
func (v value) file() string {
	return "db.user=" + v.Username + "\ndb.password=" + v.Password + "\n"
}

func newValue() value { return value{Username: "billing", Password: rand.Text()} }

func (v value) String() string {
	return fmt.Sprintf(`{"username":%q,"password":%q}`, v.Username, v.Password)
}

// setup is what a lab says of itself when it starts. The lab's own type would
// bring the lab along, whose start is no part of the floor.
type setup struct {
	Endpoint        string `json:"endpoint"`
	Region          string `json:"region"`
	TrustAnchor     string `json:"trust_anchor"`
	Profile         string `json:"profile"`
	Role            string `json:"role"`
	Certificate     string `json:"certificate"`
	PrivateKey      string `json:"private_key"`
	AccessKeyID     string `json:"access_key_id"`
	SecretAccessKey string `json:"secret_access_key"`
	Queue           string `json:"queue"` // URL
}

// stage is where everything happens: a folder, and the lab with its secrets.
type stage struct {
	settings
	dir      string
	lab      *process
	setup    setup
	admin    *caller
	values   []value  // of the secret with that number
	versions []string // likewise: the id of the current version
	made     int      // folders, so far
	self     string   // this program
}

func newStage(ctx context.Context, s settings) (*stage, error) {
	var err error
	if s.binary, err = filepath.Abs(s.binary); err != nil {
		return nil, err
	}
	st := &stage{settings: s}
	if st.self, err = os.Executable(); err != nil {
		return nil, err
	}
	if st.dir, err = os.MkdirTemp(s.parent, "outrider-bench-"); err != nil {
		return nil, err
	}
	st.lab = command(ctx, st.dir, s.binary, "lab", "--json", "--dir", filepath.Join(st.dir, "pki"))
	if err := st.furnish(ctx); err != nil {
		return nil, errors.Join(err, st.close())
	}
	return st, nil
}

// furnish starts the lab and fills it.
func (s *stage) furnish(ctx context.Context) error {
	out, err := s.lab.StdoutPipe()
	if err != nil {
		return err
	}
	if err := s.lab.Start(); err != nil {
		return err
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	if err := json.Unmarshal(line, &s.setup); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	s.admin = &caller{
		Endpoint: s.setup.Endpoint, Region: s.setup.Region, client: &http.Client{},
		AccessKeyID: s.setup.AccessKeyID, SecretKey: s.setup.SecretAccessKey,
	}
	for i := range most {
		v := newValue()
		id, err := s.write(ctx, "CreateSecret", map[string]any{"Name": secretID(i), "SecretString": v.String()})
		if err != nil {
			return err
		}
		s.values, s.versions = append(s.values, v), append(s.versions, id)
	}
	return nil
}

// write makes a call that writes a version, and returns that one's id.
func (s *stage) write(ctx context.Context, operation string, in map[string]any) (string, error) {
	in["ClientRequestToken"] = rand.Text() + rand.Text()
	var out struct {
		VersionID string `json:"VersionId"`
	}
	err := s.admin.call(ctx, operation, in, &out)
	return out.VersionID, err
}

func (s *stage) close() error {
	if s.lab.Process != nil {
		s.lab.stop()
	}
	return os.RemoveAll(s.dir)
}

// folder makes a new folder.
func (s *stage) folder() (string, error) {
	s.made++
	dir := filepath.Join(s.dir, fmt.Sprint(s.made))
	return dir, os.Mkdir(dir, 0o700)
}

// sidecar prepares outrider with the configuration in a folder.
func (s *stage) sidecar(ctx context.Context, dir string) *process {
	return command(ctx, dir, s.binary, "run", "--config", "outrider.yaml")
}

// calls returns how many calls the lab has answered since it was asked last.
func (s *stage) calls(ctx context.Context) (int, error) {
	counts, err := s.answered(ctx)
	return sum(counts), err
}

// answered is calls, by operation.
func (s *stage) answered(ctx context.Context) (map[string]int, error) {
	counts := map[string]int{}
	err := s.control(ctx, http.MethodGet, "calls", "", &counts)
	return counts, errors.Join(err, s.control(ctx, http.MethodDelete, "calls", "", &struct{}{}))
}

// throttled returns how many calls the lab's quotas have refused so far.
func (s *stage) throttled(ctx context.Context) (int, error) {
	counts := map[string]int{}
	err := s.control(ctx, http.MethodGet, "throttled", "", &counts)
	return sum(counts), err
}

// control asks something of the lab itself.
func (s *stage) control(ctx context.Context, method, what, body string, out any) error {
	r, err := http.NewRequestWithContext(ctx, method, s.setup.Endpoint+"/_lab/"+what, strings.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	return send(s.admin.client, r, http.StatusOK, out)
}

func sum(counts map[string]int) int {
	total := 0
	for _, n := range counts {
		total += n
	}
	return total
}

func secretID(i int) string { return fmt.Sprintf("bench/%04d", i) }

// head is what every configuration says first. Role is more lines of the role's,
// listen more keys of that, after a comma.
func (s *stage) head(role, listen string) string {
	return fmt.Sprintf(`version: 1
identities:
  host: {certificate: %s, private_key: %s}
roles:
  bench:
    region: %s
    trust_anchor: %s
    profile: %s
    role: %s
    endpoints: {rolesanywhere: %[7]s, secretsmanager: %[7]s}
%[8]slisten: {admin: "unix:outrider.sock"%[9]s}
state: state
`, s.setup.Certificate, s.setup.PrivateKey, s.setup.Region, s.setup.TrustAnchor, s.setup.Profile, s.setup.Role, s.setup.Endpoint, role, listen)
}

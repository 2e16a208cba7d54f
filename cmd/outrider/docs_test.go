package main

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"outrider/agent"
	"outrider/internal/config"
	"outrider/internal/fence"
)

// docs returns what a person reads, by path.
func docs(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, pattern := range []string{"../../README.md", "../../docs/*.md"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			all[path] = string(text)
		}
	}
	return all
}

// head is a configuration for snippets that show apps alone.
const head = `version: 1
identities: {host: {certificate: pki/host.pem, private_key: pki/host.key}}
roles:
  billing:
    region: eu-west-3
    trust_anchor: arn:aws:rolesanywhere:eu-west-3:111122223333:trust-anchor/a
    profile: arn:aws:rolesanywhere:eu-west-3:111122223333:profile/b
    role: arn:aws:iam::111122223333:role/billing
`

// loads reads a configuration and parses its templates.
func loads(t *testing.T, text string) error {
	t.Helper()
	dir := t.TempDir()
	template, err := os.ReadFile("../../configs/billing.properties.tmpl")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"etc/outrider.yaml": text, "etc/billing.properties.tmpl": string(template), "billing.properties.tmpl": string(template),
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := config.Load(filepath.Join(dir, "etc/outrider.yaml"), func(string) string { return "" })
	if err != nil {
		return err
	}
	_, err = agent.New(c, agent.Options{Log: slog.New(slog.DiscardHandler)})
	return err
}

// A block of YAML is a whole configuration, or apps, or is marked as part of
// one.
func TestConfigurationsOfTheDocsLoad(t *testing.T) {
	for page, text := range docs(t) {
		for _, block := range fence.Blocks(text) {
			if block.Language != "yaml" || block.Mark == "partial" {
				continue
			}
			snippet := block.Text
			if !strings.Contains("\n"+snippet, "\nversion: ") {
				snippet = head + snippet
			}
			if err := loads(t, snippet); err != nil {
				t.Errorf("%s:%d: %v", page, block.Line, err)
			}
		}
	}
}

func TestConfigurationsInOtherFilesLoad(t *testing.T) {
	var cloud struct {
		WriteFiles []struct{ Path, Content string } `yaml:"write_files"`
	}
	decodeAll(t, "../../configs/cloud-init/outrider.yaml", &cloud)
	var manifest struct{ Data map[string]string }
	decodeAll(t, "../../configs/kubernetes/billing.yaml", &manifest)
	found := map[string]string{"configs/kubernetes": manifest.Data["outrider.yaml"]}
	for _, f := range cloud.WriteFiles {
		if f.Path == defaultConfig {
			found["configs/cloud-init"] = f.Content
		}
	}
	if len(found) != 2 {
		t.Fatalf("%d configurations found, want 2", len(found))
	}
	for name, text := range found {
		if err := loads(t, text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// decodeAll decodes the documents of a file into one value, the later over the
// earlier.
func decodeAll(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for documents := yaml.NewDecoder(bytes.NewReader(text)); ; {
		err := documents.Decode(into)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	}
}

var (
	invocation = regexp.MustCompile(`(?:^|[/=] ?|[#$] |root@web-01 |; |&& )outrider ([a-z]+)([^|;&>#]*)`)
	flag       = regexp.MustCompile(`(?:^|[ \[])(--?[a-z][a-z-]*)`)
	codeSpan   = regexp.MustCompile("`([^`\n]+)`")
)

func TestCommandsOfTheDocsAreThere(t *testing.T) {
	root := newRoot(streams{})
	seen := 0
	for page, text := range docs(t) {
		lines := []string{}
		for _, block := range fence.Blocks(text) {
			for line := range strings.SplitSeq(block.Text, "\n") {
				lines = append(lines, strings.TrimSpace(line))
			}
		}
		for _, span := range codeSpan.FindAllStringSubmatch(text, -1) {
			lines = append(lines, span[1])
		}
		for _, line := range lines {
			for _, m := range invocation.FindAllStringSubmatch(line, -1) {
				seen++
				command, _, err := root.Find([]string{m[1]})
				if err != nil || command == root {
					t.Errorf("%s: %s: no such command", page, line)
					continue
				}
				for _, f := range flag.FindAllStringSubmatch(m[2], -1) {
					if !takes(command, f[1]) {
						t.Errorf("%s: %s: no flag %s", page, line, f[1])
					}
				}
			}
		}
	}
	if seen < 30 {
		t.Errorf("%d commands found, want 30 or more", seen)
	}
}

// takes reports whether a command has a flag, spelt with its hyphens.
func takes(c *cobra.Command, flag string) bool {
	c.InitDefaultHelpFlag()
	if name, long := strings.CutPrefix(flag, "--"); long {
		return c.Flag(name) != nil
	}
	return c.InheritedFlags().ShorthandLookup(strings.TrimPrefix(flag, "-")) != nil
}

func TestEveryCommandStandsInOperations(t *testing.T) {
	page := docs(t)["../../docs/operations.md"]
	for _, c := range newRoot(streams{}).Commands() {
		row := regexp.MustCompile("(?m)^\\| `" + c.Name() + "[` ]")
		if c.IsAvailableCommand() && !row.MatchString(page) {
			t.Errorf("docs/operations.md has no row for %s", c.Name())
		}
	}
}

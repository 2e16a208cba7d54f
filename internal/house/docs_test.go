package house

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.+)$`)
	dropped = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	target  = regexp.MustCompile(`(?m)^([a-z0-9-]+):`)
	made    = regexp.MustCompile("(?m)(?:`|^|&& )make ([a-z][a-z0-9-]*)")
	says    = regexp.MustCompile("(?m)^\\| (`[^|]+`) \\|")
	span    = regexp.MustCompile("`([^`]+)`")
	fenced  = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
)

// pages returns what a person reads, by path from the module's folder.
func pages(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md"} {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			all[strings.TrimPrefix(path, root+"/")] = read(t, path)
		}
	}
	return all
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestLinksOfTheDocsLeadSomewhere(t *testing.T) {
	all := pages(t)
	for page, text := range all {
		for _, m := range link.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			path, anchor, _ := strings.Cut(m[1], "#")
			to := page
			if path != "" {
				to = filepath.Join(filepath.Dir(page), path)
			}
			if _, err := os.Stat(filepath.Join(root, to)); err != nil {
				t.Errorf("%s: %s: %v", page, m[1], err)
			}
			if anchor != "" && !anchors(all[to])[anchor] {
				t.Errorf("%s: %s: no such heading", page, m[1])
			}
		}
	}
}

// anchors are those that GitHub gives to headings.
func anchors(text string) map[string]bool {
	slugs := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		slug := dropped.ReplaceAllString(strings.ToLower(m[1]), "")
		slugs[strings.ReplaceAll(slug, " ", "-")] = true
	}
	return slugs
}

func TestTargetsOfTheDocsAreMade(t *testing.T) {
	targets := map[string]bool{}
	for _, m := range target.FindAllStringSubmatch(read(t, filepath.Join(root, "Makefile")), -1) {
		targets[m[1]] = true
	}
	for page, text := range pages(t) {
		for _, m := range made.FindAllStringSubmatch(text, -1) {
			if !targets[m[1]] {
				t.Errorf("%s: make %s: no such target", page, m[1])
			}
		}
	}
}

// What the page quotes of errors stands in the code, in AWS's own words or in
// ours.
func TestErrorsOfOperationsAreSaid(t *testing.T) {
	var code strings.Builder
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
			var text []byte
			text, err = os.ReadFile(path)
			code.Write(text)
		}
		if errors.Is(err, fs.ErrNotExist) { // another test's folder has gone
			return nil
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	all := strings.ToLower(code.String())
	_, section, ok := strings.Cut(read(t, filepath.Join(root, "docs/operations.md")), "\n## What to do when\n")
	section, _, ends := strings.Cut(section, "\n## ")
	if !ok || !ends {
		t.Fatal("docs/operations.md has no section What to do when")
	}
	rows := says.FindAllStringSubmatch(section, -1)
	for _, row := range rows {
		for _, words := range span.FindAllStringSubmatch(row[1], -1) {
			if !strings.Contains(all, strings.ToLower(words[1])) {
				t.Errorf("nothing says %q", words[1])
			}
		}
	}
	if len(rows) < 40 {
		t.Errorf("the section has %d rows, want 40 or more", len(rows))
	}
}

package house

import (
	"encoding/json"
	"go/ast"
	"go/doc"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// revealed counts the uses of secret.Value.Reveal by file: every place where
// a secret stands open.
func revealed() map[string]int {
	return map[string]int{
		"agent/role.go":                2,
		"cmd/outrider/ask.go":          1,
		"deliver/staged.go":            1,
		"render/execution.go":          1,
		"sealed/copy.go":               1,
		"sealed/letter.go":             1,
		"secret/value.go":              4,
		"serve/endpoint.go":            1,
		"serve/systemd.go":             1,
		"session/assume.go":            2,
		"internal/credfile/profile.go": 1,
		"internal/credfile/edit.go":    4,
		"deliver/inspect.go":           1,
		"serve/admin.go":               1,
		"serve/credentials.go":         4,
		"signer/pkcs12.go":             1,
		"signer/pkcs8.go":              1,
		"signer/tpm/key.go":            1,
		"verify/account.go":            1,
		"verify/command.go":            1,
		"verify/tls_pair.go":           2,
	}
}

// launched counts the go statements by file. The caller owns the goroutine:
// a package starts one only for what it joins before it returns.
func launched() map[string]int {
	return map[string]int{
		"agent/notify.go":                 1,
		"cmd/outrider/program.go":         1,
		"doctor/run.go":                   1, // not joined when a file system hangs
		"internal/child/command.go":       1,
		"internal/pkitest/spiffe.go":      1,
		"signer/internal/device/guard.go": 1, // not joined when a device hangs: C code cannot be broken off
	}
}

func TestSecretsAreRevealedWhereTheTableSays(t *testing.T) {
	got := count(t, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		return ok && sel.Sel.Name == "Reveal"
	})
	if diff := cmp.Diff(revealed(), got); diff != "" {
		t.Errorf("uses of Reveal (-table +code):\n%s", diff)
	}
}

func TestGoroutinesStartWhereTheTableSays(t *testing.T) {
	got := count(t, func(n ast.Node) bool {
		_, ok := n.(*ast.GoStmt)
		return ok
	})
	if diff := cmp.Diff(launched(), got); diff != "" {
		t.Errorf("go statements (-table +code):\n%s", diff)
	}
}

// count counts by file, tests left out, the nodes that match.
func count(t *testing.T, match func(ast.Node) bool) map[string]int {
	t.Helper()
	found := map[string]int{}
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		for n := range ast.Preorder(s.tree) {
			if match(n) {
				found[s.path]++
			}
		}
	}
	return found
}

func TestPurePackagesReadNoClock(t *testing.T) {
	pure := map[string]bool{
		"secret": true, "render": true, "policy": true, "cost": true, "signer": true, "signer/internal/device": true,
		"signer/pkcs11": true, "signer/source": true, "signer/spiffe": true, "signer/tpm": true,
	}
	for _, s := range sources(t) {
		if s.test || !pure[s.pkg.name()] {
			continue
		}
		for n := range ast.Preorder(s.tree) {
			for _, name := range []string{"Now", "Since", "Until"} {
				if calls(n, "time", name) {
					t.Errorf("%v: time.%s: now is an argument here", s.set.Position(n.Pos()), name)
				}
			}
		}
	}
}

func TestTestsSleepInSynctestBubblesAlone(t *testing.T) {
	all := sources(t)
	for _, s := range all {
		for _, n := range sleeps(s, bubbles(all, s.pkg)) {
			t.Errorf("%v: time.Sleep outside a synctest bubble", s.set.Position(n.Pos()))
		}
	}
}

// bubbles returns the names of a package's test functions that run their
// arguments in a synctest bubble.
func bubbles(all []source, p pkg) []string {
	var names []string
	for _, s := range all {
		if !s.test || s.pkg.ImportPath != p.ImportPath {
			continue
		}
		for _, d := range s.tree.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv != nil || strings.HasPrefix(f.Name.Name, "Test") {
				continue
			}
			for n := range ast.Preorder(f) {
				if calls(n, "synctest", "Test") {
					names = append(names, f.Name.Name)
				}
			}
		}
	}
	return names
}

// sleeps returns the calls of time.Sleep in a test file that stand neither
// inside a bubble nor in a method: fakes are slow on behalf of the bubble
// they are used in, and no test is a method.
func sleeps(s source, bubbles []string) []ast.Node {
	var found []ast.Node
	if !s.test {
		return nil // the linter refuses them
	}
	ast.Inspect(s.tree, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			return n.Recv == nil
		case *ast.CallExpr:
			if calls(n, "time", "Sleep") {
				found = append(found, n)
			}
			f, local := n.Fun.(*ast.Ident)
			return !calls(n, "synctest", "Test") && (!local || !slices.Contains(bubbles, f.Name))
		}
		return true
	})
	return found
}

func TestEachPackageHasOneSentence(t *testing.T) {
	comments := map[string][]string{}
	for _, s := range sources(t) {
		name := s.pkg.name()
		if s.tree.Doc != nil && !s.test {
			comments[name] = append(comments[name], s.tree.Doc.Text())
		} else if comments[name] == nil {
			comments[name] = []string{}
		}
	}
	for name, texts := range comments {
		if len(texts) != 1 {
			t.Errorf("%s has %d package comments, want 1", name, len(texts))
			continue
		}
		text := strings.Join(strings.Fields(texts[0]), " ")
		start := "Package " + filepath.Base(name) + " "
		if strings.HasPrefix(name, "cmd/") {
			start = "Command " + filepath.Base(name) + " "
		}
		if !strings.HasPrefix(text, start) || !strings.HasSuffix(text, ".") || new(doc.Package).Synopsis(text) != text {
			t.Errorf("%s: its comment is not one sentence that starts with %q: %q", name, start, text)
		}
	}
}

func TestWordsThatStayOut(t *testing.T) {
	if _, err := os.Stat(filepath.Join(root, ".git")); err != nil {
		t.Skipf("not a checkout: %v", err)
	}
	// Written so that this file does not hold them itself.
	words := map[string]*regexp.Regexp{
		"a path of one machine":     regexp.MustCompile(`(^|[^\w.])/(wor[k]|roo[t]|home/[a-z]+/go)/`),
		"a registry's host":         regexp.MustCompile(`(proxy|sum)\.golan[g]\.org|registry\.npmj[s]|pyp[i]\.org|crate[s]\.io|deb\.debia[n]\.org`),
		"a note of what is missing": regexp.MustCompile(`\b(TOD[O]|FIXM[E]|XX[X])\b`),
		"the number of a ticket":    regexp.MustCompile(`(?i)\bissu[e] #?\d`),
	}
	for path := range strings.SplitSeq(command(t, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"), "\x00") {
		if path == "" || filepath.Base(path) == "go.sum" {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			continue // removed, and git not told yet
		}
		for i, line := range strings.Split(string(text), "\n") {
			for what, word := range words {
				if word.MatchString(line) {
					t.Errorf("%s:%d: %s: %q", path, i+1, what, word.FindString(line))
				}
			}
		}
	}
}

func TestEachDependencyHasItsRecord(t *testing.T) {
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	if err := json.Unmarshal([]byte(command(t, "go", "mod", "edit", "-json")), &mod); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(root, "docs/adr/[0-9]*.md"))
	if err != nil {
		t.Fatal(err)
	}
	records := map[string]string{}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		records[f] = string(text)
	}
	for _, r := range mod.Require {
		recorded := false
		for text := range maps.Values(records) {
			recorded = recorded || strings.Contains(text, "`"+r.Path+"`")
		}
		if !r.Indirect && !recorded {
			t.Errorf("%s: no record in docs/adr names it: what it saves, what it brings along, how to leave it", r.Path)
		}
	}
}

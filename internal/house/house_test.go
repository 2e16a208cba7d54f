package house

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const (
	root   = "../.." // the module, from here
	module = "outrider"
)

// pkg is what go list tells of a package.
type pkg struct {
	Dir        string
	ImportPath string
	Standard   bool
	Module     struct {
		Path string
		Main bool
	}
	Imports      []string
	GoFiles      []string
	TestGoFiles  []string
	XTestGoFiles []string
}

// name is the import path below the module.
func (p pkg) name() string { return strings.TrimPrefix(p.ImportPath, module+"/") }

// packages lists the module's packages and all that they import.
func packages(t *testing.T) map[string]pkg {
	t.Helper()
	out := command(t, "go", "list", "-deps",
		"-json=Dir,ImportPath,Standard,Module,Imports,GoFiles,TestGoFiles,XTestGoFiles", "./...")
	all := map[string]pkg{}
	for d := json.NewDecoder(strings.NewReader(out)); ; {
		var p pkg
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("go list: %v", err)
		}
		all[p.ImportPath] = p
	}
}

// command runs a command in the module's folder and returns what it prints.
func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		var detail []byte
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			detail = exit.Stderr
		}
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, detail)
	}
	return string(out)
}

// source is one parsed file of the module.
type source struct {
	pkg  pkg
	path string // from the module's folder
	test bool
	set  *token.FileSet
	tree *ast.File
}

// sources parses every file of the module's packages, tests included.
func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	add := func(p pkg, test bool, files []string) {
		for _, f := range files {
			s := source{pkg: p, path: filepath.Join(p.name(), f), test: test, set: token.NewFileSet()}
			tree, err := parser.ParseFile(s.set, filepath.Join(p.Dir, f), nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			s.tree = tree
			all = append(all, s)
		}
	}
	for _, p := range packages(t) {
		if p.Module.Main {
			add(p, false, p.GoFiles)
			add(p, true, p.TestGoFiles)
			add(p, true, p.XTestGoFiles)
		}
	}
	return all
}

// calls reports whether n is a call of the function name in the package that
// is imported as pkg.
func calls(n ast.Node, pkg, name string) bool {
	call, ok := n.(*ast.CallExpr)
	if !ok {
		return false
	}
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || sel.Sel.Name != name {
		return false
	}
	x, ok := sel.X.(*ast.Ident)
	return ok && x.Name == pkg
}

package house

import (
	"fmt"
	"go/ast"
	"go/scanner"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// longest is the most lines that a function may have, from func to brace.
const longest = 70

// measure is one line of the yardstick. Of tests it counts the sleeps alone.
type measure struct {
	code       int   // lines that hold code
	functions  []int // lines of each
	public     int   // exported declarations
	documented int   // of them with a comment of their own or of their group
	inits      int
	variables  int // of packages, sentinels and compiled patterns left out
	sleeps     int
}

func (m *measure) add(n measure) {
	m.code += n.code
	m.functions = append(m.functions, n.functions...)
	m.public += n.public
	m.documented += n.documented
	m.inits += n.inits
	m.variables += n.variables
	m.sleeps += n.sleeps
}

func (m *measure) String() string {
	slices.Sort(m.functions)
	at := func(share int) int {
		if len(m.functions) == 0 {
			return 0
		}
		return m.functions[(len(m.functions)-1)*share/100]
	}
	return fmt.Sprintf("%6d   %3d / %2d / %2d   %3d %%   %d / %d   %d",
		m.code, at(50), at(95), at(100), 100*m.documented/max(m.public, 1), m.inits, m.variables, m.sleeps)
}

func TestYardstick(t *testing.T) {
	by, all := map[string]*measure{}, &measure{}
	files := sources(t)
	for _, s := range files {
		name := s.pkg.name()
		if by[name] == nil {
			by[name] = &measure{}
		}
		m := measure{sleeps: len(sleeps(s, bubbles(files, s.pkg)))}
		if !s.test {
			m = measured(t, s)
		}
		by[name].add(m)
		all.add(m)
	}
	lines := []string{fmt.Sprintf("%-18s %6d packages", "all", len(by)), fmt.Sprintf("%-18s %v", "all", all)}
	for name, m := range by {
		lines = append(lines, fmt.Sprintf("%-18s %v", name, m))
	}
	slices.Sort(lines)
	t.Logf("code lines, function lines median / p95 / max, public docs, init / package variables, sleeps in tests:\n%s",
		strings.Join(lines, "\n"))
	if all.documented != all.public {
		t.Errorf("%d of %d exported declarations have a comment", all.documented, all.public)
	}
}

// measured measures a file that is not a test.
func measured(t *testing.T, s source) measure {
	t.Helper()
	m := measure{code: codeLines(t, filepath.Join(s.pkg.Dir, filepath.Base(s.path)))}
	for _, d := range s.tree.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			lines := s.set.Position(d.End()).Line - s.set.Position(d.Pos()).Line + 1
			if lines > longest {
				t.Errorf("%v: %s has %d lines, over %d", s.set.Position(d.Pos()), d.Name.Name, lines, longest)
			}
			m.functions = append(m.functions, lines)
			if d.Recv == nil && d.Name.Name == "init" {
				m.inits++
			}
			if d.Recv == nil || ast.IsExported(receiver(d)) {
				m.see(d.Name, d.Doc)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				m.addSpec(d, spec)
			}
		}
	}
	return m
}

// receiver is the name of the type that a method belongs to.
func receiver(d *ast.FuncDecl) string {
	for n := range ast.Preorder(d.Recv.List[0].Type) {
		if name, ok := n.(*ast.Ident); ok {
			return name.Name
		}
	}
	return ""
}

func (m *measure) addSpec(d *ast.GenDecl, spec ast.Spec) {
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		m.see(spec.Name, d.Doc, spec.Doc, spec.Comment)
	case *ast.ValueSpec:
		for i, name := range spec.Names {
			m.see(name, d.Doc, spec.Doc, spec.Comment)
			sentinel := strings.HasPrefix(strings.ToLower(name.Name), "err")
			pattern := i < len(spec.Values) && calls(spec.Values[i], "regexp", "MustCompile")
			if d.Tok == token.VAR && !sentinel && !pattern && name.Name != "_" && name.Name != "version" {
				m.variables++
			}
		}
	}
}

// see counts a declaration, if it is exported, and whether it is explained.
func (m *measure) see(name *ast.Ident, docs ...*ast.CommentGroup) {
	if !name.IsExported() {
		return
	}
	m.public++
	if slices.ContainsFunc(docs, func(g *ast.CommentGroup) bool { return g != nil }) {
		m.documented++
	}
}

// codeLines counts the lines of a file that hold more than a comment.
func codeLines(t *testing.T, path string) int {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	file := set.AddFile(path, -1, len(text))
	var s scanner.Scanner
	s.Init(file, text, nil, 0)
	lines := map[int]bool{}
	for {
		pos, tok, lit := s.Scan()
		if tok == token.EOF {
			return len(lines)
		}
		if tok == token.SEMICOLON && lit == "\n" {
			continue
		}
		first := file.Line(pos)
		for i := range 1 + strings.Count(lit, "\n") {
			lines[first+i] = true
		}
	}
}

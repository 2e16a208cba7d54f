package house

import (
	"go/ast"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// row matches a row of the table of log messages: its level and its message.
var row = regexp.MustCompile("(?m)^\\| (DEBUG|INFO|WARN|ERROR) \\| `([^`]+)` \\|")

func TestEveryLogMessageStandsInOperations(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	for _, m := range row.FindAllStringSubmatch(string(page), -1) {
		told[m[1]+" "+m[2]] = true
	}
	logged := map[string]bool{}
	for _, s := range sources(t) {
		if s.test || strings.HasPrefix(s.path, "awslab/") {
			continue
		}
		for n := range ast.Preorder(s.tree) {
			if message, ok := logs(n); ok {
				logged[message] = true
			}
		}
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(told)), slices.Sorted(maps.Keys(logged))); diff != "" {
		t.Errorf("log messages (-docs/operations.md +code):\n%s", diff)
	}
}

// logs returns the level and message of a call of a logger.
func logs(n ast.Node) (string, bool) {
	call, ok := n.(*ast.CallExpr)
	if !ok || len(call.Args) == 0 {
		return "", false
	}
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || !slices.Contains([]string{"Debug", "Info", "Warn", "Error"}, method.Sel.Name) {
		return "", false
	}
	text, ok := call.Args[0].(*ast.BasicLit)
	if !ok || text.Kind != token.STRING {
		return "", false
	}
	message, err := strconv.Unquote(text.Value)
	return strings.ToUpper(method.Sel.Name) + " " + message, err == nil
}

package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"outrider/awslab"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"outrider": func() {
			os.Exit(run(context.Background(), os.Args[1:], streams{
				in: os.Stdin, out: os.Stdout, err: os.Stderr, getenv: os.Getenv,
			}))
		},
	})
}

// labKey is where a script keeps its lab.
type labKey struct{}

// labs is the holder of a script's lab, which a command fills.
type labs struct{ lab *awslab.Lab }

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Values[labKey{}] = &labs{}
			e.Setenv("OUTRIDER_CONFIG", filepath.Join(e.WorkDir, "outrider.yaml"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"lab":      startLab,
			"expand":   expand,
			"put":      put,
			"fault":    fault,
			"deny":     deny,
			"queue":    queue,
			"issue":    issue,
			"mode":     mode,
			"exitcode": exitcode,
			"waitfile": waitfile,
			"waitline": waitline,
			"signal":   sendSignal,
			"revoke":   func(ts *testscript.TestScript, _ bool, _ []string) { labOf(ts).RevokeSessions() },
		},
	})
}

func setLab(ts *testscript.TestScript, lab *awslab.Lab) {
	ts.Value(labKey{}).(*labs).lab = lab
}

func labOf(ts *testscript.TestScript) *awslab.Lab {
	lab := ts.Value(labKey{}).(*labs).lab
	if lab == nil {
		ts.Fatalf("start the lab first")
	}
	return lab
}

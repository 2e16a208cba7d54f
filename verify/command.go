package verify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os/exec"
	"strconv"
	"time"

	"outrider/internal/child"
	"outrider/secret"
)

// Command is a program of the operator's that tries the values. Exit status 0
// is OK, 1 Wrong, everything else Inconclusive, and so is its timeout.
//
// On its standard input it gets one JSON object, with each of the app's
// secrets by its name: as it is when it is a JSON object, else as text, bytes
// in base64. It runs as child.Command says, with OUTRIDER_APP and
// OUTRIDER_GENERATION in its environment.
type Command struct {
	Argv    []string      // program, by its absolute path or its name in PATH, and arguments
	User    string        // name or number, with all of its groups; empty: our own
	Timeout time.Duration // then the whole group is killed; 0: 30s
}

// String returns "run" and the program.
func (c Command) String() string { return child.Command{Argv: c.Argv}.String() }

// Verify runs the program once.
func (c Command) Verify(ctx context.Context, t Trial) Result {
	input, err := document(t.Snapshot)
	if err != nil {
		return Result{Inconclusive, errors.New("the values cannot be written as JSON")}
	}
	err = child.Command{
		Argv:    c.Argv,
		User:    c.User,
		Env:     []string{"OUTRIDER_APP=" + t.App, "OUTRIDER_GENERATION=" + strconv.FormatUint(t.Generation, 10)},
		Input:   input,
		Timeout: c.Timeout,
	}.Run(ctx)
	if err == nil {
		return Result{Verdict: OK}
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == 1 {
		return Result{Wrong, err}
	}
	return Result{Inconclusive, err}
}

// document returns the values as JSON.
func document(s secret.Snapshot) ([]byte, error) {
	versions := map[string]secret.Version{}
	for _, name := range s.Names() {
		versions[name], _ = s.Get(name)
	}
	return json.Marshal(documents(versions))
}

func documents(versions map[string]secret.Version) map[string]any {
	values := make(map[string]any, len(versions))
	for name, version := range versions {
		value := version.Value.Reveal()
		switch {
		case version.Below != nil: // a path of parameters
			values[name] = documents(version.Below)
		case version.Binary:
			values[name] = value
		case bytes.HasPrefix(bytes.TrimLeft(value, " \t\r\n"), []byte("{")) && json.Valid(value):
			values[name] = json.RawMessage(value)
		default:
			values[name] = string(value)
		}
	}
	return values
}

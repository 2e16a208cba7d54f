package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// labelMoves measures the time from a label's move to the demo's program
// having read its file again, with a look every second.
func (s *stage) labelMoves(ctx context.Context, r *report) error {
	const id = "bench/moving"
	values := [2]value{newValue(), newValue()}
	var versions [2]string
	var err error
	if versions[0], err = s.write(ctx, "CreateSecret", map[string]any{"Name": id, "SecretString": values[0].String()}); err != nil {
		return err
	}
	if versions[1], err = s.write(ctx, "PutSecretValue", map[string]any{
		"SecretId": id, "SecretString": values[1].String(), "VersionStages": []string{"BENCH"},
	}); err != nil {
		return err
	}
	program, lines, stop, err := s.application(ctx, id)
	if err != nil {
		return err
	}
	defer stop()
	if err := reads(lines, values[0]); err != nil {
		return err
	}
	for i := range s.rotations {
		// Otherwise each move would come just after a look, and wait longest.
		select {
		case <-time.After(rand.N(1200 * time.Millisecond)): //nolint:gosec // luck, not a secret
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		from, to := i%2, 1-i%2
		began := time.Now()
		if err := s.admin.call(ctx, "UpdateSecretVersionStage", map[string]string{
			"SecretId": id, "VersionStage": "AWSCURRENT", "MoveToVersionId": versions[to], "RemoveFromVersionId": versions[from],
		}, &struct{}{}); err != nil {
			return err
		}
		if err := reads(lines, values[to]); err != nil {
			return fmt.Errorf("move %d: %w: %s", i, err, program.log.String())
		}
		r.moves = append(r.moves, time.Since(began))
	}
	return nil
}

// application starts a sidecar for one secret and the program that it tells,
// and returns that program, what it says, and what ends both.
func (s *stage) application(ctx context.Context, id string) (*process, *bufio.Reader, func(), error) {
	dir, err := s.folder()
	if err != nil {
		return nil, nil, nil, err
	}
	configuration := s.head() + fmt.Sprintf(`watch: {interval: 1s}
apps:
  moving:
    secrets:
      db: {secret: %s}
    files:
      - content: "db.user={{ .db.username }}\ndb.password={{ .db.password }}\n"
        destination: moving.properties
    notify:
      - {signal: HUP, pid_file: moving.pid}
`, id)
	if err := os.WriteFile(filepath.Join(dir, "outrider.yaml"), []byte(configuration), 0o600); err != nil {
		return nil, nil, nil, err
	}
	// Should a move get lost, the program ends, and with it the waiting.
	ctx, cancel := context.WithTimeout(ctx, patience+time.Duration(s.rotations)*5*time.Second)
	sidecar := s.sidecar(ctx, dir)
	if _, err := sidecar.startReady(ctx); err != nil {
		cancel()
		return nil, nil, nil, err
	}
	program := command(ctx, dir, s.binary, "demo", "legacy", "moving.properties", "moving.pid")
	out, err := program.StdoutPipe()
	if err == nil {
		err = program.Start()
	}
	if err != nil {
		cancel()
		sidecar.stop()
		return nil, nil, nil, err
	}
	return program, bufio.NewReader(out), func() {
		cancel()
		program.stop()
		sidecar.stop()
	}, nil
}

// reads waits until the program says that it has the password of v.
func reads(lines *bufio.Reader, v value) error {
	line, err := lines.ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	sum := sha256.Sum256([]byte(v.Password))
	if want := hex.EncodeToString(sum[:6]); strings.TrimSpace(line) != want {
		return fmt.Errorf("the program says %q, want %q", line, want)
	}
	return nil
}

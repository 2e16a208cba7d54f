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
func (s *stage) labelMoves(ctx context.Context, r *report) (err error) {
	r.moves, err = s.move(ctx, "bench/moving", "{interval: 1s}")
	return err
}

// pushedMoves measures the same with a queue that says what changed, and
// default settings.
func (s *stage) pushedMoves(ctx context.Context, r *report) (err error) {
	r.pushes, err = s.move(ctx, "bench/pushed", fmt.Sprintf("{queue: %q}", s.setup.Queue))
	return err
}

// move rotates a secret again and again under a sidecar that watches in that
// way: a new version is put first, and then the label moves to it.
func (s *stage) move(ctx context.Context, id, watch string) (sample, error) {
	current := newValue()
	from, err := s.write(ctx, "CreateSecret", map[string]any{"Name": id, "SecretString": current.String()})
	if err != nil {
		return nil, err
	}
	program, lines, stop, err := s.application(ctx, id, watch)
	if err != nil {
		return nil, err
	}
	defer stop()
	if err := reads(lines, current); err != nil {
		return nil, err
	}
	var moves sample
	for i := range s.rotations + 1 {
		current = newValue()
		to, err := s.write(ctx, "PutSecretValue", map[string]any{
			"SecretId": id, "SecretString": current.String(), "VersionStages": []string{"AWSPENDING"},
		})
		if err != nil {
			return nil, err
		}
		// Otherwise each move would come just after a look, and wait longest.
		if err := pause(ctx, rand.N(1200*time.Millisecond)); err != nil { //nolint:gosec // luck, not a secret
			return nil, err
		}
		began := time.Now()
		if err := s.admin.call(ctx, "UpdateSecretVersionStage", map[string]string{
			"SecretId": id, "VersionStage": "AWSCURRENT", "MoveToVersionId": to, "RemoveFromVersionId": from,
		}, &struct{}{}); err != nil {
			return nil, err
		}
		if err := reads(lines, current); err != nil {
			return nil, fmt.Errorf("move %d: %w: %s", i, err, program.log.String())
		}
		if i > 0 { // the first one warms up; the queue has the news of a thousand other secrets before it
			moves = append(moves, time.Since(began))
		}
		from = to
	}
	return moves, nil
}

// application starts a sidecar for one secret and the program that it tells,
// and returns that program, what it says, and what ends both.
func (s *stage) application(ctx context.Context, id, watch string) (*process, *bufio.Reader, func(), error) {
	dir, err := s.folder()
	if err != nil {
		return nil, nil, nil, err
	}
	configuration := s.head("", "") + fmt.Sprintf(`watch: %s
apps:
  moving:
    secrets:
      db: {secret: %s}
    files:
      - content: "db.user={{ .db.username }}\ndb.password={{ .db.password }}\n"
        destination: moving.properties
    notify:
      - {signal: HUP, pid_file: moving.pid}
`, watch, id)
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

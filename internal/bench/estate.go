package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// each is how many secrets an app has, and how many files.
const each = 5

// form is one of an app's files.
type form struct {
	name, format string
	head, tail   string
	entry        string // for the secret with the number %[1]d
	between      string
}

// forms are the files of every app. Each holds all of its secrets, so that a
// rotation of one rewrites them all.
func forms() [each]form {
	return [each]form{
		{name: "app.properties", format: "properties", entry: "db%[1]d.user={{ .s%[1]d.username }}\ndb%[1]d.password={{ .s%[1]d.password }}\n"},
		{
			name: "app.json", format: "json", head: "{", between: ", ", tail: "}\n",
			entry: `"db%[1]d": {"user": {{ .s%[1]d.username }}, "password": {{ .s%[1]d.password }}}`,
		},
		{name: "app.yaml", format: "yaml", entry: "db%[1]d:\n  user: {{ .s%[1]d.username }}\n  password: {{ .s%[1]d.password }}\n"},
		{name: "app.env", format: "dotenv", entry: "DB%[1]d_USER={{ .s%[1]d.username }}\nDB%[1]d_PASSWORD={{ .s%[1]d.password }}\n"},
		{name: "app.ini", format: "ini", entry: "[db%[1]d]\nuser={{ .s%[1]d.username }}\npassword={{ .s%[1]d.password }}\n"},
	}
}

// content is the file's template.
func (f form) content() string {
	var entries []string
	for i := range each {
		entries = append(entries, fmt.Sprintf(f.entry, i))
	}
	return f.head + strings.Join(entries, f.between) + f.tail
}

// estate is a sidecar with many apps, and for each of them a program that it
// tells by SIGHUP.
type estate struct {
	*stage
	dir                        string
	sidecar                    *process
	programs                   []*process
	sight                      *sight
	credentials, imds, metrics string // addresses
}

// newEstate starts the programs, and then a sidecar that watches in that way.
// It blocks until every program has read what the secrets hold.
func (s *stage) newEstate(ctx context.Context, watch string) (*estate, error) {
	dir, err := s.folder()
	if err != nil {
		return nil, err
	}
	e := &estate{stage: s, dir: dir, credentials: loopback(9470), imds: loopback(9911), metrics: loopback(9469)}
	if err := e.configure(watch); err != nil {
		return nil, err
	}
	if e.sight, err = newSight(e.folders()); err != nil {
		return nil, err
	}
	if err := e.begin(ctx); err != nil {
		return nil, errors.Join(err, e.close())
	}
	return e, nil
}

func (e *estate) begin(ctx context.Context) error {
	for _, folder := range e.folders() {
		program := command(ctx, folder, e.self, "program")
		program.Stdout = e.sight.said
		if err := program.Start(); err != nil {
			return err
		}
		e.programs = append(e.programs, program)
	}
	if err := e.sight.awaitPrograms(ctx); err != nil {
		return err
	}
	var first []*move
	for i := range e.secrets() {
		first = append(first, e.sight.expect(e.folderOf(i), e.values[i]))
	}
	e.sidecar = e.stage.sidecar(ctx, e.dir)
	if _, err := e.sidecar.startReady(ctx); err != nil {
		return err
	}
	return e.sight.await(ctx, first, unhurried)
}

// close ends all processes, and says what went wrong in watching them.
func (e *estate) close() error {
	if e.sidecar != nil && e.sidecar.Process != nil {
		e.sidecar.stop()
	}
	for _, program := range e.programs {
		program.stop()
	}
	return e.sight.close()
}

// secrets is how many the apps have together.
func (e *estate) secrets() int { return e.apps * each }

func (e *estate) folders() []string {
	var all []string
	for i := range e.apps {
		all = append(all, filepath.Join(e.dir, fmt.Sprintf("app%03d", i)))
	}
	return all
}

// folderOf returns the folder of the app that has the secret.
func (e *estate) folderOf(secret int) string { return e.folders()[secret/each] }

func (e *estate) configure(watch string) error {
	var apps strings.Builder
	for i, folder := range e.folders() {
		if err := os.Mkdir(folder, 0o700); err != nil {
			return err
		}
		fmt.Fprintf(&apps, "  app%03d:\n    secrets:\n", i)
		for j := range each {
			fmt.Fprintf(&apps, "      s%d: {secret: %s}\n", j, secretID(i*each+j))
		}
		apps.WriteString("    files:\n")
		for _, f := range forms() {
			fmt.Fprintf(&apps, "      - content: %q\n        destination: %s\n        format: %s\n", f.content(), filepath.Join(folder, f.name), f.format)
		}
		fmt.Fprintf(&apps, "    notify: [{signal: HUP, pid_file: %s}]\n", filepath.Join(folder, pidFile))
	}
	listen := fmt.Sprintf(", credentials: %q, imds: {address: %q, role: bench}, metrics: %q", e.credentials, e.imds, e.metrics)
	return os.WriteFile(filepath.Join(e.dir, "outrider.yaml"),
		[]byte(e.head("    token: {file: token}\n", listen)+"watch: "+watch+"\napps:\n"+apps.String()), 0o600)
}

// loopback returns an address that nobody else is likely to use: there are
// sixteen million, and the port is none that the kernel gives away.
func loopback(port int) string {
	n := rand.IntN(1 << 24)                                                         //nolint:gosec // luck, not a secret
	return fmt.Sprintf("127.%d.%d.%d:%d", n>>16|1, n>>8&0xff, max(1, n&0xfe), port) // neither .0 nor .255
}

// during measures what the sidecar does while do moves labels, until
// everything has come through, for which it has so long.
func (e *estate) during(ctx context.Context, name string, limit time.Duration, do func(context.Context) ([]*move, error)) (passage, error) {
	p := passage{name: name, notices: -e.sight.count()}
	if _, err := e.answered(ctx); err != nil { // they count from here
		return p, err
	}
	before, err := e.throttled(ctx)
	used, failed := e.sidecar.processor()
	if err := errors.Join(err, failed); err != nil {
		return p, err
	}
	stop := e.sidecar.watchMemory(&p.peak)
	moves, err := do(ctx)
	if err == nil {
		err = e.sight.await(ctx, moves, limit)
	}
	stop()
	if err != nil {
		return p, fmt.Errorf("%w: %s", err, tail(e.sidecar.log.String()))
	}
	p.filed, p.told = e.sight.times(moves)
	p.notices += e.sight.count()
	after, err := e.sidecar.processor()
	throttled, failed := e.throttled(ctx)
	p.used, p.throttled = after-used, throttled-before
	if err := errors.Join(err, failed); err != nil {
		return p, err
	}
	if p.calls, err = e.answered(ctx); err != nil {
		return p, err
	}
	return p, e.settled()
}

// settled compares what every app's files hold with its secrets.
func (e *estate) settled() error {
	for i := range e.secrets() {
		for _, f := range forms() {
			path := filepath.Join(e.folderOf(i), f.name)
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if !strings.Contains(string(text), e.values[i].Password) {
				return fmt.Errorf("%s does not hold the value of %s", path, secretID(i))
			}
		}
	}
	return nil
}

// tail is the end of a log.
func tail(log string) string { return log[max(0, len(log)-4000):] }

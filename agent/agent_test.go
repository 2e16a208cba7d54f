package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"outrider/awslab"
	"outrider/internal/config"
	"outrider/internal/programtest"
	"outrider/secret"
)

// house is a lab, a host's files, and an agent over both. Nothing in it uses
// a socket or inotify, so that it may live in a synctest bubble.
type house struct {
	t     *testing.T
	dir   string
	lab   *awslab.Lab
	setup awslab.Setup
	log   *programtest.Log

	mu      sync.Mutex
	changed []func() // what the agent wants called when files change
}

func newHouse(t *testing.T) *house {
	t.Helper()
	lab, err := awslab.New(awslab.Options{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, dir: t.TempDir(), lab: lab, log: &programtest.Log{}}
	if h.setup, err = lab.Write(h.dir); err != nil {
		t.Fatal(err)
	}
	return h
}

// put gives a secret a value, and returns the one it gave.
func (h *house) put(name, value string) string {
	h.t.Helper()
	if _, err := h.lab.PutSecret(name, value); err != nil {
		h.t.Fatal(err)
	}
	return value
}

// app returns an app whose files are each its secret, read by a template.
func (h *house) app(name string, secrets ...string) config.App {
	app := config.App{Name: name, Role: "role", Secrets: map[string]secret.Ref{}}
	var text strings.Builder
	for i, id := range secrets {
		key := fmt.Sprintf("s%d", i)
		app.Secrets[key] = secret.Ref{ID: id, Stage: secret.Current}
		fmt.Fprintf(&text, "{{ .%s }}\n", key)
	}
	app.Files = []config.File{{Source: name + ".tmpl", Text: text.String(), Destination: h.path(name)}}
	return app
}

func (h *house) path(name string) string { return filepath.Join(h.dir, name+".conf") }

// read returns an app's file, or "" when there is none.
func (h *house) read(name string) string {
	h.t.Helper()
	content, err := os.ReadFile(h.path(name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		h.t.Fatal(err)
	}
	return string(content)
}

func (h *house) config(interval time.Duration, apps ...config.App) *config.Config {
	c := &config.Config{
		Identities: map[string]config.Identity{"host": {Name: "host", Certificate: h.setup.Certificate, PrivateKey: h.setup.PrivateKey}},
		Roles: map[string]config.Role{"role": {
			Name: "role", Identity: "host", Region: h.setup.Region,
			TrustAnchor: h.setup.TrustAnchor, Profile: h.setup.Profile, Role: h.setup.Role,
		}},
		Apps:  map[string]config.App{},
		Watch: config.Watch{Interval: interval},
		State: filepath.Join(h.dir, "state"),
	}
	for _, app := range apps {
		c.Apps[app.Name] = app
	}
	return c
}

func (h *house) options() Options {
	return Options{
		Log:       slog.New(slog.NewJSONHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Transport: h.lab.RoundTripper(),
		Version:   "test",
		Watch: func(ctx context.Context, _ []string, changed func()) error {
			h.mu.Lock()
			h.changed = append(h.changed, changed)
			h.mu.Unlock()
			<-ctx.Done()
			return nil
		},
	}
}

// touch tells the agent that files may have changed.
func (h *house) touch() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, changed := range h.changed {
		changed()
	}
	synctest.Wait()
}

func (h *house) agent(c *config.Config) *Agent {
	h.t.Helper()
	a, err := New(c, h.options())
	if err != nil {
		h.t.Fatal(err)
	}
	return a
}

// run runs the agent until the function that it returns is called.
func (h *house) run(a *Agent) (stop func()) {
	ctx, cancel := context.WithCancel(h.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	return func() {
		h.t.Helper()
		cancel()
		if err := <-ended; err != nil {
			h.t.Errorf("Run = %v, want nil after its context ended", err)
		}
	}
}

// renewCertificate puts another certificate and key where the first ones are.
func (h *house) renewCertificate(options awslab.LeafOptions) {
	h.t.Helper()
	certificate, key, _, err := h.lab.Issue(options)
	if err != nil {
		h.t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(h.setup.Certificate, certificate, 0o600), os.WriteFile(h.setup.PrivateKey, key, 0o600)); err != nil {
		h.t.Fatal(err)
	}
	h.touch()
}

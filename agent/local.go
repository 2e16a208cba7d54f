package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"outrider/audit"
	"outrider/deliver"
	"outrider/internal/config"
	"outrider/internal/credfile"
	"outrider/refresher"
	"outrider/secret"
	"outrider/serve"
)

// tokenMode is the mode of a token's file.
const tokenMode fs.FileMode = 0o440

// local is what roles share in handing sessions out on this machine, for as
// long as the process runs.
type local struct {
	files sync.Mutex // held while a file is written: roles may share a credentials file

	witness witness

	listens atomic.Bool // the container endpoint's address is ours: its tokens may be handed out

	mu     sync.Mutex
	tokens map[string]secret.Value // what clients of the container endpoint show, by role
}

// token returns a role's token, and makes it when there is none.
func (l *local) token(role string) secret.Value {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tokens == nil {
		l.tokens = map[string]secret.Value{}
	}
	token, ok := l.tokens[role]
	if !ok {
		token = serve.NewToken()
		l.tokens[role] = token
	}
	return token
}

// Grant returns what the endpoints for credentials need of a role besides its
// session. It never blocks.
func (a *Agent) Grant(name string) (serve.Grant, error) {
	r, err := a.current().role(name)
	if err != nil {
		return serve.Grant{}, err
	}
	g := serve.Grant{RoleARN: r.Role.Role, Region: r.Region}
	if n := len(r.Assume); n > 0 {
		g.RoleARN = r.Assume[n-1]
	}
	if r.Token != nil {
		g.Token = a.host.local.token(name)
	}
	return g, nil
}

// handOutTokens writes every role's token before anybody is answered, and not
// earlier: another sidecar may have the address, and its tokens in the files.
func (a *Agent) handOutTokens() {
	a.host.local.listens.Store(true)
	for _, r := range a.current().roles {
		if err := r.writeToken(); err != nil {
			r.out.Wake() // its loop reports what is wrong, and tries again
		}
	}
}

// runner is something that is served until its context ends.
type runner interface {
	Run(context.Context) error
}

// hurried is an Agent as SDKs ask it, some of which give an endpoint a second.
type hurried struct{ *Agent }

// Credentials waits for half a second at most.
func (h hurried) Credentials(ctx context.Context, c serve.Caller, name string) (serve.Credentials, error) {
	got, err := h.credentials(ctx, c, name, 500*time.Millisecond)
	return got, h.o.witness.handedOut(c, name, got, err)
}

// endpoints serves sessions to other programs, where that is configured. The
// channel is closed when each endpoint has its address or could not get it.
func (a *Agent) endpoints(ctx context.Context, group *errgroup.Group, l config.Listen) <-chan struct{} {
	var settling sync.WaitGroup
	pending := func() func() {
		settling.Add(1)
		return sync.OnceFunc(settling.Done)
	}
	if c := l.Credentials; c.Address != "" {
		address := c.Address
		if c.Network == "unix" {
			address = "unix:" + address
		}
		done := pending()
		listening := func() { a.handOutTokens(); done() }
		a.serve(ctx, group, "credentials endpoint", serve.Container{Address: address, Agent: hurried{a}, Log: a.o.Log, Listening: listening}, done)
	}
	if i := l.IMDS; i.Address.Address != "" {
		done := pending()
		a.serve(ctx, group, "imds endpoint", serve.IMDS{Address: i.Address.Address, Role: i.Role, Agent: hurried{a}, Log: a.o.Log, Listening: done}, done)
	}
	if l.Metrics.Address != "" {
		done := pending()
		a.serve(ctx, group, "metrics endpoint", serve.Metrics{
			Address: l.Metrics.Address, Agent: a, Scrape: a.o.witness.meter.Handler(), Log: a.o.Log, Listening: done,
		}, done)
	}
	if l.Systemd != "" {
		done := pending()
		a.serve(ctx, group, "systemd socket", serve.Systemd{Path: l.Systemd, Agent: a, Log: a.o.Log, Listening: done}, done)
	}
	settled := make(chan struct{})
	group.Go(func() error {
		settling.Wait()
		close(settled)
		return nil
	})
	return settled
}

// serve runs r, and tries on while it cannot run. It calls settled when r
// could not run, or never will.
func (a *Agent) serve(ctx context.Context, group *errgroup.Group, what string, r runner, settled func()) {
	var was error
	loop := &refresher.Loop{Roll: a.o.Roll, Look: func(ctx context.Context) error {
		err := r.Run(ctx)
		settled()
		if ctx.Err() == nil && changedError(was, err) {
			a.o.Log.Error("endpoint not served", "endpoint", what, "error", err)
		}
		was = err
		return err
	}}
	group.Go(func() error {
		defer settled()
		return loop.Run(ctx)
	})
}

// handOut writes the role's token and its session into the files that the
// configuration names.
func (r *role) handOut(context.Context) error {
	err := errors.Join(r.writeToken(), r.writeCredentials())
	r.mu.Lock()
	was := r.fileErr
	r.fileErr = err
	r.mu.Unlock()
	if changedError(was, err) {
		r.log.Error("session not handed out", "role", r.Name, "error", err)
	}
	return err
}

func (r *role) writeToken() error {
	t := r.Token
	if t == nil || !r.local.listens.Load() {
		return nil
	}
	r.local.files.Lock()
	defer r.local.files.Unlock()
	mode := tokenMode
	file, err := placed(config.File{Destination: t.File, Owner: t.Owner, Group: t.Group, Mode: &mode}, "")
	if err != nil {
		return fmt.Errorf("role %s: token: %w", r.Name, err)
	}
	file.Content = r.local.token(r.Name)
	if _, err := deliver.Place("token-"+r.Name, []deliver.File{file}); err != nil {
		return fmt.Errorf("role %s: token: %w", r.Name, err)
	}
	return nil
}

func (r *role) writeCredentials() error {
	f := r.CredentialsFile
	if f == nil {
		return nil
	}
	r.local.files.Lock()
	defer r.local.files.Unlock()
	const most = 1 << 20 // of a file with profiles, in bytes
	old, err := deliver.Read(f.Path, deliver.Follow, most)
	if err != nil {
		return fmt.Errorf("role %s: credentials_file: %w", r.Name, err)
	}
	text, keyID, err := r.editCredentials(old)
	if text.Equal(old) && err == nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("role %s: credentials_file %s: %w", r.Name, f.Path, err)
	}
	file := deliver.File{Destination: f.Path, Content: text}
	if old.Len() == 0 {
		file.UID, file.GID = ownerOf(filepath.Dir(f.Path))
	}
	changed, err := deliver.Place("credentials-"+r.Name, []deliver.File{file})
	if err != nil {
		return fmt.Errorf("role %s: credentials_file: %w", r.Name, err)
	}
	if keyID != "" && len(changed) > 0 {
		r.local.witness.audit.Note(audit.Entry{Event: audit.Session, Role: r.Name, AccessKeyID: keyID, File: f.Path})
	}
	return nil
}

// editCredentials puts the session in hand in place of the one before. Near its
// end, when there is no newer one, and without any, what has expired is taken
// out: the file cannot say why there is none, and no key is a clear answer. The
// id is that of the key put in.
func (r *role) editCredentials(old secret.Value) (text secret.Value, keyID string, err error) {
	term, held, _ := r.lease.Now()
	// More than the time to the next hand-out, but little of a short session.
	soon := 90 * time.Second
	if life := term.Until.Sub(term.From); life > 0 {
		soon = min(soon, life/4)
	}
	profile, s := r.CredentialsFile.Profile, term.Value
	if !held || time.Until(term.Until) < soon {
		text, err = credfile.Expire(old, profile, time.Now().Add(soon))
		return text, "", err
	}
	text, err = credfile.Edit(old, profile, credfile.Credentials{
		AccessKeyID: s.AccessKeyID, SecretAccessKey: s.SecretAccessKey, SessionToken: s.SessionToken, Expires: term.Until,
	})
	return text, s.AccessKeyID, err
}

// ownerOf returns whose a folder is, so that a first credentials file belongs
// to the user in whose home it is; nil when that cannot be told.
func ownerOf(dir string) (uid, gid *int) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, nil
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil, nil
	}
	u, g := int(st.Uid), int(st.Gid)
	return &u, &g
}

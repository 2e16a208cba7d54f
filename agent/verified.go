package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"outrider/deliver"
	"outrider/internal/config"
	"outrider/render"
	"outrider/secret"
	"outrider/verify"
)

// rules turns what the configuration says of an app's verification into
// rules. Its error joins the mistakes in templates.
func rules(c config.App) ([]verify.Rule, error) {
	var all []verify.Rule
	var mistakes []error
	for i, v := range c.Verify {
		r := verify.Rule{Hold: v.OnInconclusive == "hold", EarlyPending: v.EarlyPending}
		switch {
		case v.MySQL != nil:
			m := v.MySQL
			// Apps that try the same login share their tries.
			r.Name = strings.Join([]string{"mysql", m.Address, m.TLS, m.CA}, " ")
			r.Secrets = []string{m.Secret}
			r.Check = verify.MySQL{Secret: m.Secret, Address: m.Address, TLS: verify.TLS(m.TLS), CA: m.CA}
		case v.TLSPair != nil:
			pair, err := tlsPair(v, c)
			if err != nil {
				mistakes = append(mistakes, err)
				continue
			}
			r.Name, r.Check = fmt.Sprintf("tls_pair %s %d", c.Name, i), pair
		default:
			r.Name = fmt.Sprintf("run %s %d", c.Name, i)
			r.Check = verify.Command{Argv: v.Run, User: v.User, Timeout: v.Timeout}
		}
		all = append(all, r)
	}
	return all, errors.Join(mistakes...)
}

func tlsPair(v config.Verify, c config.App) (verify.TLSPair, error) {
	names := secretNames(c)
	certificate, err := render.Parse(v.Place, v.TLSPair.Certificate, names)
	if err != nil {
		return verify.TLSPair{}, err
	}
	key, err := render.Parse(v.Place, v.TLSPair.PrivateKey, names)
	return verify.TLSPair{Certificate: certificate, PrivateKey: key}, err
}

// gate decides what may be delivered, for all apps. What was tried is kept in
// the state folder, so that a restart tries no password again too soon.
type gate struct {
	verify.Ledger
	path string // empty: nothing is kept

	mu sync.Mutex // held while it is written down, so that no older copy is the last
}

func (g *gate) restore(state string) {
	g.path = filepath.Join(state, "verify.json")
	if left, err := filepath.Glob(filepath.Join(state, ".verify-*")); err == nil {
		for _, path := range left {
			_ = os.Remove(path) // a crash left it
		}
	}
	tried := map[string]verify.Attempt{}
	text, err := os.ReadFile(g.path)
	if err == nil && json.Unmarshal(text, &tried) == nil {
		g.Restore(tried)
	}
}

// keep writes down what was tried. What cannot be written is tried once more
// after a restart.
func (g *gate) keep() {
	g.mu.Lock()
	defer g.mu.Unlock()
	text, err := json.Marshal(g.Attempts())
	if err != nil || g.path == "" {
		return
	}
	fresh, err := os.CreateTemp(filepath.Dir(g.path), ".verify-*") // 0600
	if err != nil {
		return
	}
	_, err = fresh.Write(text)
	if err = errors.Join(err, fresh.Close()); err == nil {
		err = os.Rename(fresh.Name(), g.path)
	}
	if err != nil {
		_ = os.Remove(fresh.Name())
	}
}

// verified returns the snapshot that may be delivered: the one given, or one
// that works in its place, and then why. While none may, it returns an error
// that says when to look again.
func (a *app) verified(ctx context.Context, ledger *deliver.Ledger, current secret.Snapshot) (secret.Snapshot, error, error) {
	if len(a.rules) == 0 {
		return current, nil, nil
	}
	done := ledger.Progress()
	situation := verify.Situation{Rules: a.rules, Current: verify.VersionsOf(current)}
	if files := a.inFiles(); files.Len() > 0 {
		situation.Delivered = verify.VersionsOf(files)
	}
	candidates := map[verify.Candidate]secret.Snapshot{verify.Current: current}
	for {
		step := a.gate.Next(situation, time.Now())
		switch step.Do {
		case verify.Deliver:
			return candidates[step.Candidate], step.Err, nil
		case verify.Survey:
			a.survey(ctx, &situation, candidates, step.Secrets)
		case verify.Try:
			a.gate.keep() // a crash in the middle of a login must not repeat it at once
			result := a.try(ctx, step, candidates[step.Candidate], done.Generation+1)
			if ctx.Err() != nil {
				return current, nil, context.Cause(ctx)
			}
			a.gate.Note(step, result, time.Now())
			a.gate.keep()
		default:
			return current, nil, &waitError{error: step.Err, at: step.At, alarm: step.Alarm}
		}
	}
}

// try verifies a candidate by one rule.
func (a *app) try(ctx context.Context, step verify.Step, candidate secret.Snapshot, generation uint64) verify.Result {
	if candidate.Len() == 0 {
		return verify.Result{Verdict: verify.Inconclusive, Err: fmt.Errorf("the %s version may not be read; allow secretsmanager:GetSecretValue on it", step.Candidate)}
	}
	trial := verify.Trial{App: a.Name, Generation: generation, Snapshot: candidate, Now: time.Now()}
	return a.rules[step.Rule].Check.Verify(ctx, trial)
}

// survey looks for versions that may work where the current ones do not.
func (a *app) survey(ctx context.Context, s *verify.Situation, candidates map[verify.Candidate]secret.Snapshot, names []string) {
	s.Surveyed = true
	current := candidates[verify.Current]
	if versions, snapshot := a.under(ctx, current, names, "AWSPENDING"); versions != nil {
		s.Pending, candidates[verify.Pending] = versions, snapshot
	}
	if s.Delivered != nil {
		return
	}
	if versions, snapshot := a.under(ctx, current, names, "AWSPREVIOUS"); versions != nil {
		s.Previous, candidates[verify.Previous] = versions, snapshot
	}
}

// under returns the snapshot's versions, with those under another label in
// place of the ones that differ from it; nil when none does. The snapshot of
// them is empty when a value may not be read: that a rotation is under way
// must be known all the same.
func (a *app) under(ctx context.Context, current secret.Snapshot, names []string, stage string) (verify.Versions, secret.Snapshot) {
	versions, found, whole := map[string]secret.Version{}, false, true
	for _, name := range current.Names() {
		v, _ := current.Get(name)
		versions[name] = v
		if v.Ref.Stage != secret.Current || names != nil && !slices.Contains(names, name) {
			continue
		}
		other, read := a.labelled(ctx, v, stage)
		if other.ID == "" || other.ID == v.ID {
			continue
		}
		versions[name], found, whole = other, true, whole && read
	}
	if !found {
		return nil, secret.Snapshot{}
	}
	snapshot := secret.NewSnapshot(current.Taken(), versions)
	if !whole {
		return verify.VersionsOf(snapshot), secret.Snapshot{}
	}
	return verify.VersionsOf(snapshot), snapshot
}

// labelled returns the version under another label, with its value when that
// may be read; without an id when the label is nowhere.
func (a *app) labelled(ctx context.Context, v secret.Version, stage string) (secret.Version, bool) {
	ref := v.Ref
	ref.Stage = stage
	labels, err := a.role.store.Labels(ctx, ref)
	if err == nil && (labels[stage] == "" || labels[stage] == v.ID) {
		return secret.Version{}, false
	}
	const name = "it"
	got, readErr := a.role.store.Get(ctx, map[string]secret.Ref{name: ref}, time.Now(), secret.Snapshot{})
	if readErr == nil {
		other, _ := got.Get(name)
		return other, true
	}
	return secret.Version{Ref: ref, ID: labels[stage], ARN: v.ARN}, false
}

// previousWorks returns an error when what the files held before is refused
// by now, so that going back to it would only make things worse.
func (a *app) previousWorks(ctx context.Context, versions deliver.Versions) error {
	if len(a.rules) == 0 || len(versions) == 0 {
		return nil
	}
	refs := map[string]secret.Ref{}
	for name, v := range versions {
		switch a.Secrets[name].Kind {
		case secret.Parameters:
			return nil // what was below a path cannot be asked for
		case secret.Parameter:
			refs[name] = secret.Ref{Kind: secret.Parameter, ID: v.ARN + ":" + v.ID}
		default:
			refs[name] = secret.Ref{ID: v.ARN, VersionID: v.ID}
		}
	}
	snapshot, err := a.role.store.Get(ctx, refs, time.Now(), secret.Snapshot{})
	if err != nil {
		return nil //nolint:nilerr // nothing says that they are refused
	}
	for _, rule := range a.rules {
		trial := verify.Trial{App: a.Name, Generation: a.standing.delivered().Generation + 1, Snapshot: snapshot, Now: time.Now()}
		if r := rule.Check.Verify(ctx, trial); r.Verdict == verify.Wrong {
			return fmt.Errorf("%s: %w", rule.Check, r.Err)
		}
	}
	return nil
}

package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"outrider/doctor"
	"outrider/policy"
	"outrider/secret"
	"outrider/session"
	"outrider/store"
	"outrider/store/events"
	"outrider/verify"
)

// examination bounds how long the walk to AWS takes.
const examination = 30 * time.Second

// Examine walks the whole chain, from the certificate to AWS and to the
// applications, and tells of each link what would fail and how to mend it. It
// changes nothing, but it opens sessions, reads every secret, tries each login
// once, and runs the commands of verify. It may be used beside a running
// sidecar, and returns a little after 30 seconds at the latest.
func (a *Agent) Examine(ctx context.Context) []doctor.Finding {
	ctx, cancel := context.WithTimeout(ctx, examination)
	defer cancel()
	w := a.current()
	e := &walk{world: w, network: doctor.Network{Transport: a.o.Transport}, home: homeOf, began: time.Now()}
	var findings []doctor.Finding
	roles := slices.Collect(maps.Values(w.roles))
	_ = w.opened(ctx, roles, func(ctx context.Context, _ *errgroup.Group) error {
		var checks []doctor.Check
		for _, name := range slices.Sorted(maps.Keys(w.identities)) {
			checks = append(checks, e.identity(w.identities[name]))
		}
		checks = append(checks, doctor.Check{Subject: "endpoints", Look: e.endpoints})
		for _, name := range slices.Sorted(maps.Keys(w.roles)) {
			checks = append(checks, e.role(w.roles[name]))
		}
		findings = doctor.Run(ctx, append(checks, doctor.Check{Subject: "credentials files", Look: e.homes}))
		return nil
	})
	return findings
}

// walk is one examination.
type walk struct {
	world   *world
	network doctor.Network
	home    func(user string) string
	began   time.Time

	mu    sync.Mutex
	tried map[string]verify.Result // by rule and versions: apps may share a login
}

func (e *walk) identity(i *identity) doctor.Check {
	return doctor.Check{Subject: "identity " + i.Name, Look: func(ctx context.Context) []doctor.Finding {
		return i.examine(ctx, i.clock())
	}}
}

// endpoints looks at the way to every endpoint, each once, and at the clock.
func (e *walk) endpoints(ctx context.Context) []doctor.Finding {
	urls, findings := e.urls(ctx)
	var mu sync.Mutex // a look may be late
	var reached []doctor.Reach
	var checks []doctor.Check
	for _, address := range urls {
		checks = append(checks, doctor.Check{Subject: "endpoint " + address, Look: func(ctx context.Context) []doctor.Finding {
			reach := e.network.Look(ctx, address)
			mu.Lock()
			defer mu.Unlock()
			reached = append(reached, reach)
			return []doctor.Finding{reach.Finding}
		}})
	}
	findings = append(findings, doctor.Run(ctx, checks)...)
	mu.Lock()
	defer mu.Unlock()
	return append(findings, doctor.Clock(reached))
}

// urls returns the endpoints that the configuration asks, sorted.
func (e *walk) urls(ctx context.Context) ([]string, []doctor.Finding) {
	var all []string
	var findings []doctor.Finding
	add := func(address string, err error) {
		if err != nil {
			findings = append(findings, doctor.Finding{Verdict: doctor.Fail, Subject: "endpoint", Text: err.Error()})
			return
		}
		all = append(all, address)
	}
	for _, r := range e.world.roles {
		for _, p := range r.places {
			add(p.URL(), nil)
		}
		if len(r.Assume) > 0 {
			add(session.Chained{Region: r.Region, Endpoint: r.Endpoints.STS, FIPS: r.FIPS, DualStack: r.DualStack}.URL(ctx))
		}
		for _, ref := range r.refs {
			at := store.Place{Region: r.Region, Endpoint: r.Endpoints.SecretsManager, FIPS: r.FIPS, DualStack: r.DualStack}
			if ref.Kind != secret.SecretsManager {
				at.Endpoint = r.Endpoints.SSM
			}
			add(at.URL(ctx, ref.Kind))
		}
	}
	if queue, err := url.Parse(e.world.config.Watch.Queue); err == nil && queue.Host != "" {
		add((&url.URL{Scheme: queue.Scheme, Host: queue.Host}).String(), nil)
	}
	slices.Sort(all)
	return slices.Compact(all), findings
}

// role opens a role's session, and goes on from there to its secrets and apps.
func (e *walk) role(r *role) doctor.Check {
	return doctor.Check{Subject: "role " + r.Name, Look: func(ctx context.Context) []doctor.Finding {
		findings, opened := e.session(ctx, r)
		var versions map[secret.Ref]secret.Version
		if opened {
			var read []doctor.Finding
			read, versions = e.readAll(ctx, r, e.world.permissions(ctx, r, r.refs))
			findings = append(findings, read...)
		}
		var checks []doctor.Check
		for _, app := range r.apps {
			checks = append(checks, doctor.Check{Subject: "app " + app.Name, Look: func(ctx context.Context) []doctor.Finding {
				return slices.Concat(app.examine(), e.values(ctx, app, versions), app.examineTargets(ctx))
			}})
		}
		return append(findings, doctor.Run(ctx, checks)...)
	}}
}

// session reports on the role's session, and on its fallbacks.
func (e *walk) session(ctx context.Context, r *role) (findings []doctor.Finding, opened bool) {
	subject := "role " + r.Name
	s, _, err := r.lease.Get(ctx)
	if err != nil {
		text := strings.TrimPrefix(err.Error(), subject+": ")
		return []doctor.Finding{{Verdict: doctor.Fail, Subject: subject, Text: text + "; what it reads was not looked at"}}, false
	}
	text := fmt.Sprintf("session %s in %s until %s", s.AccessKeyID, s.Region, s.Expires.Local().Format(time.DateTime))
	if n := len(r.Assume); n > 0 {
		text += ", gone on to " + r.Assume[n-1]
	}
	findings = append(findings, doctor.Finding{Verdict: doctor.OK, Subject: subject, Text: text})
	set, err := r.identity.current(ctx)
	if err != nil {
		return findings, true // there is no session without one
	}
	for _, p := range r.places {
		if p.Region == s.Region {
			continue
		}
		f := doctor.Finding{Verdict: doctor.OK, Subject: subject, Text: "region " + p.Region + ": opens sessions"}
		if _, err := r.client.Create(ctx, p.Role, set); err != nil {
			f.Verdict, f.Text = doctor.Fail, "region "+p.Region+": "+err.Error()
		}
		findings = append(findings, f)
	}
	return findings, true
}

// readAll reads every reference of the role once, and asks whether the cheaper
// ways to look are allowed.
func (e *walk) readAll(ctx context.Context, r *role, permissions policy.Role) ([]doctor.Finding, map[secret.Ref]secret.Version) {
	var mu sync.Mutex // a read may be late
	versions := map[secret.Ref]secret.Version{}
	var checks []doctor.Check
	check := func(subject string, look func(context.Context) []doctor.Finding) {
		checks = append(checks, doctor.Check{Subject: subject, Look: look})
	}
	refs := slices.SortedFunc(slices.Values(r.refs), func(a, b secret.Ref) int { return cmp.Compare(a.String(), b.String()) })
	r.store.Begin(refs)(ctx) // in as few calls as there may be; what follows shares them
	for _, ref := range refs {
		check(ref.String(), func(ctx context.Context) []doctor.Finding {
			v, findings := e.read(ctx, r, permissions, ref)
			mu.Lock()
			defer mu.Unlock()
			versions[ref] = v
			return findings
		})
	}
	if missing := permissions.Missing("secretsmanager:BatchGetSecretValue", refs...); len(missing.Action) > 0 {
		check("batches", func(ctx context.Context) []doctor.Finding {
			first := slices.IndexFunc(refs, func(ref secret.Ref) bool { return ref.Kind == secret.SecretsManager })
			return allowed("role "+r.Name, r.store.Batches(ctx, refs[first]), "starts read each secret by a call of its own", missing)
		})
	}
	if permissions.Queue != "" {
		check("queue", func(ctx context.Context) []doctor.Finding { return e.queue(ctx, permissions) })
	}
	findings := doctor.Run(ctx, checks)
	mu.Lock()
	defer mu.Unlock()
	return findings, maps.Clone(versions)
}

func (e *walk) read(ctx context.Context, r *role, permissions policy.Role, ref secret.Ref) (secret.Version, []doctor.Finding) {
	const name = "it"
	snapshot, err := r.store.Get(ctx, map[string]secret.Ref{name: ref}, e.began, secret.Snapshot{})
	if err != nil {
		return secret.Version{}, []doctor.Finding{refusal(ref, permissions, err)}
	}
	v, _ := snapshot.Get(name)
	findings := []doctor.Finding{{Verdict: doctor.OK, Subject: ref.String(), Text: "version " + v.ID + " from " + v.Region}}
	if ref.Kind != secret.SecretsManager || ref.VersionID != "" {
		return v, findings
	}
	missing, err := r.store.Unreplicated(ctx, ref)
	findings = append(findings, allowed(ref.String(), err, "each poll reads its value", permissions.Missing("secretsmanager:DescribeSecret", ref))...)
	if len(missing) > 0 {
		findings = append(findings, doctor.Finding{
			Verdict: doctor.Warn, Subject: ref.String(), Text: "no copy in step in " + strings.Join(missing, ", ") + ", where it is to be read while " + r.Region + " is away",
			Remedy: "replicate it there, or take the region out of roles." + r.Name + ".fallback",
		})
	}
	return v, findings
}

// refusal tells why a reference cannot be read, with the statement to add
// where one is missing.
func refusal(ref secret.Ref, permissions policy.Role, err error) doctor.Finding {
	f := doctor.Finding{Verdict: doctor.Fail, Subject: ref.String(), Text: strings.TrimPrefix(err.Error(), ref.String()+": ")}
	refused, ok := errors.AsType[*store.Error](err)
	if !ok || !strings.HasPrefix(refused.Code, "AccessDenied") {
		return f
	}
	action := "secretsmanager:GetSecretValue"
	switch {
	case strings.Contains(refused.Message, "KMS") || strings.Contains(refused.Message, "kms:"):
		action = "kms:Decrypt"
	case ref.Kind == secret.Parameter:
		action = "ssm:GetParameters"
	case ref.Kind == secret.Parameters:
		action = "ssm:GetParametersByPath"
	}
	f.Remedy = "add to its policy " + permissions.Missing(action, ref).String()
	return f
}

// allowed warns when a way to look is denied that something else stands in
// for. Other errors are no news: a read has told of them.
func allowed(subject string, err error, instead string, missing policy.Statement) []doctor.Finding {
	refused, ok := errors.AsType[*store.Error](err)
	if !ok || !strings.HasPrefix(refused.Code, "AccessDenied") {
		return nil
	}
	return []doctor.Finding{{
		Verdict: doctor.Warn, Subject: subject, Text: refused.Operation + " is not allowed: " + instead,
		Remedy: "add to its policy " + missing.String(),
	}}
}

// queue asks for a message, which it leaves to the sidecar.
func (e *walk) queue(ctx context.Context, permissions policy.Role) []doctor.Finding {
	f := doctor.Finding{Verdict: doctor.OK, Subject: "queue", Text: permissions.Queue + " can be received from"}
	err := e.world.queue.from.Probe(ctx)
	if err == nil {
		return []doctor.Finding{f}
	}
	f.Verdict, f.Text = doctor.Fail, strings.TrimPrefix(err.Error(), "queue ")
	if refused, ok := errors.AsType[*events.Error](err); ok && strings.HasPrefix(refused.Code, "AccessDenied") {
		f.Remedy = "add to its policy " + permissions.Missing("sqs:"+strings.TrimSuffix(refused.Operation, "Batch")).String()
	}
	return []doctor.Finding{f}
}

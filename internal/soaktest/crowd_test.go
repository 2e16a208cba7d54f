package soaktest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"outrider/agent"
	"outrider/awslab"
	"outrider/internal/config"
	"outrider/serve"
)

// deed is something that is done to a running agent, at least so many times
// with success while everybody else does theirs.
type deed struct {
	name string
	do   func(ctx context.Context, n int) error
	want int
}

// Whatever is done to an agent while everything else is, and when it is told to
// stop in the middle of it, nothing races, hangs or gets lost.
func TestEverythingAtOnce(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	loads := h.variants()
	for range 2 {
		h.live(loads)
	}
	p := h.start()
	h.quiet(p)
}

// live runs an agent in this process, under its race detector, until every deed
// was done often enough, and stops it while all are still being done.
func (h *host) live(loads []func() (*config.Config, error)) {
	h.t.Helper()
	c, err := loads[0]()
	if err != nil {
		h.t.Fatal(err)
	}
	a, err := agent.New(c, agent.Options{Transport: h.lab.RoundTripper()})
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(h.t.Context(), patience)
	defer stop()
	running := make(chan error, 1)
	go func() { running <- a.Run(ctx) }()
	var doing, enough sync.WaitGroup
	for _, d := range h.deeds(a, loads) {
		enough.Add(1)
		doing.Go(func() {
			done := sync.OnceFunc(enough.Done)
			defer done()
			d.again(ctx, h.t, done)
		})
	}
	enough.Wait()
	stop()
	if err := <-running; err != nil {
		h.t.Errorf("Run = %v", err)
	}
	doing.Wait()
}

// again does it until ctx ends, and calls enough once it went well as often as
// is wanted. That a reload or a start comes in its way is no failure.
func (d deed) again(ctx context.Context, t *testing.T, enough func()) {
	var last error
	well := 0
	for n := 0; ctx.Err() == nil; n++ {
		if err := d.do(ctx, n); err != nil {
			last = err
		} else if well++; well == d.want {
			enough()
		}
		<-time.After(5 * time.Millisecond) // others have two cores to share as well
	}
	if well < d.want {
		t.Errorf("%s went well %d times, want %d; last: %v", d.name, well, d.want, last)
	}
}

// variants returns what loads the host's configuration, one with an app less,
// and one with other limits and another session.
func (h *host) variants() (loads []func() (*config.Config, error)) {
	base := h.read("outrider.yaml")
	from := strings.Index(base, "  linked: ")
	upTo := from + strings.Index(base[from:], "\n") + 1
	for i, text := range []string{
		base,
		base[:from] + base[upTo:],
		strings.NewReplacer("within: 60s", "within: 50s", "    region: ", "    session_duration: 30m\n    region: ").Replace(base),
	} {
		name := fmt.Sprintf("outrider-%d.yaml", i)
		h.write(name, text)
		loads = append(loads, func() (*config.Config, error) { return config.Load(h.path(name), os.Getenv) })
	}
	return loads
}

func (h *host) deeds(a *agent.Agent, loads []func() (*config.Config, error)) []deed {
	// Nobody keeps a connection: an idle one would outlive the test.
	web := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	get := func(ctx context.Context, method, url string, headers ...string) (string, error) {
		r, err := http.NewRequestWithContext(ctx, method, "http://"+url, nil)
		if err != nil {
			return "", err
		}
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		answer, err := web.Do(r)
		if err != nil {
			return "", err
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err == nil && answer.StatusCode != http.StatusOK {
			err = errors.New(answer.Status)
		}
		return string(body), err
	}
	look := func(url string) func(context.Context, int) error {
		return func(ctx context.Context, _ int) error {
			_, err := get(ctx, http.MethodGet, h.port(9469)+url)
			return err
		}
	}
	return []deed{
		{"reload", func(ctx context.Context, n int) error {
			if err := a.Reload(ctx, loads[n%len(loads)]); err != nil {
				return err
			}
			return h.client().Wait(ctx, "folder") // each calls off the looks that are under way
		}, 6},
		{"rotate", func(context.Context, int) error { h.rotate(); return nil }, 20},
		{"renew", func(_ context.Context, _ int) error { return h.renew() }, 5},
		{"refresh", func(ctx context.Context, _ int) error {
			_, err := h.client().Refresh(ctx, nil)
			return err
		}, 2},
		{"signal", func(ctx context.Context, _ int) error { a.LookNow(ctx); return nil }, 1},
		{"retry", func(ctx context.Context, _ int) error {
			_, err := h.client().Retry(ctx, "plain")
			if _, none := errors.AsType[*serve.RefusedError](err); none {
				return nil // nothing is set aside
			}
			return err
		}, 1},
		{"wait", func(ctx context.Context, _ int) error { return h.client().Wait(ctx, "folder") }, 10},
		{"status", func(ctx context.Context, _ int) error {
			_, err := h.client().Status(ctx)
			return err
		}, 40},
		{"credentials", func(ctx context.Context, _ int) error {
			_, err := h.client().Credentials(ctx, "lab")
			return err
		}, 20},
		{"scrape", look("/metrics"), 10},
		{"health", look("/healthz"), 10},
		{"readiness", look("/readyz"), 5},
		{"container", func(ctx context.Context, _ int) error {
			_, err := get(ctx, http.MethodGet, h.port(9470)+"/roles/lab", "Authorization", h.read("token"))
			return err
		}, 20},
		{"imds", func(ctx context.Context, _ int) error {
			token, err := get(ctx, http.MethodPut, h.port(9471)+"/latest/api/token", "X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "60")
			if err == nil {
				_, err = get(ctx, http.MethodGet, h.port(9471)+"/latest/meta-data/iam/security-credentials/outrider-lab", "X-Aws-Ec2-Metadata-Token", token)
			}
			return err
		}, 20},
		{"systemd", h.credential, 10},
	}
}

// renew puts another certificate and its key in place of those that are there,
// one after the other: between them the set is wrong.
func (h *host) renew() error {
	certificate, key, _, err := h.lab.Issue(awslab.LeafOptions{})
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(h.path("pki/certificate.pem"), certificate, 0o600), os.WriteFile(h.path("pki/private_key.pem"), key, 0o600))
}

// credential reads a unit's credential as systemd does.
func (h *host) credential(ctx context.Context, n int) error {
	from := fmt.Sprintf("@%x%08x/unit/soak.service/c", os.Getpid(), n)
	dialer := net.Dialer{LocalAddr: &net.UnixAddr{Name: from, Net: "unix"}}
	c, err := dialer.DialContext(ctx, "unix", h.path("systemd"))
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	text, err := io.ReadAll(c)
	if err == nil {
		_, err = h.whole([]string{"other"}, string(text))
	}
	return err
}

package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"outrider/internal/porttest"
	"outrider/secret"
)

// rolling is an agent whose session is replaced all the time. A session's id
// tells its number, and its other parts belong to the id.
type rolling struct {
	keeper
	number atomic.Int64
}

func (r *rolling) Credentials(context.Context, Caller, string) (Credentials, error) {
	n := r.number.Load()
	return Credentials{
		AccessKeyID: fmt.Sprintf("ASIA%d", n), SecretAccessKey: secret.Text(fmt.Sprintf("key%d", n)),
		SessionToken: secret.Text(fmt.Sprintf("token%d", n)), Expiration: time.Now().Add(time.Hour),
	}, nil
}

// roll opens another session every other millisecond until ctx ends.
func (r *rolling) roll(ctx context.Context) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.number.Add(1)
		case <-ctx.Done():
			return
		}
	}
}

// fetch makes one request on a connection of its client's and returns the body
// of a 200. A listener cuts who is silent for five seconds, as on a busy machine
// one of a thousand can be: then it asks again.
func fetch(c *http.Client, method, url, key, value string) ([]byte, error) {
	r, err := http.NewRequest(method, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	r.Header.Set(key, value)
	began := time.Now()
	answer, err := c.Do(r)
	if err != nil && time.Since(began) > 4*time.Second {
		return fetch(c, method, url, key, value)
	}
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", answer.Status, body)
	}
	return body, err
}

// TestClientsGetTheSessionInHandWhileItRolls has 1,000 clients ask each
// endpoint at once. Each must get, whole, a session that was in hand between
// its asking and the answer: never one that had been replaced before it asked.
func TestClientsGetTheSessionInHandWhileItRolls(t *testing.T) {
	const clients, requests = 1000, 5
	for _, tc := range []struct {
		name string
		run  func(address string, a *rolling) func(context.Context) error
		open func(c *http.Client, base string) (path, key, value string, err error)
	}{
		{
			"container",
			func(address string, a *rolling) func(context.Context) error {
				return Container{Address: address, Agent: a, Log: slog.New(slog.DiscardHandler)}.Run
			},
			func(*http.Client, string) (string, string, string, error) {
				return "/roles/billing", "Authorization", "tok", nil
			},
		},
		{
			"imds",
			func(address string, a *rolling) func(context.Context) error {
				return IMDS{Address: address, Role: "billing", Agent: a, Log: slog.New(slog.DiscardHandler)}.Run
			},
			func(c *http.Client, base string) (string, string, string, error) {
				token, err := fetch(c, http.MethodPut, base+"/latest/api/token", ttlHeader, "60")
				return credentialsPath + "lab-billing", tokenHeader, string(token), err
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			agent := &rolling{keeper: keeper{token: "tok"}}
			address := porttest.Free(t)
			start(t, "tcp", address, tc.run(address, agent))
			ctx, stop := context.WithCancel(t.Context())
			rolled := make(chan struct{})
			go func() { agent.roll(ctx); close(rolled) }()
			var group errgroup.Group
			for range clients {
				group.Go(func() error {
					transport := &http.Transport{}
					defer transport.CloseIdleConnections()
					c := &http.Client{Transport: transport}
					path, key, value, err := tc.open(c, "http://"+address)
					for range requests {
						if err == nil {
							err = agent.holds(func() ([]byte, error) { return fetch(c, http.MethodGet, "http://"+address+path, key, value) })
						}
					}
					return err
				})
			}
			if err := group.Wait(); err != nil {
				t.Error(err)
			}
			stop()
			<-rolled
			t.Logf("%d sessions", agent.number.Load())
		})
	}
}

// holds checks an answer against the sessions that were in hand meanwhile.
func (r *rolling) holds(ask func() ([]byte, error)) error {
	before := r.number.Load()
	body, err := ask()
	after := r.number.Load()
	if err != nil {
		return err
	}
	var c struct {
		AccessKeyID            string `json:"AccessKeyId"`
		SecretAccessKey, Token string
		Expiration             time.Time
	}
	if err := json.Unmarshal(body, &c); err != nil {
		return err
	}
	var n int64
	if _, err := fmt.Sscanf(c.AccessKeyID, "ASIA%d", &n); err != nil {
		return err
	}
	switch {
	case c.SecretAccessKey != fmt.Sprintf("key%d", n) || c.Token != fmt.Sprintf("token%d", n):
		return errors.New("the parts of an answer are of two sessions")
	case n < before || n > after:
		return fmt.Errorf("session %d was given, though %d to %d were in hand", n, before, after)
	case !time.Now().Before(c.Expiration):
		return fmt.Errorf("session %d had expired", n)
	}
	return nil
}

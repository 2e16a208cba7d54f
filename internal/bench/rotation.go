package main

import (
	"cmp"
	"context"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"
)

// writers is how many calls that change secrets are under way at once.
const writers = 8

// prepare puts a new version of every secret, which no label makes current,
// and returns their ids.
func (e *estate) prepare(ctx context.Context) ([]value, []string, error) {
	values, ids := make([]value, e.secrets()), make([]string, e.secrets())
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(writers)
	for i := range values {
		values[i] = newValue()
		group.Go(func() (err error) {
			ids[i], err = e.write(ctx, "PutSecretValue", map[string]any{
				"SecretId": secretID(i), "SecretString": values[i].String(), "VersionStages": []string{"AWSPENDING"},
			})
			return err
		})
	}
	return values, ids, group.Wait()
}

// rotate moves the label of every secret once, in random order and evenly in
// that time.
func (e *estate) rotate(ctx context.Context, values []value, ids []string, over time.Duration) ([]*move, error) {
	moves := make([]*move, e.secrets())
	group, running := errgroup.WithContext(ctx)
	group.SetLimit(writers)
	began := time.Now()
	for n, i := range rand.Perm(e.secrets()) { //nolint:gosec // luck, not a secret
		if err := pause(running, time.Until(began.Add(over*time.Duration(n)/time.Duration(len(moves))))); err != nil {
			break // what is returned says why
		}
		group.Go(func() error {
			moves[i] = e.sight.expect(e.folderOf(i), values[i])
			err := e.admin.call(running, "UpdateSecretVersionStage", map[string]string{
				"SecretId": secretID(i), "VersionStage": "AWSCURRENT", "MoveToVersionId": ids[i], "RemoveFromVersionId": e.versions[i],
			}, &struct{}{})
			e.values[i], e.versions[i] = values[i], ids[i]
			return err
		})
	}
	err := group.Wait()
	return moves, cmp.Or(err, context.Cause(ctx))
}

// turn measures one rotation of everything.
func (e *estate) turn(ctx context.Context, name string, over, limit time.Duration) (passage, error) {
	values, ids, err := e.prepare(ctx)
	if err != nil {
		return passage{}, err
	}
	return e.during(ctx, name, limit, func(ctx context.Context) ([]*move, error) {
		return e.rotate(ctx, values, ids, over)
	})
}

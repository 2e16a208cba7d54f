package agent

import (
	"testing"
	"time"

	"outrider/secret"
)

func versions(ids ...string) secret.Snapshot {
	all := map[string]secret.Version{}
	for i, id := range ids {
		all[string(rune('a'+i))] = secret.Version{ID: id}
	}
	return secret.NewSnapshot(time.Time{}, all)
}

func TestMotionWaitsForPairsAndForQuiet(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	type sight struct {
		after time.Duration
		now   secret.Snapshot
		want  bool
	}
	for _, tc := range []struct {
		name            string
		delivered       secret.Snapshot
		together        [][]string
		settle, longest time.Duration
		sights          []sight
	}{
		{"nothing has changed", versions("1", "1"), nil, time.Minute, time.Hour, []sight{{0, versions("1", "1"), false}}},
		{"the first snapshot has nothing to wait for", secret.Snapshot{}, [][]string{{"a", "b"}}, time.Minute, time.Hour, []sight{{0, versions("1", "1"), false}}},
		{"a single secret has nobody to wait for", versions("1"), nil, time.Minute, time.Hour, []sight{{0, versions("2"), false}}},
		{"without settle and pairs nothing waits", versions("1", "1"), nil, 0, time.Hour, []sight{{0, versions("2", "1"), false}}},
		{"half a pair waits for the other half", versions("1", "1", "1"), [][]string{{"a", "b"}}, 0, time.Hour, []sight{
			{0, versions("2", "1", "1"), true},
			{10 * time.Second, versions("2", "1", "1"), true},
			{20 * time.Second, versions("2", "2", "1"), false},
		}},
		{"half a pair waits no longer than longest_wait", versions("1", "1"), [][]string{{"a", "b"}}, 0, 30 * time.Second, []sight{
			{0, versions("2", "1"), true},
			{29 * time.Second, versions("2", "1"), true},
			{30 * time.Second, versions("2", "1"), false},
		}},
		{"a secret outside the pair waits for nobody", versions("1", "1", "1"), [][]string{{"a", "b"}}, 0, time.Hour, []sight{{0, versions("1", "1", "2"), false}}},
		{"settle begins anew with each change", versions("1", "1"), nil, 5 * time.Second, time.Hour, []sight{
			{0, versions("2", "1"), true},
			{4 * time.Second, versions("2", "2"), true},
			{8 * time.Second, versions("2", "2"), true},
			{9 * time.Second, versions("2", "2"), false},
		}},
		{"settle is bounded, too", versions("1", "1"), nil, 20 * time.Second, 30 * time.Second, []sight{
			{0, versions("2", "1"), true},
			{15 * time.Second, versions("3", "1"), true},
			{30 * time.Second, versions("4", "1"), false},
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var m motion
			for _, s := range tc.sights {
				if got := m.moving(tc.delivered, s.now, start.Add(s.after), tc.together, tc.settle, tc.longest); got != s.want {
					t.Errorf("after %v: moving = %v, want %v", s.after, got, s.want)
				}
			}
		})
	}
}

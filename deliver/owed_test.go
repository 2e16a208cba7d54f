package deliver

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fakeTarget answers what its script says, and then that it has delivered.
type fakeTarget struct {
	name   string
	script []func() (Outcome, error)
	told   []uint64
}

func (f *fakeTarget) String() string { return f.name }

func (f *fakeTarget) Notify(_ context.Context, n Notification) (Outcome, error) {
	f.told = append(f.told, n.Generation)
	if len(f.script) == 0 {
		return Delivered, nil
	}
	answer := f.script[0]
	f.script = f.script[1:]
	return answer()
}

func generation(n uint64) Notification { return Notification{App: "billing", Generation: n} }

func TestOwed(t *testing.T) {
	away := errors.New("away")
	fail := func() (Outcome, error) { return "", away }
	a, b, c := &fakeTarget{name: "a"}, &fakeTarget{name: "b"}, &fakeTarget{name: "c"}
	o := NewOwed([]Target{a, b, c})
	deliver := func(step string, wantErr error, left []string, want ...Result) {
		t.Helper()
		got, err := o.Deliver(t.Context())
		if !errors.Is(err, wantErr) {
			t.Errorf("%s: got error %v, want %v", step, err, wantErr)
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("%s: results (-got +want):\n%s", step, diff)
		}
		if diff := cmp.Diff(o.Names(), left); diff != "" {
			t.Errorf("%s: still owed (-got +want):\n%s", step, diff)
		}
	}
	deliver("nothing is owed at first", nil, nil)

	o.Add(generation(1))
	if diff := cmp.Diff(o.Names(), []string{"a", "b", "c"}); diff != "" {
		t.Errorf("a commit is owed to all (-got +want):\n%s", diff)
	}
	b.script = []func() (Outcome, error){fail, fail}
	deliver("a failure stops the list", away, []string{"b", "c"},
		Result{"a", generation(1), Delivered}, Result{"b", generation(1), Failed})
	deliver("it resumes where it stopped", away, []string{"b", "c"}, Result{"b", generation(1), Failed})

	o.Add(generation(2))
	c.script = []func() (Outcome, error){func() (Outcome, error) { return Absent, nil }}
	deliver("a newer commit starts at the first", nil, nil,
		Result{"a", generation(2), Delivered}, Result{"b", generation(2), Delivered}, Result{"c", generation(2), Absent})
	deliver("what is absent is not owed any more", nil, nil)

	o.Add(generation(3))
	b.script = []func() (Outcome, error){func() (Outcome, error) { o.Add(generation(4)); return Delivered, nil }}
	deliver("a commit in the middle takes over", nil, nil,
		Result{"a", generation(3), Delivered}, Result{"b", generation(3), Delivered},
		Result{"a", generation(4), Delivered}, Result{"b", generation(4), Delivered}, Result{"c", generation(4), Delivered})
	if diff := cmp.Diff(c.told, []uint64{2, 4}); diff != "" {
		t.Errorf("the last target is told of the newest only (-got +want):\n%s", diff)
	}
}

func TestOwedStopsWithItsContext(t *testing.T) {
	stopping := errors.New("stopping")
	ctx, cancel := context.WithCancelCause(t.Context())
	a := &fakeTarget{name: "a", script: []func() (Outcome, error){func() (Outcome, error) { cancel(stopping); return Delivered, nil }}}
	o := NewOwed([]Target{a, &fakeTarget{name: "b"}})
	o.Add(generation(1))
	results, err := o.Deliver(ctx)
	if !errors.Is(err, stopping) || len(results) != 1 {
		t.Errorf("got %v, error %v, want one result and %v", results, err, stopping)
	}
	if diff := cmp.Diff(o.Names(), []string{"b"}); diff != "" {
		t.Errorf("still owed (-got +want):\n%s", diff)
	}
}

func TestOwedWithoutTargets(t *testing.T) {
	o := NewOwed(nil)
	o.Add(generation(1))
	if results, err := o.Deliver(t.Context()); results != nil || err != nil || o.Names() != nil {
		t.Errorf("got %v, error %v, owed %v, want nothing", results, err, o.Names())
	}
}

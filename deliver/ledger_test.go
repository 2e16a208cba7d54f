package deliver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"outrider/secret"
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

func generation(n uint64) Notification { return Notification{App: "app", Generation: n} }

// place is an app with one file, and its state.
type place struct {
	t     *testing.T
	state string
	path  string
	*Ledger
}

func newPlace(t *testing.T, targets ...Target) *place {
	t.Helper()
	p := &place{t: t, state: t.TempDir(), path: filepath.Join(t.TempDir(), "f")}
	write(t, p.path, "version 0", 0o640)
	p.Ledger = reopen(t, p.state, targets...)
	return p
}

// restart opens the ledger again, as after a crash.
func (p *place) restart(targets ...Target) {
	p.t.Helper()
	_ = errors.Join(p.Close(), p.Ledger.state.Close())
	p.Ledger = reopen(p.t, p.state, targets...)
}

// file returns the file in a version.
func (p *place) file(version int) File {
	return File{Destination: p.path, Content: secret.Text(fmt.Sprint("version ", version))}
}

// commit commits a version, and returns the generation.
func (p *place) commit(version int, confirm bool) uint64 {
	p.t.Helper()
	staged, err := p.Stage([]File{p.file(version)})
	if err != nil {
		p.t.Fatal(err)
	}
	n, err := p.Commit(staged, Plan{Snapshot: snapshot(uint64(version)), Confirm: confirm})
	if err != nil {
		p.t.Fatal(err)
	}
	return n
}

// holds checks what is in the file.
func (p *place) holds(version int) {
	p.t.Helper()
	if got, err := os.ReadFile(p.path); string(got) != fmt.Sprint("version ", version) {
		p.t.Errorf("the file holds %q, error %v, want version %d", got, err, version)
	}
}

func TestOwed(t *testing.T) {
	away := errors.New("away")
	fail := func() (Outcome, error) { return "", away }
	a, b, c := &fakeTarget{name: "a"}, &fakeTarget{name: "b"}, &fakeTarget{name: "c"}
	all := []Target{a, b, c}
	p := newPlace(t, all...)
	deliver := func(step string, wantErr error, left []string, want ...Result) {
		t.Helper()
		got, err := p.Deliver(t.Context())
		if !errors.Is(err, wantErr) {
			t.Errorf("%s: got error %v, want %v", step, err, wantErr)
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("%s: results (-got +want):\n%s", step, diff)
		}
		if diff := cmp.Diff(p.Progress().Owed, left); diff != "" {
			t.Errorf("%s: still owed (-got +want):\n%s", step, diff)
		}
	}
	deliver("nothing is owed at first", nil, nil)
	p.commit(0, false)
	deliver("nor for what was there already", nil, nil)

	p.commit(1, false)
	if diff := cmp.Diff(p.Progress().Owed, []string{"a", "b", "c"}); diff != "" {
		t.Errorf("a commit is owed to all (-got +want):\n%s", diff)
	}
	b.script = []func() (Outcome, error){fail, fail, fail}
	deliver("a failure stops the list", away, []string{"b", "c"},
		Result{"a", generation(1), Delivered}, Result{"b", generation(1), Failed})
	deliver("it resumes where it stopped", away, []string{"b", "c"}, Result{"b", generation(1), Failed})
	p.restart(all...)
	deliver("after a restart, too", away, []string{"b", "c"}, Result{"b", generation(1), Failed})

	p.commit(2, false)
	c.script = []func() (Outcome, error){func() (Outcome, error) { return Absent, nil }}
	deliver("a newer commit starts at the first", nil, nil,
		Result{"a", generation(2), Delivered}, Result{"b", generation(2), Delivered}, Result{"c", generation(2), Absent})
	p.restart(all...)
	deliver("what is absent is not owed any more", nil, nil)

	p.commit(3, false)
	b.script = []func() (Outcome, error){func() (Outcome, error) { p.commit(4, false); return Delivered, nil }}
	deliver("a commit in the middle takes over", nil, nil,
		Result{"a", generation(3), Delivered}, Result{"b", generation(3), Delivered},
		Result{"a", generation(4), Delivered}, Result{"b", generation(4), Delivered}, Result{"c", generation(4), Delivered})
	if diff := cmp.Diff(c.told, []uint64{2, 4}); diff != "" {
		t.Errorf("the last target is told of the newest only (-got +want):\n%s", diff)
	}

	p.commit(5, false)
	a.script = []func() (Outcome, error){func() (Outcome, error) { p.Retarget([]Target{a, c}); return Delivered, nil }}
	deliver("targets that are exchanged in the middle take over", nil, nil,
		Result{"a", generation(5), Delivered}, Result{"c", generation(5), Delivered})
	p.Retarget(all)
	deliver("and get nothing that is delivered", nil, nil)

	p.commit(6, false)
	p.restart(b, a)
	deliver("after a restart, too", nil, nil, Result{"b", generation(6), Delivered}, Result{"a", generation(6), Delivered})
	p.commit(7, false)
	p.restart()
	deliver("nobody is left to be told", nil, nil)
}

func TestDeliverStopsWithItsContext(t *testing.T) {
	stopping := errors.New("stopping")
	ctx, cancel := context.WithCancelCause(t.Context())
	a := &fakeTarget{name: "a", script: []func() (Outcome, error){func() (Outcome, error) { cancel(stopping); return Delivered, nil }}}
	p := newPlace(t, a, &fakeTarget{name: "b"})
	p.commit(1, false)
	results, err := p.Deliver(ctx)
	if !errors.Is(err, stopping) || len(results) != 1 {
		t.Errorf("got %v, error %v, want one result and %v", results, err, stopping)
	}
	if diff := cmp.Diff(p.Progress().Owed, []string{"b"}); diff != "" {
		t.Errorf("still owed (-got +want):\n%s", diff)
	}
}

func TestProgressOutlivesARestart(t *testing.T) {
	p := newPlace(t)
	p.commit(1, false)
	want := p.Progress()
	if want.Generation != 1 || want.Versions["db"].ID != "1" || time.Since(want.Committed) > time.Hour {
		t.Errorf("got %+v", want)
	}
	p.restart()
	if diff := cmp.Diff(p.Progress(), want); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
	if got := p.commit(1, false); got != 0 {
		t.Errorf("the same again: got generation %d, want none", got)
	}
	if got := p.commit(2, false); got != 2 {
		t.Errorf("the next one: got generation %d, want 2", got)
	}
}

// A rotation that changes only version ids is no generation.
func TestNewVersionsOfTheSameContent(t *testing.T) {
	p := newPlace(t)
	p.commit(1, false)
	staged, err := p.Stage([]File{p.file(1)})
	if err != nil {
		t.Fatal(err)
	}
	n, err := p.Commit(staged, Plan{Snapshot: snapshot(2)})
	if n != 0 || err != nil || p.Progress().Generation != 1 {
		t.Errorf("got generation %d, error %v, progress %+v", n, err, p.Progress())
	}
}

func TestStands(t *testing.T) {
	p := newPlace(t)
	files := []File{p.file(0)}
	check := func(step string, want bool) {
		t.Helper()
		if got := p.Stands(files); got != want {
			t.Errorf("%s: got %t, want %t", step, got, want)
		}
	}
	check("files that are of no generation", false)
	p.commit(1, false)
	check("files of the last generation", true)
	p.restart()
	check("after a restart", true)
	write(t, p.path, "version 2", 0o640)
	check("a file that somebody has changed", false)
	files = append(files, File{Destination: p.path + ".new"})
	write(t, p.path, "version 1", 0o640)
	check("a file that is new in the configuration", false)
}

func TestSeen(t *testing.T) {
	p := newPlace(t)
	if got := p.Seen(); !got.IsZero() {
		t.Errorf("at first: got %v, want the zero time", got)
	}
	for _, at := range []time.Time{time.Unix(1_700_000_000, 0), time.Unix(1_800_000_000, 0)} {
		if err := p.Saw(at); err != nil {
			t.Fatal(err)
		}
		p.restart()
		if got := p.Seen(); !got.Equal(at) {
			t.Errorf("got %v, want %v", got, at)
		}
	}
}

func TestOpenStateRefuses(t *testing.T) {
	open, closed := t.TempDir(), t.TempDir()
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	group := t.TempDir()
	if err := os.Chmod(group, 0o770); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(closed, "journal.key"), "short", 0o600)
	for _, tt := range []struct{ name, dir, want string }{
		{"a folder that is not there", filepath.Join(closed, "no"), "no such file or directory: create it"},
		{"a folder that everybody may write", open, "everybody may replace what stands in it: chmod o-w"},
		{"a folder that a group may write", group, "others than root and outrider may change what stands in it: chown it"},
		{"a key that is damaged", closed, "journal.key: it is damaged: remove it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := OpenState(tt.dir); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestStateIsClosedToOthers(t *testing.T) {
	p := newPlace(t)
	p.commit(1, false)
	if err := p.Saw(time.Now()); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(p.state)
	if err != nil || len(entries) != 3 {
		t.Fatalf("got %v, error %v, want three files", entries, err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: got mode %v, error %v, want 0600", e.Name(), info.Mode(), err)
		}
		if text, err := os.ReadFile(filepath.Join(p.state, e.Name())); err != nil || strings.Contains(string(text), "version 1") {
			t.Errorf("%s shows a value", e.Name())
		}
	}
}

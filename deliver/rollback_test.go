package deliver

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"outrider/secret"
)

// inode returns which file stands at a path.
func (p *place) inode() uint64 { return sys(p.t, p.path).Ino }

func TestConfirmed(t *testing.T) {
	target := &fakeTarget{name: "a"}
	p := newPlace(t, target)
	p.commit(1, true)
	dir := filepath.Dir(p.path)
	want := []string{".outrider-app drwx------ ", ".outrider-app/previous drwx------ ", ".outrider-app/previous/f -rw-r----- version 0", "f -rw-r----- version 1"}
	if diff := cmp.Diff(tree(t, dir), want); diff != "" || !p.Progress().Awaits {
		t.Errorf("before, awaits %t (-got +want):\n%s", p.Progress().Awaits, diff)
	}
	p.Confirmed(7)
	p.restart(target)
	if !p.Progress().Awaits {
		t.Error("another generation was confirmed, or the restart took this one for confirmed")
	}
	p.Confirmed(1)
	if diff := cmp.Diff(tree(t, dir), want[3:]); diff != "" || p.Progress().Awaits {
		t.Errorf("after, awaits %t (-got +want):\n%s", p.Progress().Awaits, diff)
	}
	p.restart(target)
	if n, err := p.RollBack(1, "too late"); n != 0 || err != nil || p.Progress().Awaits {
		t.Errorf("got generation %d, error %v", n, err)
	}
	p.holds(1)
}

// A generation that nobody confirms, as before READY, is nothing to go back
// from.
func TestGenerationThatIsNotInDoubtTakesThePreviousFilesAway(t *testing.T) {
	p := newPlace(t)
	p.commit(1, true)
	p.commit(2, false)
	if diff := cmp.Diff(tree(t, filepath.Dir(p.path)), []string{"f -rw-r----- version 2"}); diff != "" || p.Progress().Awaits {
		t.Errorf("awaits %t (-got +want):\n%s", p.Progress().Awaits, diff)
	}
}

func TestRollBack(t *testing.T) {
	target := &fakeTarget{name: "a"}
	p := newPlace(t, target)
	p.commit(1, true)
	p.Confirmed(1)
	before := p.inode()
	p.commit(2, true)
	if _, err := p.Deliver(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, versions := p.Previous(); n != 1 || versions["db"].ID != "1" {
		t.Errorf("previous: got generation %d of %v, want 1 of version 1", n, versions)
	}
	n, err := p.RollBack(2, "exit status 7")
	if n != 3 || err != nil {
		t.Fatalf("got generation %d, error %v, want 3", n, err)
	}
	p.holds(1)
	if p.inode() != before {
		t.Error("the previous file has not come back, but a copy")
	}
	got := p.Progress()
	want := Progress{Generation: 3, Committed: got.Committed, Versions: Versions{"db": {Ref: "secret prod/db", ID: "1", ARN: "arn:db"}},
		Owed: []string{"a"}, SetAside: "exit status 7"}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("progress (-got +want):\n%s", diff)
	}
	if diff := cmp.Diff(tree(t, filepath.Dir(p.path)), []string{"f -rw-r----- version 1"}); diff != "" {
		t.Errorf("folder (-got +want):\n%s", diff)
	}
	if n, err := p.RollBack(2, "again"); n != 0 || err != nil {
		t.Errorf("a second time: got generation %d, error %v", n, err)
	}
}

func TestSetAside(t *testing.T) {
	p := newPlace(t)
	p.commit(1, true)
	p.Confirmed(1)
	p.commit(2, true)
	if _, err := p.RollBack(2, "it does not run"); err != nil {
		t.Fatal(err)
	}
	mended := File{Destination: p.path, Content: secret.Text("version 2, mended")}
	check := func(step string, version int, file File, want bool) {
		t.Helper()
		if got := p.IsSetAside(snapshot(uint64(version)), []File{file}); got != want {
			t.Errorf("%s: got %t, want %t", step, got, want)
		}
	}
	check("what did not run", 2, p.file(2), true)
	check("the previous version", 1, p.file(1), false)
	check("a newer version", 3, p.file(3), false)
	check("a mended template", 2, mended, false)
	p.restart()
	check("after a restart", 2, p.file(2), true)
	if !p.Retry() || p.Retry() {
		t.Error("there was nothing to try again, or there was twice")
	}
	check("when it is to be tried again", 2, p.file(2), false)
	p.restart()
	check("after a restart, too", 2, p.file(2), false)

	p.commit(2, true)
	if _, err := p.RollBack(4, "nor now"); err != nil {
		t.Fatal(err)
	}
	check("when it has failed again", 2, p.file(2), true)
	p.commit(3, true)
	check("when a newer one was committed", 2, p.file(2), false)
}

// Two generations that are not confirmed are rolled back together.
func TestRollBackOfTwo(t *testing.T) {
	p := newPlace(t)
	dir := filepath.Dir(p.path)
	other := File{Destination: filepath.Join(dir, "g"), Content: secret.Text("g1")}
	write(t, other.Destination, "g0", 0o600)
	files := func(version int) []File { return []File{p.file(version), other} }
	commit := func(files []File) {
		t.Helper()
		staged, err := p.Stage(files)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Commit(staged, Plan{Snapshot: snapshot(1), Confirm: true}); err != nil {
			t.Fatal(err)
		}
	}
	other.Content = secret.Text("g0")
	commit(files(1))
	other.Content = secret.Text("g2")
	commit(files(2))
	if n, err := p.RollBack(2, "neither runs"); n != 3 || err != nil {
		t.Fatalf("got generation %d, error %v", n, err)
	}
	if diff := cmp.Diff(tree(t, dir), []string{"f -rw-r----- version 0", "g -rw------- g0"}); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
}

func TestNothingToGoBackTo(t *testing.T) {
	gone := func(p *place) {
		if err := os.Remove(filepath.Join(filepath.Dir(p.path), ".outrider-app", "previous", "f")); err != nil {
			p.t.Fatal(err)
		}
	}
	tests := []struct {
		name  string
		files func(p *place) []File
		spoil func(p *place)
		want  string
	}{
		{"a file that was not there before", func(p *place) []File {
			return []File{p.file(1), {Destination: p.path + ".new", Content: secret.Text("new")}}
		}, func(*place) {}, "f.new: was not there before"},
		{"a previous file that somebody has removed", func(p *place) []File { return []File{p.file(1)} }, gone, "f: its previous file is gone"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPlace(t)
			if err := deliver(p.Ledger, Plan{Snapshot: snapshot(1), Confirm: true}, tt.files(p)...); err != nil {
				t.Fatal(err)
			}
			tt.spoil(p)
			n, err := p.RollBack(1, "exit status 7")
			if n != 0 || err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "not rolled back, the new files stay: ") {
				t.Errorf("got generation %d, error %v, want one with %q", n, err, tt.want)
			}
			p.holds(1)
			if got := p.Progress(); got.Awaits || got.SetAside != "" || got.Generation != 1 {
				t.Errorf("got progress %+v", got)
			}
			entries, err := History(p.state, "app")
			if err != nil || len(entries) != 1 || entries[0].Ending != Unconfirmed || !strings.HasPrefix(entries[0].Reason, "exit status 7: ") {
				t.Errorf("history: got %+v, error %v", entries, err)
			}
		})
	}
}

func TestKeep(t *testing.T) {
	p := newPlace(t)
	p.commit(1, true)
	p.Keep(1, "the previous password is refused")
	p.holds(1)
	if diff := cmp.Diff(tree(t, filepath.Dir(p.path)), []string{"f -rw-r----- version 1"}); diff != "" || p.Progress().Awaits {
		t.Errorf("awaits %t (-got +want):\n%s", p.Progress().Awaits, diff)
	}
	entries, err := History(p.state, "app")
	if err != nil || len(entries) != 1 || entries[0].Ending != Unconfirmed || entries[0].Reason != "the previous password is refused" {
		t.Errorf("history: got %+v, error %v", entries, err)
	}
}

// A newer generation that is not to be confirmed ends the wait, and the next
// look removes what was kept for it.
func TestSupersededBeforeItWasConfirmed(t *testing.T) {
	p := newPlace(t)
	p.commit(1, true)
	p.commit(2, false)
	if n, err := p.RollBack(1, "too late"); n != 0 || err != nil {
		t.Errorf("got generation %d, error %v", n, err)
	}
	p.commit(2, false)
	p.holds(2)
	if diff := cmp.Diff(tree(t, filepath.Dir(p.path)), []string{"f -rw-r----- version 2"}); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
}

// Where no hard link can be made, a copy is kept.
func TestPreviousFileOfAnotherUser(t *testing.T) {
	needRoot(t)
	p := newPlace(t)
	if err := os.Chown(p.path, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	staged, err := p.Stage([]File{p.file(1)})
	if err != nil {
		t.Fatal(err)
	}
	c := staged.changes[0]
	if err := errors.Join(c.room.openPrevious(), c.copyPrevious()); err != nil {
		t.Fatal(err)
	}
	st := sys(t, filepath.Join(filepath.Dir(p.path), ".outrider-app", "previous", "f"))
	if st.Uid != nobody || st.Gid != nobody || st.Mode&0o7777 != 0o640 {
		t.Errorf("got %d %d %04o, want those of the file", st.Uid, st.Gid, st.Mode&0o7777)
	}
	if err := staged.Discard(); err != nil {
		t.Fatal(err)
	}
}

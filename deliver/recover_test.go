package deliver

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// trio is the story of files in two folders, a commit of which is
// interrupted.
type trio struct {
	*testing.T
	story
	root   string
	target *recorder
	l      *Ledger
}

// interrupted commits version 1, and version 2 until the files are as wanted.
func interrupted(t *testing.T, s story, when func(tr *trio) bool) *trio {
	t.Helper()
	tr := &trio{T: t, story: s, root: t.TempDir(), target: &recorder{}}
	if err := s.begin(tr.root); err != nil {
		t.Fatal(err)
	}
	l := reopen(t, filepath.Join(tr.root, "state"), tr.target)
	if _, err := s.commit(l, tr.root, 1, false); err != nil {
		t.Fatal(err)
	}
	l.state.step = func() {
		if when(tr) {
			runtime.Goexit()
		}
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = s.commit(l, tr.root, 2, false)
	}()
	<-ended
	tr.l = reopen(t, filepath.Join(tr.root, "state"), tr.target)
	return tr
}

// moved reports whether the first n files are new; for none, whether they are
// about to be.
func moved(n int) func(tr *trio) bool {
	return func(tr *trio) bool {
		for i, path := range tr.paths(tr.root) {
			text, err := os.ReadFile(path)
			if err != nil || (string(text) == tr.text(2)) != (i < n) {
				return false
			}
		}
		journal, _ := os.ReadFile(filepath.Join(tr.root, "state", "app.journal"))
		return n > 0 || strings.Count(string(journal), string(intended)) == 2
	}
}

// unstage removes what is staged of a file.
func (tr *trio) unstage(n int) {
	tr.Helper()
	path := tr.paths(tr.root)[n]
	if err := os.Remove(filepath.Join(filepath.Dir(path), ".outrider-app", "1", filepath.Base(path))); err != nil {
		tr.Fatal(err)
	}
}

func TestRecoverWithoutWhatWasStaged(t *testing.T) {
	tr := interrupted(t, stories()[0], moved(1))
	tr.unstage(2)
	for range 2 { // it stays so over a restart
		n, err := tr.l.Recover()
		if n != 0 || err == nil || !strings.Contains(err.Error(), "its files are of several generations: interrupted: file "+tr.paths(tr.root)[2]+": what was staged is gone") {
			t.Errorf("got generation %d, error %v", n, err)
		}
		if results, err := tr.l.Deliver(t.Context()); results != nil || err != nil || tr.l.Progress().Torn == "" {
			t.Errorf("told %v, error %v, progress %+v", results, err, tr.l.Progress())
		}
		tr.l = reopen(t, filepath.Join(tr.root, "state"), tr.target)
	}
	// The next look finds the version of the second and third file, and makes
	// it news even if nothing were left to change.
	n, err := tr.commit(tr.l, tr.root, 2, false)
	if n != 2 || err != nil {
		t.Fatalf("got generation %d, error %v", n, err)
	}
	if _, err := tr.l.Deliver(t.Context()); err != nil {
		t.Fatal(err)
	}
	if text, err := tr.read(tr.root); text != tr.text(2) || !cmp.Equal(tr.target.told, []uint64{2}) {
		t.Errorf("got %q, error %v, told %d", text, err, tr.target.told)
	}
}

func TestTornFilesAreNewsEvenIfNothingChanges(t *testing.T) {
	tr := interrupted(t, stories()[0], moved(1))
	tr.unstage(2)
	if _, err := tr.l.Recover(); err == nil {
		t.Fatal("nothing is wrong")
	}
	for _, path := range tr.paths(tr.root) { // somebody helps
		write(t, path, tr.text(2), 0o640)
	}
	staged, err := tr.l.Stage(tr.files(tr.root, 2))
	if err != nil {
		t.Fatal(err)
	}
	if !staged.News() || staged.Changed() != nil {
		t.Errorf("news %t, changed %q, want news without a change", staged.News(), staged.Changed())
	}
	if n, err := tr.l.Commit(staged, Plan{Snapshot: snapshot(2)}); n != 2 || err != nil {
		t.Fatalf("got generation %d, error %v", n, err)
	}
	if diff := cmp.Diff(tr.l.Progress().Owed, []string{"printer"}); diff != "" || tr.l.Progress().Torn != "" {
		t.Errorf("torn %q, owed (-got +want):\n%s", tr.l.Progress().Torn, diff)
	}
}

// A commit of which nothing can be seen did not take place, and what was owed
// before is still.
func TestRecoverToNothing(t *testing.T) {
	tr := interrupted(t, stories()[0], moved(0))
	tr.unstage(1)
	if n, err := tr.l.Recover(); n != 0 || err != nil {
		t.Errorf("got generation %d, error %v", n, err)
	}
	if text, err := tr.read(tr.root); text != tr.text(1) || err != nil {
		t.Errorf("got %q, error %v, want version 1", text, err)
	}
	if diff := cmp.Diff(tr.l.Progress().Owed, []string{"printer"}); diff != "" || tr.l.Progress().Generation != 1 {
		t.Errorf("generation %d, owed (-got +want):\n%s", tr.l.Progress().Generation, diff)
	}
	entries, err := History(filepath.Join(tr.root, "state"), "app")
	if err != nil || len(entries) != 2 || entries[1].Ending != NotCommitted || entries[0].Ending != Current {
		t.Errorf("history: got %+v, error %v", entries, err)
	}
}

// Whoever does not call Recover, or has changed the configuration meanwhile,
// gets it all the same.
func TestStageRecoversFirst(t *testing.T) {
	tr := interrupted(t, stories()[0], moved(2))
	staged, err := tr.l.Stage(tr.files(tr.root, 2))
	if err != nil {
		t.Fatal(err)
	}
	if staged.News() || tr.l.Progress().Generation != 2 {
		t.Errorf("news %t, progress %+v, want generation 2 and no news", staged.News(), tr.l.Progress())
	}
	if err := staged.Discard(); err != nil {
		t.Fatal(err)
	}
}

// A commit that cannot go on says so, and what it has moved is torn.
func TestCommitThatEndsHalfWay(t *testing.T) {
	s, root := stories()[0], t.TempDir()
	if err := s.begin(root); err != nil {
		t.Fatal(err)
	}
	target := &recorder{}
	l := reopen(t, filepath.Join(root, "state"), target)
	staged, err := l.Stage(s.files(root, 1))
	if err != nil {
		t.Fatal(err)
	}
	in := s.paths(root)[2]
	if err := unix.Mount(in, in, "", unix.MS_BIND, ""); err != nil {
		t.Skipf("left out: no leave to mount: %v", err)
	}
	n, err := l.Commit(staged, Plan{Snapshot: snapshot(1)})
	_ = unix.Unmount(in, unix.MNT_DETACH)
	if n != 0 || err == nil || !strings.Contains(err.Error(), "file "+in+": rename the staged file over it: device or resource busy") {
		t.Errorf("got generation %d, error %v", n, err)
	}
	if l.Progress().Torn == "" {
		t.Error("files of two generations are not torn")
	}
	if results, _ := l.Deliver(t.Context()); results != nil {
		t.Errorf("told %v", results)
	}
	if n, err := s.commit(l, root, 1, false); n != 1 || err != nil {
		t.Errorf("when it can: got generation %d, error %v", n, err)
	}
	if _, err := l.Deliver(t.Context()); err != nil || !cmp.Equal(target.told, []uint64{1}) {
		t.Errorf("told %d, error %v", target.told, err)
	}
}

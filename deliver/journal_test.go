package deliver

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// lifeOf returns the journal of an app that has seen everything.
func lifeOf(t testing.TB) []byte {
	t.Helper()
	root := t.TempDir()
	s := stories()[0]
	if err := errors.Join(s.begin(root), s.tell(root, &bytes.Buffer{})); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "state", "app.journal"))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestJournalThatIsCutOff(t *testing.T) {
	text := lifeOf(t)
	all, end, damaged := decodeJournal(text)
	if end != int64(len(text)) || damaged || len(all) != bytes.Count(text, []byte("\n")) {
		t.Fatalf("got %d records up to %d of %d, damaged %t", len(all), end, len(text), damaged)
	}
	for cut := range text {
		records, end, damaged := decodeJournal(text[:cut])
		if want := bytes.LastIndexByte(text[:cut], '\n') + 1; end != int64(want) || damaged {
			t.Fatalf("cut at %d: got an end at %d, damaged %t, want %d", cut, end, damaged, want)
		}
		whole := bytes.Count(text[:cut], []byte("\n"))
		if diff := cmp.Diff(records, all[:whole:whole]); diff != "" && whole > 0 || len(records) != whole {
			t.Fatalf("cut at %d: %d records (-got +want):\n%s", cut, len(records), diff)
		}
	}
}

func TestDamagedJournal(t *testing.T) {
	lines := bytes.SplitAfter(lifeOf(t), []byte("\n"))
	intents := 0
	for i, line := range lines {
		r, err := decodeRecord(bytes.TrimSuffix(line, []byte("\n")))
		if err != nil || r.Kind != intended {
			continue
		}
		intents++
		if i < 2 {
			continue
		}
		lines := append([][]byte{}, lines...)
		lines[i-1] = bytes.Repeat([]byte{0}, len(lines[i-1]))
		if records, _, damaged := decodeJournal(bytes.Join(lines[:i+1], nil)); damaged || len(records) != i-1 {
			t.Errorf("an intent that was not durable: got %d records, damaged %t, want %d and not", len(records), damaged, i-1)
		}
		if records, _, damaged := decodeJournal(bytes.Join(lines[:i+2], nil)); !damaged || len(records) != i-1 {
			t.Errorf("an intent that was durable: got %d records, damaged %t, want %d and damaged", len(records), damaged, i-1)
		}
	}
	if intents < 3 {
		t.Errorf("only %d intents", intents)
	}
}

// What is damaged makes the next look news, and is then forgotten.
func TestDamageIsMended(t *testing.T) {
	target := &fakeTarget{name: "a"}
	p := newPlace(t, target)
	p.commit(1, false)
	p.commit(2, false)
	path := filepath.Join(p.state, "app.journal")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text[20] ^= 1
	write(t, path, string(text), 0o600)
	p.restart(target)
	if _, err := p.Recover(); err == nil || !strings.Contains(err.Error(), "its journal is damaged") {
		t.Errorf("got error %v", err)
	}
	if results, err := p.Deliver(t.Context()); results != nil || err != nil {
		t.Errorf("told %v, error %v", results, err)
	}
	if n := p.commit(2, false); n != 1 {
		t.Errorf("got generation %d, want 1, as the journal knows of none", n)
	}
	if _, err := p.Deliver(t.Context()); err != nil || len(target.told) != 1 {
		t.Errorf("told %d, error %v, want once", target.told, err)
	}
	p.restart(target)
	if _, err := p.Recover(); err != nil {
		t.Error(err)
	}
}

func FuzzJournal(f *testing.F) {
	for _, r := range []record{ // short ones, for the fuzzer's sake
		{Kind: intended, Generation: 2, Intent: &intent{Owed: []string{"a"}, Confirm: true, Undoes: 1,
			Versions: Versions{"db": {ID: "1"}}, Files: []fileRecord{{Destination: "/f", Staged: "/g", Digest: "x"}}}},
		{Kind: committed, Generation: 2}, {Kind: failed, Generation: 2, Torn: true, Reason: "x"},
		{Kind: told, Generation: 2, Target: -7, Outcome: Absent}, {Kind: owed, Generation: 2, Owed: []string{"b"}},
		{Kind: confirmed, Generation: 2}, {Kind: kept}, {Kind: retried}, {Kind: intended},
		{Kind: checkpoint, Standing: &standing{Pending: &record{}, Told: 7, Awaits: true, SetAside: &setAside{}}},
	} {
		line, err := r.encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(line)
	}
	f.Add([]byte("00000000 \nffffffff {}\n\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		records, end, _ := decodeJournal(text)
		if end > int64(len(text)) || len(records) > bytes.Count(text, []byte("\n")) {
			t.Fatalf("%d records up to %d of %d bytes", len(records), end, len(text))
		}
		var again []byte
		for _, r := range records {
			line, err := r.encode()
			if err != nil {
				t.Fatalf("a record that was read is not written: %v", err)
			}
			again = append(again, line...)
		}
		if reread, _, _ := decodeJournal(again); len(reread) != len(records) {
			t.Fatalf("%d records are %d when they are written again", len(records), len(reread))
		}
		survive(records)
		var r record // what no checksum would let pass
		for line := range bytes.Lines(text) {
			if _, rest, found := bytes.Cut(line, []byte(" ")); found && json.Unmarshal(rest, &r) == nil {
				records = append(records, r)
			}
		}
		survive(records)
	})
}

// survive applies records in an order that nobody has written them in.
func survive(records []record) {
	var s standing
	for _, r := range records {
		s.apply(r)
	}
	for _, r := range records {
		s.apply(r)
	}
	history(records)
}

// An app with a long life has a short journal, and knows all that counts.
func TestCompaction(t *testing.T) {
	target := &fakeTarget{name: "a"}
	p := newPlace(t, target)
	longest, versions := int64(0), 2000
	for version := 1; version <= versions; version++ {
		p.commit(version, version%2 == 0)
		if _, err := p.Deliver(t.Context()); err != nil {
			t.Fatal(err)
		}
		longest = max(longest, p.journal.size)
		if version%500 == 0 {
			p.restart(target)
		}
	}
	if longest > 270<<10 || longest < 256<<10 {
		t.Errorf("the journal grew to %d bytes, want up to some 256 KiB", longest)
	}
	want := p.Progress()
	p.restart(target)
	if diff := cmp.Diff(p.Progress(), want); diff != "" || want.Generation != uint64(versions) || !want.Awaits {
		t.Errorf("progress %+v (-got +want):\n%s", want, diff)
	}
	entries, err := History(p.state, "app")
	if err != nil || len(entries) != 20 || entries[19].Number != want.Generation || entries[19].Ending != Awaiting || entries[0].Number != want.Generation-19 {
		t.Errorf("got a history of %d, error %v:\n%+v", len(entries), err, entries)
	}
	if n, err := p.RollBack(want.Generation, "it does not run"); n != want.Generation+1 || err != nil {
		t.Errorf("rolled back as generation %d, error %v", n, err)
	}
	p.holds(versions - 1)
}

// A full disk under the state leaves the files as they are, and the app goes
// on when there is space.
func TestStateWithoutSpace(t *testing.T) {
	p := newPlace(t)
	state := t.TempDir()
	mount(t, "tmpfs", state, "tmpfs", 0, "size=64k,mode=700")
	p.Ledger = reopen(t, state)
	p.commit(1, false)
	filler := filepath.Join(state, "filler")
	err := os.WriteFile(filler, bytes.Repeat([]byte{1}, 1<<20), 0o600)
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	// What is left of the last page is enough for some.
	for version := 2; ; version++ {
		staged, err := p.Stage([]File{p.file(version)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err = p.Commit(staged, Plan{Snapshot: snapshot(uint64(version))}); err == nil {
			continue
		}
		if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "write journal "+filepath.Join(state, "app.journal")) {
			t.Errorf("got error %v", err)
		}
		p.holds(version - 1)
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		want := uint64(version)
		if got := p.commit(version, false); got != want {
			t.Errorf("then: got generation %d, want %d", got, want)
		}
		p.Ledger = reopen(t, state)
		if got := p.Progress().Generation; got != want {
			t.Errorf("after a restart: got generation %d, want %d", got, want)
		}
		return
	}
}

func TestStateThatIsReadOnly(t *testing.T) {
	p := newPlace(t)
	state := t.TempDir()
	mount(t, "tmpfs", state, "tmpfs", 0, "size=64k,mode=700")
	p.Ledger = reopen(t, state)
	p.commit(1, false)
	_ = errors.Join(p.Close(), p.Ledger.state.Close())
	if err := unix.Mount("tmpfs", state, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	_, err := openLedger(state)
	if !errors.Is(err, unix.EROFS) || !strings.Contains(err.Error(), "list "+state+" in ReadWritePaths=") {
		t.Errorf("got error %v", err)
	}
	if entries, err := History(state, "app"); err != nil || len(entries) != 1 {
		t.Errorf("history: got %v, error %v", entries, err)
	}
}

// What a disk does not take for a while, be it not even a cut, costs no restart
// when that is over; neither does a journal that could not be opened again.
func TestJournalThatTakesNothingForAWhile(t *testing.T) {
	p := newPlace(t)
	p.commit(1, false)
	refuses := func(what string, version int) {
		t.Helper()
		staged, err := p.Stage([]File{p.file(version)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Commit(staged, Plan{Snapshot: snapshot(uint64(version))}); err == nil {
			t.Errorf("%s: it is written", what)
		}
		p.holds(version - 1)
	}
	readOnly, err := os.Open(p.journal.file.Name())
	if err != nil {
		t.Fatal(err)
	}
	writable, folder := p.journal.file, p.Ledger.state.dir
	p.journal.file = readOnly // which is open to be read alone
	refuses("a journal that takes nothing", 2)
	p.journal.file = writable
	p.commit(2, false)
	p.Ledger.state.dir = readOnly // which is no folder
	p.Ledger.reopen()
	refuses("a journal that is gone", 3)
	p.Ledger.state.dir = folder
	p.commit(3, false)
	p.holds(3)
	want := p.Progress()
	p.restart()
	if diff := cmp.Diff(p.Progress(), want); diff != "" || want.Generation != 3 {
		t.Errorf("after a restart, progress %+v (-got +want):\n%s", want, diff)
	}
	if err := readOnly.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestHistoryOfNothing(t *testing.T) {
	if entries, err := History(t.TempDir(), "app"); entries != nil || err != nil {
		t.Errorf("got %v, error %v", entries, err)
	}
	if _, err := History(t.TempDir(), "../app"); err == nil {
		t.Error("a path is taken for an app's name")
	}
}

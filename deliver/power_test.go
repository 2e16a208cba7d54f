package deliver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// node is a file, folder or link as the disk has it.
type node struct {
	entries map[string]int // of a folder, by name
	target  string         // of a link
	content []byte
	mode    fs.FileMode
}

// disk is a file system. The first node is its root.
type disk []node

// scan reads a folder and all below it.
func scan(t *testing.T, dir string) disk {
	t.Helper()
	var d disk
	ids := map[string]int{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		n := node{mode: info.Mode()}
		switch {
		case entry.IsDir():
			n.entries = map[string]int{}
		case entry.Type() == fs.ModeSymlink:
			n.target, err = os.Readlink(path)
		default:
			n.content, err = os.ReadFile(path)
		}
		ids[path] = len(d)
		if path != dir {
			d[ids[filepath.Dir(path)]].entries[filepath.Base(path)] = len(d)
		}
		d = append(d, n)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// clone returns a copy that shares nothing that changes.
func (d disk) clone() disk {
	e := slices.Clone(d)
	for i := range e {
		e[i].entries = maps.Clone(e[i].entries)
	}
	return e
}

// find returns what stands at a path.
func (d disk) find(path string) (int, bool) {
	at := 0
	for name := range strings.SplitSeq(path, "/") {
		next, ok := d[at].entries[name]
		if !ok {
			return 0, false
		}
		at = next
	}
	return at, true
}

// folder returns the folder that a path is in.
func (d disk) folder(path string) int {
	if filepath.Dir(path) == "." {
		return 0
	}
	at, ok := d.find(filepath.Dir(path))
	if !ok {
		panic("no folder of " + path)
	}
	return at
}

// write makes the disk a real folder.
func (d disk) write(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	made := map[int]string{} // a file may have several names
	var put func(path string, id int) error
	put = func(path string, id int) error {
		n := d[id]
		switch {
		case n.entries != nil:
			if path != dir {
				if err := os.Mkdir(path, 0o700); err != nil {
					return err
				}
			}
			for name, id := range n.entries {
				if err := put(filepath.Join(path, name), id); err != nil {
					return err
				}
			}
		case n.target != "":
			return os.Symlink(n.target, path)
		case made[id] != "":
			return os.Link(made[id], path)
		default:
			made[id] = path
			if err := os.WriteFile(path, n.content, 0o600); err != nil {
				return err
			}
		}
		return os.Chmod(path, n.mode.Perm())
	}
	return errors.Join(err, put(dir, 0))
}

// effect is what one op does to a disk, and when it is certain.
type effect struct {
	op
	node     int // that is written, or gets a name
	dir, to  int // folders
	lasting  int // the sync of this node makes it durable; -1: a mark or a sync
	variants int // ways in which it may be on disk, besides not at all
}

// effects turns the ops of a trace into what they do to the disk, to which it
// adds what they create: without content, and nowhere to be found.
func effects(before disk, ops []op) (disk, []effect) {
	live := before.clone()
	var all []effect
	for _, o := range ops {
		e := effect{op: o, lasting: -1, variants: 1}
		switch o.kind {
		case "mark":
		case "create", "mkdir", "symlink":
			if _, exists := live.find(o.path); exists {
				continue // it was only opened
			}
			n := node{mode: fs.FileMode(o.mode), target: o.to}
			if o.kind == "mkdir" {
				n.entries = map[string]int{}
			}
			e.node, e.dir = len(live), live.folder(o.path)
			e.lasting = e.dir
			live, before = append(live, n), append(before, disk{n}.clone()...)
		case "link", "rename", "exchange":
			e.node, _ = live.find(o.path)
			e.dir, e.to = live.folder(o.path), live.folder(o.to)
			e.lasting = e.to
		case "remove":
			e.node, _ = live.find(o.path)
			e.dir = live.folder(o.path)
			e.lasting = e.dir
		case "write", "truncate", "chmod", "sync":
			if o.path != "." && o.path != "" {
				var exists bool
				if e.node, exists = live.find(o.path); !exists {
					continue // its last name is gone
				}
			}
			if o.kind != "sync" {
				e.lasting = e.node
			}
			if o.kind == "write" {
				e.variants = 3
			}
		default:
			continue // owners do not matter here
		}
		e.apply(live, 1)
		all = append(all, e)
	}
	return before, all
}

// apply does the effect, in one of its variants.
func (e effect) apply(d disk, variant int) {
	name, toName := filepath.Base(e.path), filepath.Base(e.op.to)
	switch e.kind {
	case "create", "mkdir", "symlink":
		d[e.dir].entries[name] = e.node
	case "link":
		d[e.to].entries[toName] = e.node
	case "rename":
		if d[e.dir].entries[name] == e.node {
			delete(d[e.dir].entries, name)
		} else if d[e.node].entries != nil {
			return // what would have brought the folder there is dropped, and no folder is in two places
		}
		d[e.to].entries[toName] = e.node
	case "exchange":
		d[e.dir].entries[name], d[e.to].entries[toName] = d[e.to].entries[toName], d[e.dir].entries[name]
	case "remove":
		if d[e.dir].entries[name] == e.node {
			delete(d[e.dir].entries, name)
		}
	case "write":
		data := slices.Clone(e.data)
		switch variant {
		case 2: // the first half of it
			data = data[:len(data)/2]
		case 3: // space for it
			clear(data)
		}
		n := &d[e.node]
		content := make([]byte, max(len(n.content), int(e.offset)+len(data)))
		copy(content, n.content)
		copy(content[e.offset:], data)
		n.content = content
	case "truncate":
		content := make([]byte, e.offset)
		copy(content, d[e.node].content)
		d[e.node].content = content
	case "chmod":
		d[e.node].mode = fs.FileMode(e.mode)
	}
}

// outcomes returns ways in which the disk may be after a power loss behind
// the first effects: each one that no sync has made certain is there, in one
// of its variants, or is not. All of them, if they are not more than limit.
func outcomes(all []effect, limit int, die *rand.Rand) [][]int {
	var choices []int // how many ways there are for each
	total := 1
	for i, e := range all {
		ways := 1
		if e.lasting >= 0 && !slices.ContainsFunc(all[i+1:], func(s effect) bool { return s.kind == "sync" && s.node == e.lasting }) {
			ways += e.variants
		}
		choices = append(choices, ways)
		total = min(total*ways, limit+1)
	}
	pick := func(choose func(i, ways int) int) []int {
		picked := make([]int, len(all))
		for i, ways := range choices {
			picked[i] = 1
			if ways > 1 {
				picked[i] = choose(i, ways)
			}
		}
		return picked
	}
	var result [][]int
	if total > limit {
		result = append(result, pick(func(int, int) int { return 0 }), pick(func(int, int) int { return 1 }))
		for len(result) < limit {
			result = append(result, pick(func(_, ways int) int { return die.IntN(ways) }))
		}
		return result
	}
	for n := range total {
		rest := n
		result = append(result, pick(func(_, ways int) int {
			way := rest % ways
			rest /= ways
			return way
		}))
	}
	return result
}

// recorder is a target that remembers what it was told.
type recorder struct{ told []uint64 }

func (*recorder) String() string { return "printer" } // as the one in the trace

func (r *recorder) Notify(_ context.Context, n Notification) (Outcome, error) {
	r.told = append(r.told, n.Generation)
	return Delivered, nil
}

// Whatever a power loss at any moment takes back of what was not synced yet,
// the next start brings the files to one generation, not an older one than
// was committed or told, and nobody has missed it.
func TestPowerLoss(t *testing.T) {
	needRoot(t)
	for _, s := range stories() {
		t.Run(s.name, func(t *testing.T) {
			root := memory(t)
			if err := s.begin(root); err != nil {
				t.Fatal(err)
			}
			before := scan(t, root)
			before, all := effects(before, traced(t, root, "story", s.name, root))
			die := rand.New(rand.NewPCG(1, 2))
			limit := 15 // outcomes of one moment
			if text, ok := os.LookupEnv("DELIVER_POWER_OUTCOMES"); ok {
				limit, _ = strconv.Atoi(text)
			}
			tried := 0
			for cut := range len(all) + 1 {
				for _, picked := range outcomes(all[:cut], limit, die) {
					d := before.clone()
					for i, e := range all[:cut] {
						if picked[i] > 0 {
							e.apply(d, picked[i])
						}
					}
					if err := d.write(root); err != nil {
						t.Fatal(err)
					}
					tried++
					if err := s.survives(root, all[:cut]); err != nil {
						t.Errorf("power lost after %d of %d calls: %v", cut, len(all), err)
						for i, e := range all[:cut] {
							t.Logf("%d %s", picked[i], e.String())
						}
						t.FailNow()
					}
				}
			}
			t.Logf("%d calls, %d outcomes", len(all), tried)
		})
	}
}

// survives starts on what a power loss has left, and says what is wrong.
func (s story) survives(root string, past []effect) error {
	var committed uint64
	var told []uint64
	var confirming bool
	for _, e := range past {
		confirming = confirming || e.kind == "mark" && e.path == "confirming 1"
		var n uint64
		if _, err := fmt.Sscanf(e.path, "committed %d", &n); e.kind == "mark" && err == nil {
			committed = n
		}
		if _, err := fmt.Sscanf(e.path, "told %d", &n); e.kind == "mark" && err == nil {
			told = append(told, n)
		}
	}
	target := &recorder{told: told}
	l, err := openLedger(filepath.Join(root, "state"), target)
	if err != nil {
		return err
	}
	defer func() { _ = errors.Join(l.Close(), l.state.Close()) }()
	if _, err := l.Recover(); err != nil {
		return err
	}
	if _, err := l.Deliver(context.Background()); err != nil {
		return err
	}
	generation := l.Progress().Generation
	text, err := s.read(root)
	switch {
	case err != nil:
		return err
	case text != s.text(versionOf(generation)):
		return fmt.Errorf("generation %d holds %q", generation, text)
	case generation < committed:
		return fmt.Errorf("generation %d after %d was committed", generation, committed)
	case generation > 0 && !slices.Contains(target.told, generation):
		return fmt.Errorf("nobody was told of generation %d, but of %d", generation, target.told)
	}
	if l.Progress().Awaits && (generation != 1 || !confirming) { // then some previous files may be gone
		if _, err := l.RollBack(generation, "after the power loss"); err != nil {
			return err
		}
		if text, err := s.read(root); err != nil || text != s.text(versionOf(generation-1)) {
			return fmt.Errorf("rolled back from generation %d: %q, error %w", generation, text, err)
		}
	}
	if _, err := s.commit(l, root, 9, false); err != nil {
		return err
	}
	if text, err := s.read(root); err != nil || text != s.text(9) {
		return fmt.Errorf("the next generation: %q, error %w", text, err)
	}
	return nil
}

// memory returns a folder of the test's own on a file system in memory,
// where nothing waits for a disk, or else on any.
func memory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "deliver-") //nolint:usetesting // on purpose elsewhere
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

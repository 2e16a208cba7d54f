package soaktest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"outrider/awslab"
	"outrider/deliver"
)

// Whatever a sidecar is doing when it is killed, no reader ever sees a file
// that is not whole or a pair that is mixed, and the next start brings all
// files up to date, tells every application, and leaves nothing lying about.
func TestKilledAgainAndAgain(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	p := h.start()
	h.quiet(p)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var others sync.WaitGroup
	reads := 0
	others.Go(func() {
		for ctx.Err() == nil && !t.Failed() {
			h.check()
			reads++
		}
	})
	others.Go(func() {
		dice := rand.New(rand.NewPCG(h.seed, 1))
		for ctx.Err() == nil {
			h.rotate()
			<-time.After(time.Duration(dice.IntN(20)) * time.Millisecond)
		}
	})
	dice, kills, begun := rand.New(rand.NewPCG(h.seed, 2)), 0, time.Now()
	for ; (kills < 20 || time.Since(begun) < *storm) && !t.Failed(); kills++ {
		span := 300 * time.Millisecond // about a start
		if dice.IntN(5) == 0 {
			span *= 10
		}
		<-time.After(time.Duration(dice.Int64N(int64(span))))
		p.kill()
		p = h.start()
		if kills%10 == 9 {
			h.mu.Lock() // nothing rotates any more, and this start is the last
			p.kill()
			p = h.start()
			h.quiet(p)
			h.mu.Unlock()
		}
	}
	stop()
	others.Wait()
	p.kill()
	p = h.start()
	h.quiet(p)
	p.stop()
	h.quietLog()
	h.reopened()
	h.deserted()
	h.unsealed()
	if reads == 0 {
		t.Error("nobody has read: nothing was proved")
	}
	t.Logf("%d kills in %v, %d rotations, %d reads of all files, %v generations", kills, time.Since(begun).Round(time.Second), h.rotated, reads, h.generations())
}

// check reads all files, as applications do, and wants each to be whole.
func (h *host) check() {
	for _, k := range kinds() {
		texts, err := h.texts(k)
		if err != nil {
			h.t.Errorf("app %s: %v", k.app, err)
			return
		}
		seen := map[string]int{} // what the files of a folder that flips are of
		for path, parts := range k.files {
			of, err := h.whole(parts, texts[path])
			switch {
			case k.torn:
			case err != nil:
				h.t.Errorf("%s: %v", path, err)
			case slices.Equal(parts, []string{"user", "password"}) && of[0] != of[1]:
				h.t.Errorf("%s: the user is of version %d, the password of %d", path, of[0], of[1])
			}
			for i, n := range of {
				if was, ok := seen[parts[i]]; ok && was != n && k.flips {
					h.t.Errorf("%s: of version %d, another file of %d", path, n, was)
				}
				seen[parts[i]] = n
			}
		}
	}
	if n := len(h.read("token")); n != 43 { // 32 bytes in base64
		h.t.Errorf("the token is %d bytes long", n)
	}
	mine, ok := strings.CutPrefix(h.read("credentials"), otherProfile)
	for _, key := range []string{"[default]\n", "aws_access_key_id = ", "aws_secret_access_key = ", "aws_session_token = "} {
		ok = ok && strings.Contains(mine, key)
	}
	if !ok || !strings.HasSuffix(mine, "\n") {
		h.t.Error("the credentials file is not whole")
	}
}

// texts reads an app's files. Of a folder that flips, they are read as by a
// program that opens the folder first; one of two generations ago may be
// removed under its hands.
func (h *host) texts(k kind) (texts map[string]string, err error) {
	for range 20 {
		folder, openErr := os.OpenRoot(filepath.Dir(h.path(k.paths()[0])))
		if openErr != nil {
			return nil, openErr
		}
		texts, err = map[string]string{}, nil
		for _, path := range k.paths() {
			var text []byte
			if k.flips {
				text, err = folder.ReadFile(filepath.Base(path))
			} else {
				text, err = os.ReadFile(h.path(path)) // a link may lead out of the folder
			}
			if err != nil {
				break
			}
			texts[path] = string(text)
		}
		_ = folder.Close()
		if err == nil || !k.flips {
			break
		}
	}
	return texts, err
}

// told returns an error unless the application was told of that generation
// while its files held what they hold now.
func (h *host) told(k kind, generation uint64) error {
	sum := sha256.New()
	for _, path := range k.paths() {
		sum.Write([]byte(h.read(path)))
	}
	want := fmt.Sprintf("\n%d %x -\n", generation, sum.Sum(nil))
	if !strings.Contains("\n"+h.read("told-"+k.app), want) {
		return fmt.Errorf("app %s was not told of generation %d", k.app, generation)
	}
	return nil
}

// quiet waits until all is delivered and nothing is left over.
func (h *host) quiet(p *sidecar) {
	h.t.Helper()
	h.until("delivered", p.delivered)
	h.until("tidy", h.tidy)
}

// belongs matches every path of a tidy host; a folder's ends in a slash. Beside
// a destination the folder stays in which generations are staged, and in it at
// most two empty ones.
var belongs = regexp.MustCompile(`^(` + strings.Join([]string{
	`(plain|folder|inplace|linked|target|sealed|pki|state)/?`,
	`(plain|inplace|target|sealed|state)/\.outrider-\w+/([0-9]+/|previous/)?`,
	`\.outrider-(token-lab|credentials-lab|sealed-sealed)/([0-9]+/)?`,
	`\.outrider_folder/([0-9]+/(user|password|both|\.outrider-folder/([0-9]+/)?)?)?`,
	`(plain|folder)/(user|password|both)`, `(inplace|linked|target|sealed)/conf`, `pki/\w+\.pem`,
	`state/(lock|journal\.key|\w+\.(journal|seen)|sealed\.credentials)`,
	`outrider(-[0-9])?\.yaml|credentials|token|copy\.sealed|seal\.key|sock|systemd|audit|log|tell|told-\w+`,
}, "|") + `)$`)

// tidy returns an error while there is anything on the host that does not
// belong there, or too much of it.
func (h *host) tidy() error {
	var state int64
	generations := map[string]int{} // by the folder that they stand in
	err := filepath.WalkDir(h.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == h.dir {
			return err
		}
		name, _ := filepath.Rel(h.dir, path)
		if entry.IsDir() {
			name += "/"
		}
		if !belongs.MatchString(name) {
			return fmt.Errorf("%s is left over", name)
		}
		if _, err := strconv.Atoi(entry.Name()); err == nil {
			generations[filepath.Dir(path)]++
		}
		if info, err := entry.Info(); err == nil && strings.HasPrefix(name, "state/") {
			state += info.Size()
		}
		return nil
	})
	for folder, n := range generations {
		if n > 3 { // the present, the previous, and until the next look what that one replaced unconfirmed
			err = errors.Join(err, fmt.Errorf("%s holds %d generations", folder, n))
		}
	}
	if most := int64(len(kinds())) << 20; state > most {
		err = errors.Join(err, fmt.Errorf("the state is %d bytes, more than %d", state, most))
	}
	return err
}

// quietLog wants no complaint in the log: a kill is no reason for any. That a
// busy machine does not answer in time is, or that it rotates faster than
// secrets can be read.
func (h *host) quietLog() {
	h.t.Helper()
	for line := range strings.Lines(h.read("log")) {
		if !strings.Contains(line, `"level":"INFO"`) && !strings.Contains(line, "no answer ") && !strings.Contains(line, "a version moved during each of") {
			h.t.Errorf("said: %s", line)
		}
	}
}

// reopened opens every journal as the next start would: there is nothing in it
// to be mended, finished or told.
func (h *host) reopened() {
	h.t.Helper()
	state, err := deliver.OpenState(h.path("state"))
	if err != nil {
		h.t.Fatal(err)
	}
	defer state.Close()
	for _, k := range kinds() {
		ledger, err := state.Open(k.app, nil)
		if err != nil {
			h.t.Fatal(err)
		}
		done, err := ledger.Recover()
		got := ledger.Progress()
		want := deliver.Progress{Generation: got.Generation, Committed: got.Committed, Versions: got.Versions}
		if diff := cmp.Diff(want, got); diff != "" || err != nil || done != 0 {
			h.t.Errorf("app %s: its journal is left with generation %d interrupted, %v (-want +got):\n%s", k.app, done, err, diff)
		}
		if err := ledger.Close(); err != nil {
			h.t.Error(err)
		}
	}
}

// deserted waits until no process has the host's folder among its arguments.
func (h *host) deserted() {
	h.t.Helper()
	h.until("no process left", func() error {
		all, err := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, name := range all {
			if argv, err := os.ReadFile(name); err == nil && bytes.Contains(argv, []byte(h.dir+"/")) {
				return fmt.Errorf("%s: %q", name, argv)
			}
		}
		return err
	})
}

// unsealed starts without AWS and without the files of which there is a
// sealed copy.
func (h *host) unsealed() {
	h.t.Helper()
	if _, err := os.Stat("/etc/machine-id"); err != nil {
		h.t.Logf("the sealed copy was not opened: this machine has no id: %v", err)
		return
	}
	if err := errors.Join(os.Remove(h.path("sealed/conf")), h.lab.AddFault(awslab.Fault{Kind: awslab.Drop})); err != nil {
		h.t.Fatal(err)
	}
	p := h.start()
	h.until("the sealed copy", func() error {
		if h.read("sealed/conf") != h.newest([]string{"parameter", "other"}) {
			return errors.Join(errors.New("it was not delivered"), p.lives())
		}
		return nil
	})
	p.stop()
}

// generations returns how many there were of each app.
func (h *host) generations() map[string]string {
	all := map[string]string{}
	for _, k := range kinds() {
		lines := strings.Fields(h.read("told-" + k.app))
		all[k.app] = lines[len(lines)-3]
	}
	return all
}

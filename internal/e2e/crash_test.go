package e2e

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"outrider/serve"
)

// pool is a secret with many versions, among which the label wanders. A
// secret that is written anew each time would run into AWS's limit of 100.
type pool struct {
	s     *scene
	name  string
	ids   []string
	texts []string
	at    int // which one is current
}

func newPool(s *scene, name string, text func(n int) string) *pool {
	s.t.Helper()
	p := &pool{s: s, name: name}
	for n := range 90 {
		p.texts = append(p.texts, text(n))
		p.ids = append(p.ids, s.put(name, p.texts[n]))
	}
	p.at = len(p.ids) - 1
	return p
}

// rotate makes the next version the current one.
func (p *pool) rotate() {
	p.s.t.Helper()
	p.at = (p.at + 1) % len(p.ids)
	p.s.label(p.name, "AWSCURRENT", p.ids[p.at])
}

// cut returns which version's text is at the beginning of text, and what
// follows it.
func (p *pool) cut(text string) (n int, rest string, ok bool) {
	if _, err := fmt.Sscanf(text, p.name+" version %d\n", &n); err != nil || n < 0 || n >= len(p.texts) {
		return 0, "", false
	}
	rest, ok = strings.CutPrefix(text, p.texts[n])
	return n, rest, ok
}

// long returns texts of very different lengths, which name their version
// first.
func long(name string) func(int) string {
	return func(n int) string {
		return fmt.Sprintf("%s version %d\n%s", name, n, strings.Repeat(fmt.Sprintf("%d of %s\n", n, name), 1+n*7919%2000))
	}
}

// crash is an app of three files made from two secrets, under a stream of
// rotations and a reader, whose sidecar is killed again and again.
type crash struct {
	*scene
	one, two *pool
	pause    sync.Mutex // held: nothing rotates
	reads    int
}

func newCrash(t *testing.T) *crash {
	t.Helper()
	s := newScene(t, "")
	c := &crash{scene: s, one: newPool(s, "one", long("one")), two: newPool(s, "two", long("two"))}
	s.script("tell", `printf '%s %s\n' $OUTRIDER_GENERATION "$(cat DIR/first DIR/second DIR/both | sha256sum)" >> DIR/told`)
	s.configure(`
apps:
  billing:
    secrets: {one: {secret: one}, two: {secret: two}}
    files:
      - {content: "{{ .one }}", destination: first}
      - {content: "{{ .two }}", destination: second}
      - {content: "{{ .one }}{{ .two }}", destination: both}
    notify: [{run: [DIR/tell]}]
`)
	return c
}

// whole returns the versions that the files are of. Each must be, to the last
// byte, what one version or one pair of versions makes of it.
func (c *crash) whole() (first, second int, both [2]int, err error) {
	var rest string
	ok := true
	cut := func(p *pool, text string) (n int) {
		var found bool
		n, rest, found = p.cut(text)
		ok = ok && found
		return n
	}
	var texts []string
	for _, name := range []string{"first", "second", "both"} {
		text, err := os.ReadFile(c.path(name))
		if err != nil {
			return 0, 0, both, err
		}
		texts = append(texts, string(text))
	}
	if first = cut(c.one, texts[0]); !ok || rest != "" {
		return 0, 0, both, errors.New("first is torn")
	}
	if second = cut(c.two, texts[1]); !ok || rest != "" {
		return 0, 0, both, errors.New("second is torn")
	}
	both[0] = cut(c.one, texts[2])
	if both[1] = cut(c.two, rest); !ok || rest != "" {
		return 0, 0, both, errors.New("both is torn")
	}
	return first, second, both, nil
}

// read1kHz reads the files a thousand times a second until ctx ends.
func (c *crash) read1kHz(ctx context.Context) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		if _, _, _, err := c.whole(); err != nil {
			c.t.Error(err)
			return
		}
		c.reads++
		<-tick.C
	}
}

// rotateAll rotates now one secret, now the other, and asks the sidecar, if
// there is one, to look.
func (c *crash) rotateAll(ctx context.Context) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		c.pause.Lock()
		if rand.IntN(3) > 0 {
			c.one.rotate()
		}
		if rand.IntN(3) > 0 {
			c.two.rotate()
		}
		c.pause.Unlock()
		_, _ = c.client().Refresh(ctx, nil) // as often as not it is killed meanwhile
		<-tick.C
	}
}

// settled lets nothing rotate until the sidecar says that it is current, and
// looks at what has come of it.
func (c *crash) settled() (generation uint64) {
	c.t.Helper()
	c.pause.Lock()
	defer c.pause.Unlock()
	if !poll(c.t.Context(), 5*time.Millisecond, func() bool {
		out, err := c.client().Refresh(c.t.Context(), nil)
		if err == nil && out[0].Error != "" {
			c.t.Fatal(out[0].Error)
		}
		return err == nil
	}) {
		c.t.Fatalf("no answer for %s", patience)
	}
	first, second, both, err := c.whole()
	if want := [2]int{c.one.at, c.two.at}; err != nil || first != want[0] || second != want[1] || both != want {
		c.t.Fatalf("the files are of versions %d, %d and %v (%v), and %v are current", first, second, both, err, want)
	}
	var app serve.App
	if !poll(c.t.Context(), 5*time.Millisecond, func() bool {
		status, err := c.client().Status(c.t.Context())
		if err != nil {
			c.t.Fatal(err)
		}
		app = status.Apps["billing"]
		return app.State == serve.Current && len(app.Owed) == 0
	}) {
		c.t.Fatalf("not current, or still owed, after %s: %+v", patience, app)
	}
	sum := sha256.Sum256([]byte(c.read("first") + c.read("second") + c.read("both")))
	if want := fmt.Sprintf("%d %x", app.Generation, sum); !strings.Contains("\n"+c.read("told"), "\n"+want) {
		c.t.Fatalf("nobody was told of generation %d", app.Generation)
	}
	return app.Generation
}

// staged tells what is staged, and since when; nothing: empty.
func (c *crash) staged() string {
	c.t.Helper()
	paths, err := filepath.Glob(c.path(".outrider-billing/*/*"))
	if err != nil {
		c.t.Fatal(err)
	}
	var all strings.Builder
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			c.t.Fatal(err)
		}
		fmt.Fprintln(&all, path, info.ModTime())
	}
	return all.String()
}

// The sidecar is killed at a random moment of its life, again and again, under
// a stream of rotations. By default it is killed 150 times, or as often as is
// possible in 40 seconds; OUTRIDER_E2E_KILLS says how often, however long it
// takes.
func TestKilledAtRandomMoments(t *testing.T) {
	t.Parallel()
	kills, limit := 150, 40*time.Second
	if text, ok := os.LookupEnv("OUTRIDER_E2E_KILLS"); ok {
		var err error
		if kills, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
		limit = 24 * time.Hour
	}
	c := newCrash(t)
	begun := time.Now()
	p := c.start()
	c.settled()
	span := 2 * time.Since(begun) // a start, and as much time again for commits
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var others sync.WaitGroup
	others.Go(func() { c.read1kHz(ctx) })
	others.Go(func() { c.rotateAll(ctx) })
	begun = time.Now()
	done, interrupted, before := 0, 0, ""
	for ; done < kills && time.Since(begun) < limit && !t.Failed(); done++ {
		life := time.NewTimer(rand.N(span))
		<-life.C
		p.kill()
		if left := c.staged(); left != "" && left != before {
			interrupted++
			before = left
		}
		p = c.start()
		if done%10 == 9 {
			c.settled()
		}
	}
	took := time.Since(begun)
	stop()
	others.Wait()
	generations := c.settled()
	if interrupted == 0 || c.reads == 0 {
		t.Errorf("%d of %d kills came into a commit, %d reads: nothing was proved", interrupted, done, c.reads)
	}
	t.Logf("%d kills in %v, %d with files left staged, %d generations, %d reads of three files (%.0f a second), lives of up to %v",
		done, took.Round(time.Second), interrupted, generations, c.reads, float64(c.reads)/took.Seconds(), span.Round(time.Millisecond))
}

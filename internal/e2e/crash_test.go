package e2e

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"outrider/awslab"
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
	flips    bool       // layout: directory
	life     *sidecar   // the present one
	pause    sync.Mutex // held: nothing rotates
	reads    int
}

func newCrash(t *testing.T, layout string) *crash {
	t.Helper()
	s := newScene(t, "")
	c := &crash{scene: s, one: newPool(s, "one", long("one")), two: newPool(s, "two", long("two")), flips: layout == "directory"}
	s.script("tell", `cd DIR/conf && printf '%s %s\n' $OUTRIDER_GENERATION "$(cat first second both | sha256sum)" >> DIR/told`)
	if !c.flips {
		if err := os.Mkdir(s.path("conf"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	s.configure(`
apps:
  billing:
    secrets: {one: {secret: one}, two: {secret: two}}
    files:
      - {content: "{{ .one }}", destination: conf/first}
      - {content: "{{ .two }}", destination: conf/second}
      - {content: "{{ .one }}{{ .two }}", destination: conf/both}
    layout: ` + layout + `
    notify: [{run: [DIR/tell]}]
`)
	return c
}

// texts reads the three files, as an application does that opens their folder
// first. A folder of two generations ago may be removed under its hands.
func (c *crash) texts() ([3]string, error) {
	var texts [3]string
	var err error
	for range 10 {
		var folder *os.Root
		if folder, err = os.OpenRoot(c.path("conf")); err != nil {
			return texts, err
		}
		for i, name := range []string{"first", "second", "both"} {
			var text []byte
			if text, err = folder.ReadFile(name); err != nil {
				break
			}
			texts[i] = string(text)
		}
		_ = folder.Close()
		if err == nil || !c.flips {
			break
		}
	}
	return texts, err
}

// whole returns which versions the third file is of, and whether the others
// are of others. Each must be, to the last byte, what one version or one pair
// of versions makes of it.
func (c *crash) whole() (pair [2]int, mixed bool, err error) {
	texts, err := c.texts()
	if err != nil {
		return pair, false, err
	}
	first, rest, ok := c.one.cut(texts[0])
	if !ok || rest != "" {
		return pair, false, errors.New("first is torn")
	}
	second, rest, ok := c.two.cut(texts[1])
	if !ok || rest != "" {
		return pair, false, errors.New("second is torn")
	}
	if pair[0], rest, ok = c.one.cut(texts[2]); ok {
		pair[1], rest, ok = c.two.cut(rest)
	}
	if !ok || rest != "" {
		return pair, false, errors.New("both is torn")
	}
	return pair, pair != [2]int{first, second}, nil
}

// read1kHz reads the files a thousand times a second until ctx ends.
func (c *crash) read1kHz(ctx context.Context) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		_, mixed, err := c.whole()
		if err != nil || mixed && c.flips {
			c.t.Errorf("mixed: %v, %v", mixed, err)
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
// looks at what has come of it. It returns the number of the generation.
func (c *crash) settled() uint64 {
	c.t.Helper()
	c.pause.Lock()
	defer c.pause.Unlock()
	if !poll(c.t.Context(), 5*time.Millisecond, func() bool {
		c.life.lives()
		out, err := c.client().Refresh(c.t.Context(), nil)
		if err == nil && out[0].Error != "" {
			c.t.Fatal(out[0].Error)
		}
		return err == nil
	}) {
		c.t.Fatalf("no answer for %s", patience)
	}
	pair, generation := c.agrees(serve.Current)
	if want := [2]int{c.one.at, c.two.at}; pair != want {
		c.t.Fatalf("the files are of versions %v, and %v are current", pair, want)
	}
	return generation
}

// recovered looks at what a sidecar makes, without AWS, of what a kill has
// left.
func (c *crash) recovered() {
	c.t.Helper()
	c.pause.Lock()
	defer c.pause.Unlock()
	if err := c.lab.AddFault(awslab.Fault{Kind: awslab.Drop}); err != nil {
		c.t.Fatal(err)
	}
	defer c.lab.ClearFaults()
	c.life = c.start()
	c.agrees(serve.Failing)
	c.life.kill()
}

// agrees waits until the app has that state and nothing is owed. Then the files
// must be those that status tells of, and the application must know.
func (c *crash) agrees(state serve.State) (pair [2]int, generation uint64) {
	c.t.Helper()
	var app serve.App
	if !poll(c.t.Context(), 5*time.Millisecond, func() bool {
		c.life.lives()
		status, err := c.client().Status(c.t.Context())
		app = status.Apps["billing"]
		return err == nil && app.State == state && len(app.Owed) == 0
	}) {
		c.t.Fatalf("not %s, or still owed, after %s: %+v", state, patience, app)
	}
	pair, mixed, err := c.whole()
	one, two := app.Secrets["one"].Version, app.Secrets["two"].Version
	if err != nil || mixed || one != c.one.ids[pair[0]] || two != c.two.ids[pair[1]] {
		c.t.Fatalf("the files are of versions %v, mixed: %v (%v), and not those of generation %d", pair, mixed, err, app.Generation)
	}
	texts, err := c.texts()
	if err != nil {
		c.t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(strings.Join(texts[:], "")))
	if want := fmt.Sprintf("%d %x", app.Generation, sum); !strings.Contains("\n"+c.read("told"), "\n"+want) {
		c.t.Fatalf("nobody was told of generation %d", app.Generation)
	}
	return pair, app.Generation
}

// interrupted reports whether the journal ends with what was begun.
func (c *crash) interrupted() bool {
	c.t.Helper()
	lines := strings.Split(strings.TrimSpace(c.read("state/billing.journal")), "\n")
	return strings.Contains(lines[len(lines)-1], `"kind":"intended"`)
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
	for _, layout := range []string{"files", "directory"} {
		t.Run(layout, func(t *testing.T) {
			t.Parallel()
			newCrash(t, layout).killed(kills, limit)
		})
	}
}

// killed kills the sidecar so many times, or until the time is over.
func (c *crash) killed(kills int, limit time.Duration) {
	begun := time.Now()
	c.life = c.start()
	c.settled()
	span := min(2*time.Since(begun), 250*time.Millisecond) // a start, and as much time again for commits
	ctx, stop := context.WithCancel(c.t.Context())
	defer stop()
	var others sync.WaitGroup
	others.Go(func() { c.read1kHz(ctx) })
	others.Go(func() { c.rotateAll(ctx) })
	begun = time.Now()
	done, interrupted := 0, 0
	for ; done < kills && time.Since(begun) < limit && !c.t.Failed(); done++ {
		<-time.NewTimer(rand.N(span)).C
		c.life.kill()
		if c.interrupted() {
			interrupted++
		}
		if done%5 == 2 {
			c.recovered()
		}
		c.life = c.start()
		if done%10 == 9 {
			c.settled()
		}
	}
	for ; interrupted == 0 && done < 2*kills && !c.t.Failed(); done++ { // a busy machine: no commit was met by chance
		poll(ctx, time.Millisecond, c.interrupted)
		c.life.kill()
		if c.interrupted() {
			interrupted++
		}
		c.life = c.start()
	}
	took := time.Since(begun)
	stop()
	others.Wait()
	generations := c.settled()
	if interrupted == 0 || c.reads == 0 {
		c.t.Errorf("%d of %d kills came while files were moved, %d reads: nothing was proved", interrupted, done, c.reads)
	}
	c.t.Logf("%d kills in %v, %d of them while files were moved, %d generations, %d reads of the three files (%.0f a second), lives of up to %v",
		done, took.Round(time.Second), interrupted, generations, c.reads, float64(c.reads)/took.Seconds(), span.Round(time.Millisecond))
}

package soaktest

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"outrider/awslab"
)

// pool is a secret with many versions, among which the label wanders: one that
// is written anew each time would run into AWS's limit of 100. A parameter is
// written anew each time.
type pool struct {
	h    *host
	name string
	ids  []string // of a secret
	at   int      // which version is current
}

const versions = 90

func newPool(h *host, name string) *pool {
	p := &pool{h: h, name: name}
	if name == "parameter" {
		p.move(0)
		return p
	}
	for n := range versions {
		id, err := h.lab.PutSecret("soak/"+name, p.text(n))
		if err != nil {
			h.t.Fatal(err)
		}
		p.ids = append(p.ids, id)
	}
	p.at = versions - 1
	return p
}

// move makes a version the current one.
func (p *pool) move(n int) {
	var err error
	if p.at = n; p.ids == nil {
		_, err = p.h.lab.PutParameter("/soak/"+p.name, p.text(n), awslab.TypeSecureString)
	} else {
		err = p.h.lab.MoveLabel("soak/"+p.name, "AWSCURRENT", p.ids[n])
	}
	if err != nil {
		p.h.t.Error(err) // not from the test's own goroutine, perhaps
	}
}

// text is a version, which says at its beginning which one it is. They are of
// very different lengths.
func (p *pool) text(n int) string {
	line := fmt.Sprintf("%d of %s\n", n, p.name)
	most := 1000
	if p.name == "parameter" {
		most = 200
	}
	return fmt.Sprintf("%s version %d\n%s", p.name, n, strings.Repeat(line, 1+n*7919%most))
}

// cut returns which version text begins with, and what follows it.
func (p *pool) cut(text string) (n int, rest string, ok bool) {
	if _, err := fmt.Sscanf(text, p.name+" version %d\n", &n); err != nil || n < 0 {
		return 0, "", false
	}
	rest, ok = strings.CutPrefix(text, p.text(n))
	return n, rest, ok
}

// rotate rotates what the dice say: the pair, one half and then the other, or
// what is none. The pair waits until the rotation before is delivered: when both
// halves have changed, nobody can tell that one has changed twice.
func (h *host) rotate() {
	h.mu.Lock()
	defer h.mu.Unlock()
	names := [][]string{{"other"}, {"parameter"}, {"user", "password"}, {"password", "user"}}[h.dice.IntN(4)]
	if len(names) == 2 && !h.paired() {
		names = []string{"other"}
	}
	h.move(names...)
}

// paired reports whether the apps that have the pair have its newest versions.
func (h *host) paired() bool {
	newest := h.newest([]string{"user", "password"})
	for _, path := range []string{"plain/both", "folder/both"} {
		if text, err := os.ReadFile(h.path(path)); err != nil || string(text) != newest {
			return false
		}
	}
	return true
}

// move rotates secrets. The caller holds h.mu, or is alone.
func (h *host) move(names ...string) {
	for _, name := range names {
		p := h.pools[name]
		p.move((p.at + 1) % versions)
		h.rotated++
	}
}

// moveAll rotates all of them.
func (h *host) moveAll() { h.move("user", "password", "other", "parameter") }

// newest returns what a file of these secrets is to hold.
func (h *host) newest(parts []string) string {
	var text strings.Builder
	for _, name := range parts {
		text.WriteString(h.pools[name].text(h.pools[name].at))
	}
	return text.String()
}

// whole returns which versions a file of these secrets is of, and an error when
// it is not, to the last byte, what some make of it.
func (h *host) whole(parts []string, text string) ([]int, error) {
	var of []int
	rest := text
	for _, name := range parts {
		n, left, ok := h.pools[name].cut(rest)
		if !ok {
			return nil, fmt.Errorf("torn: %d bytes, the last %d of which are no version of %s", len(text), len(rest), name)
		}
		of, rest = append(of, n), left
	}
	if rest != "" {
		return nil, fmt.Errorf("torn: %d bytes too many", len(rest))
	}
	return of, nil
}

func sorted[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

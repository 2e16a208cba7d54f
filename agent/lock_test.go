package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestStateThatIsTakenAwayEndsTheSidecar(t *testing.T) {
	for name, take := range map[string]func(state string) error{
		"removed": os.RemoveAll,
		"moved":   func(state string) error { return os.Rename(state, state+".away") },
		"another is in its place": func(state string) error {
			if err := os.Rename(state, state+".away"); err != nil {
				return err
			}
			held, err := takeLock(state)
			if err == nil {
				held.release()
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, h *house) {
				h.put("a", "1")
				c := h.config(time.Hour, h.app("one", "a"))
				ended := make(chan error, 1)
				go func() { ended <- h.agent(c).Run(t.Context()) }()
				time.Sleep(10 * time.Minute)
				if err := take(c.State); err != nil {
					t.Fatal(err)
				}
				select {
				case err := <-ended:
					if err == nil || !strings.Contains(err.Error(), "was moved or removed while it was in use; start outrider again") {
						t.Errorf("Run = %v", err)
					}
				case <-time.After(31 * time.Second):
					t.Error("it goes on")
				}
				stop := h.run(h.agent(c))
				time.Sleep(time.Second)
				stop()
				if h.read("one") != "1\n" {
					t.Error("the file is not as it was")
				}
			})
		})
	}
}

func TestLockThatNamesNobodyIsAnothersAllTheSame(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	held, err := takeLock(state)
	if err != nil {
		t.Fatal(err)
	}
	defer held.release()
	if err := held.file.Truncate(0); err != nil {
		t.Fatal(err)
	}
	const want = " is in use by another process; find it (fuser "
	if _, err := takeLock(state); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("takeLock = %v, want %q", err, want)
	}
}

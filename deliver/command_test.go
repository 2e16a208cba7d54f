package deliver

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"outrider/secret"
)

func TestCommand(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	report := Command{Argv: []string{"sh", "-c", `echo "$OUTRIDER_APP $OUTRIDER_GENERATION $(cat)" >"$0"`, path}}
	if got, err := report.Notify(t.Context(), Notification{App: "billing", Generation: 42}); got != Delivered || err != nil {
		t.Errorf("got %q, error %v, want %q", got, err, Delivered)
	}
	if text, err := os.ReadFile(path); string(text) != "billing 42 \n" {
		t.Errorf("it was given %q, error %v", text, err)
	}
	got, err := Command{Argv: []string{"sh", "-c", "echo canary; exit 7"}}.Notify(t.Context(), Notification{})
	if got != Failed || err == nil || err.Error() != "exit status 7" {
		t.Errorf("got %q, error %v, want %q and exit status 7", got, err, Failed)
	}
	if got := report.String(); got != "run sh" {
		t.Errorf("it shows as %q", got)
	}
}

// A check sees the new content before the application does, and what it
// refuses changes nothing.
func TestCheck(t *testing.T) {
	dir := t.TempDir()
	changed, same := filepath.Join(dir, "changed"), filepath.Join(dir, "same")
	write(t, changed, "old", 0o600)
	write(t, same, "same", 0o600)
	files := []File{{Destination: changed, Content: secret.Text("new")}, {Destination: same, Content: secret.Text("same")}}
	script := `test "$(cat "$0") $(cat "$1") $OUTRIDER_APP $OUTRIDER_GENERATION" = "$2"`
	for _, tt := range []struct{ name, expects, want string }{
		{"what is as it should be", "new same app 1", ""},
		{"what is not", "old same app 1", "check: run sh: exit status 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			staged, err := newLedger(t).Stage(files)
			if err != nil {
				t.Fatal(err)
			}
			if got := staged.Path(same); got != same {
				t.Errorf("what does not change stands at %s", got)
			}
			err = staged.Check(t.Context(), []string{"sh", "-c", script, staged.Path(changed), staged.Path(same), tt.expects})
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || err.Error() != tt.want) {
				t.Errorf("got error %v, want %q", err, tt.want)
			}
			if err := staged.Discard(); err != nil {
				t.Fatal(err)
			}
			if text, err := os.ReadFile(changed); string(text) != "old" {
				t.Errorf("got %q, error %v", text, err)
			}
		})
	}
}

func TestConfirm(t *testing.T) {
	tests := []struct {
		name  string
		tries int // that fail before one does not; -1: all do
		takes time.Duration
		want  string
		ends  time.Duration
	}{
		{"at once", 0, 0, "", 0},
		{"at the third attempt", 2, 0, "", 2 * time.Second},
		{"an attempt that takes longer than a second", 1, 1500 * time.Millisecond, "", 3 * time.Second},
		{"never", -1, 0, "not confirmed within 10s: run curl: exit status 7", 10 * time.Second},
		{"an attempt that does not end", -1, time.Hour, "not confirmed within 10s: run curl: cut short", 10 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun, tries := time.Now(), 0
				err := Confirm{Argv: []string{"curl"}, Within: 10 * time.Second}.await(t.Context(), func(ctx context.Context) error {
					tries++
					select {
					case <-time.After(tt.takes):
					case <-ctx.Done():
						return errors.New("cut short")
					}
					if tries == tt.tries+1 {
						return nil
					}
					return errors.New("exit status 7")
				})
				if tt.want == "" && err != nil || tt.want != "" && (err == nil || err.Error() != tt.want) {
					t.Errorf("got error %v, want %q", err, tt.want)
				}
				if got := time.Since(begun); got != tt.ends {
					t.Errorf("it took %v, want %v", got, tt.ends)
				}
			})
		})
	}
}

func TestConfirmStopsWithItsContext(t *testing.T) {
	stopping := errors.New("stopping")
	ctx, cancel := context.WithCancelCause(t.Context())
	err := Confirm{Argv: []string{"curl"}}.await(ctx, func(context.Context) error { cancel(stopping); return errors.New("exit status 7") })
	if !errors.Is(err, stopping) {
		t.Errorf("got error %v, want %v", err, stopping)
	}
}

func TestConfirmRunsItsCommand(t *testing.T) {
	path := filepath.Join(t.TempDir(), "up")
	c := Confirm{Argv: []string{"sh", "-c", `test "$OUTRIDER_GENERATION" = 42 && test -e "$0" || { : >"$0"; exit 1; }`, path}}
	if err := c.Await(t.Context(), Notification{App: "app", Generation: 42}); err != nil {
		t.Errorf("got error %v", err)
	}
	c = Confirm{Argv: []string{"false"}, Within: time.Millisecond}
	if err := c.Await(t.Context(), Notification{}); err == nil || !strings.HasPrefix(err.Error(), "not confirmed within 1ms: run false: ") {
		t.Errorf("got error %v", err)
	}
}

package device

import (
	"context"
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"outrider/internal/pkitest"
	"outrider/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// software is a device: it takes one PIN, and counts.
type software struct {
	key      crypto.Signer
	pin      string
	shown    atomic.Int32
	inside   atomic.Int32
	overlaps atomic.Int32
}

func (s *software) signs(_ context.Context, pin secret.Value, digest []byte) ([]byte, error) {
	if s.inside.Add(1) > 1 {
		s.overlaps.Add(1)
	}
	defer s.inside.Add(-1)
	s.shown.Add(1)
	if !pin.Equal(secret.Text(s.pin)) {
		return nil, fmt.Errorf("token: %w", &RefusedError{"the PIN is wrong"})
	}
	return s.key.Sign(rand.Reader, digest, crypto.SHA256)
}

func (s *software) opened(guard *Guard, pin PIN) *Key {
	return &Key{Guard: guard, Device: "device", Name: "key", PIN: pin, Pub: s.key.Public(), Signs: s.signs}
}

func pin(text string, changed int64) PIN {
	return PIN{Value: secret.Text(text), Path: "host.pin", Changed: time.Unix(changed, 0)}
}

func TestARefusedPINIsShownAgainOnceItsFileHasChanged(t *testing.T) {
	guard, dev := &Guard{}, &software{key: pkitest.ECDSA(t, elliptic.P256()), pin: "right"}
	steps := []struct {
		pin   PIN
		works bool
		shown int32 // in all
	}{
		{pin("wrong", 1), false, 1},
		{pin("wrong", 1), false, 1},
		{pin("other", 1), false, 2},
		{pin("other", 1), false, 2},
		{pin("other", 2), false, 3}, // written anew, or touched
		{pin("right", 3), true, 4},
		{pin("right", 3), true, 5},
	}
	for i, step := range steps {
		err := dev.opened(guard, step.pin).Try(t.Context())
		refused, _ := errors.AsType[*RefusedError](err)
		if (err == nil) != step.works || (refused == nil) != step.works {
			t.Errorf("step %d: got %v, want it to work: %t", i, err, step.works)
		}
		if got := dev.shown.Load(); got != step.shown {
			t.Errorf("step %d: the device was shown a PIN %d times, want %d", i, got, step.shown)
		}
	}
	dev.pin = "changed"
	key := dev.opened(guard, pin("right", 3))
	for range 3 {
		if err := key.Try(t.Context()); err == nil {
			t.Error("signed with a PIN that is wrong by now")
		}
	}
	if got := dev.shown.Load(); got != 6 {
		t.Errorf("the device was shown a PIN %d times, want 6", got)
	}
}

func TestOneCallerAtATimeAndTheWrongPINOnce(t *testing.T) {
	guard, dev := &Guard{}, &software{key: pkitest.ECDSA(t, elliptic.P256()), pin: "right"}
	var group sync.WaitGroup
	for i := range 50 {
		group.Go(func() {
			text := []string{"right", "wrong"}[i%2]
			key := dev.opened(guard, pin(text, 1))
			key.Name = text
			if err := key.Try(t.Context()); (err == nil) != (text == "right") {
				t.Errorf("%s: got %v", text, err)
			}
		})
	}
	group.Wait()
	if got := dev.overlaps.Load(); got != 0 {
		t.Errorf("%d callers met another in the device", got)
	}
	if got := dev.shown.Load(); got != 25+1 {
		t.Errorf("the device was shown a PIN %d times, want 25 times the right one and once the wrong", got)
	}
}

func TestSignaturesAreCheckedBeforeTheyAreGivenOut(t *testing.T) {
	good, other := pkitest.RSA(t, 2048), pkitest.RSA(t, 2048)
	dev := &software{key: other}
	key := dev.opened(&Guard{}, PIN{})
	key.Pub = good.Public()
	if err := key.Try(t.Context()); err == nil {
		t.Error("gave out the signature of another key")
	}
	key.Pub = other.Public()
	if err := key.Try(t.Context()); err != nil {
		t.Error(err)
	}
	for name, opts := range map[string]crypto.SignerOpts{
		"PSS": &rsa.PSSOptions{Hash: crypto.SHA256}, "SHA-384": crypto.SHA384,
	} {
		if _, err := key.Sign(nil, make([]byte, 32), opts); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
	if Fits("no key", nil, nil) {
		t.Error("a signature fits what is no key")
	}
}

func TestADeviceThatHangsHoldsNobodyUp(t *testing.T) {
	guard, dev := &Guard{}, &software{key: pkitest.ECDSA(t, elliptic.P256())}
	release := make(chan struct{})
	stuck := dev.opened(guard, PIN{})
	ctx, cancel := context.WithCancel(t.Context())
	stuck.Signs = func(ctx context.Context, p secret.Value, digest []byte) ([]byte, error) {
		cancel()
		<-release
		return dev.signs(ctx, p, digest)
	}
	if err := stuck.Try(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("the first caller: got %v", err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := dev.opened(guard, PIN{}).Try(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the second caller: got %v", err)
	}
	elsewhere := dev.opened(guard, PIN{})
	elsewhere.Device = "another device"
	if err := elsewhere.Try(t.Context()); err != nil {
		t.Errorf("another device: %v", err)
	}
	close(release)
	if err := dev.opened(guard, PIN{}).Try(t.Context()); err != nil {
		t.Errorf("after it has answered: %v", err)
	}
}

func TestEqual(t *testing.T) {
	dev := &software{key: pkitest.ECDSA(t, elliptic.P256())}
	guard := &Guard{}
	one := dev.opened(guard, pin("4711", 1))
	renamed := dev.opened(guard, pin("4711", 1))
	renamed.Name = "another"
	for name, test := range map[string]struct {
		other crypto.Signer
		want  bool
	}{
		"the same":        {dev.opened(guard, pin("4711", 1)), true},
		"another PIN":     {dev.opened(guard, pin("0815", 1)), false},
		"a touched file":  {dev.opened(guard, pin("4711", 2)), false},
		"another key":     {renamed, false},
		"a key in a file": {dev.key, false},
	} {
		if got := one.Equal(test.other); got != test.want {
			t.Errorf("%s: got %t, want %t", name, got, test.want)
		}
	}
}

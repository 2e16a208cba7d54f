package sealed

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"outrider/secret"
)

// canary is what must not be told.
const canary = "canary-3f9c"

func refs() map[string]secret.Ref {
	return map[string]secret.Ref{
		"db":    {ID: "prod/db", Stage: secret.Current},
		"key":   {ID: "prod/key", VersionID: "11111111-1111-1111-1111-111111111111"},
		"smtp":  {Kind: secret.Parameter, ID: "/prod/smtp"},
		"flags": {Kind: secret.Parameters, ID: "/prod/flags/", Recursive: true},
	}
}

func snapshot() secret.Snapshot {
	r, at := refs(), time.Date(2026, 3, 1, 12, 0, 0, 123, time.UTC)
	return secret.NewSnapshot(at, map[string]secret.Version{
		"db":   {Ref: r["db"], ID: "v1", ARN: "arn:db", Region: "eu-west-3", Created: at.Add(-time.Hour), Value: secret.Text(canary)},
		"key":  {Ref: r["key"], ID: "v2", ARN: "arn:key", Value: secret.NewValue([]byte{0, 255, '\n'}), Binary: true},
		"smtp": {Ref: r["smtp"], ID: "3", ARN: "arn:smtp", Value: secret.Text("")},
		"flags": {Ref: r["flags"], ID: "digest", Below: map[string]secret.Version{
			"a/b": {Ref: r["flags"], ID: "7", ARN: "arn:a", Value: secret.Text(canary + "/b")},
		}},
	})
}

// newCopy returns the copy of a host with an id and no files yet.
func newCopy(t *testing.T) Copy {
	t.Helper()
	dir := t.TempDir()
	c := Copy{App: "billing", Path: filepath.Join(dir, "billing.sealed"), Key: filepath.Join(dir, "seal.key"), MachineID: filepath.Join(dir, "machine-id")}
	write(t, c.MachineID, "0123456789abcdef0123456789abcdef\n")
	return c
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// written returns a copy that holds the snapshot.
func written(t *testing.T) Copy {
	t.Helper()
	c := newCopy(t)
	if err := c.Write(snapshot()); err != nil {
		t.Fatal(err)
	}
	return c
}

// same fails the test, without a word of either, unless both versions are
// alike.
func same(t *testing.T, name string, got, want secret.Version) {
	t.Helper()
	alike := got.Ref == want.Ref && got.ID == want.ID && got.ARN == want.ARN && got.Region == want.Region &&
		got.Created.Equal(want.Created) && got.Binary == want.Binary && got.Value.Equal(want.Value) && len(got.Below) == len(want.Below)
	if !alike {
		t.Errorf("%s is not what was sealed", name)
	}
	for below, v := range want.Below {
		same(t, name+" "+below, got.Below[below], v)
	}
}

func TestWhatWasSealedIsRead(t *testing.T) {
	c, want := written(t), snapshot()
	got, err := c.Read(refs())
	if err != nil {
		t.Fatal(err)
	}
	if !got.Taken().Equal(want.Taken()) || !got.SameVersions(want) {
		t.Errorf("taken %v, names %v", got.Taken(), got.Names())
	}
	for _, name := range want.Names() {
		g, _ := got.Get(name)
		w, _ := want.Get(name)
		same(t, name, g, w)
	}
	fewer := refs()
	delete(fewer, "key")
	if got, err = c.Read(fewer); err != nil || got.Len() != 3 {
		t.Errorf("without a secret that is no longer configured: %v, %v", got.Names(), err)
	}
}

func TestFilesAreForUsAlone(t *testing.T) {
	c := written(t)
	for _, path := range []string{c.Path, c.Key} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != 0o600 {
			t.Errorf("%s has mode %04o", path, got)
		}
	}
	content, err := os.ReadFile(c.Path)
	if err != nil || bytes.Contains(content, []byte(canary)) || !bytes.HasPrefix(content, []byte("age-encryption.org/v1\n")) {
		t.Errorf("the copy is not encrypted in age's format: %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(c.Path), ".seal-key-*")); len(left) > 0 || err != nil {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestKeyIsMadeOnceAndNeverForACopyThatIsThere(t *testing.T) {
	c := newCopy(t)
	errs := make(chan error)
	keys := make(chan string, 8)
	for range cap(keys) {
		go func() {
			key, err := makeKey(c.Key)
			if err == nil {
				keys <- key.Recipient().String()
			}
			errs <- err
		}()
	}
	for range cap(keys) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	close(keys)
	first := <-keys
	for key := range keys {
		if key != first {
			t.Error("two that made the key at the same time have two")
		}
	}
	if err := c.Write(snapshot()); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(c.Key); err != nil {
		t.Fatal(err)
	}
	if err := c.Write(snapshot()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("with a copy and no key: %v, want that the key is missing", err)
	}
}

func TestCopyIsRefused(t *testing.T) {
	tests := map[string]struct {
		harm func(t *testing.T, c *Copy)
		want string
	}{
		"that is not there":       {func(t *testing.T, c *Copy) { check(t, os.Remove(c.Path)) }, "there is none yet"},
		"without its key":         {func(t *testing.T, c *Copy) { check(t, os.Remove(c.Key)) }, "no such file or directory; put it there"},
		"sealed with another key": {otherKey, "sealed with another key"},
		"of another host": {func(t *testing.T, c *Copy) { write(t, c.MachineID, strings.Repeat("f", 32)) },
			"another host has sealed it"},
		"on a host without an id": {func(t *testing.T, c *Copy) { write(t, c.MachineID, "uninitialized\n") },
			"systemd-machine-id-setup makes it"},
		"of another app": {func(_ *testing.T, c *Copy) { c.App = "other" }, "it is app billing's"},
		"with one byte changed": {func(t *testing.T, c *Copy) { change(t, c.Path, func(b []byte) []byte { b[len(b)-20] ^= 1; return b }) },
			"cut off, damaged or tampered with"},
		"with its header changed": {func(t *testing.T, c *Copy) { change(t, c.Path, func(b []byte) []byte { b[60] ^= 1; return b }) },
			"remove"},
		"cut off in the text": {func(t *testing.T, c *Copy) { change(t, c.Path, func(b []byte) []byte { return b[:len(b)-1] }) },
			"cut off, damaged or tampered with"},
		"cut off in the header": {func(t *testing.T, c *Copy) { change(t, c.Path, func(b []byte) []byte { return b[:40] }) },
			"cut off, damaged or tampered with"},
		"that somebody has made for the public key": {forge, "whoever made it did not have this key"},
		"whose key everybody can read":              {func(t *testing.T, c *Copy) { check(t, os.Chmod(c.Key, 0o644)) }, "mode 0644 lets others at it; chmod 600"},
		"whose key the group can write":             {func(t *testing.T, c *Copy) { check(t, os.Chmod(c.Key, 0o620)) }, "mode 0620 lets others at it"},
		"whose key is a folder": {func(t *testing.T, c *Copy) { c.Key = t.TempDir() },
			"is not a regular file"},
		"whose key is something else": {func(t *testing.T, c *Copy) { write(t, c.Key, canary+"\n") },
			"holds something else than an age identity"},
		"whose key is empty": {func(t *testing.T, c *Copy) { write(t, c.Key, "# nothing\n") }, "holds no age identity"},
		"whose key is two": {func(t *testing.T, c *Copy) { change(t, c.Key, func(b []byte) []byte { return append(b, b...) }) },
			"more than one age identity"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := written(t)
			test.harm(t, &c)
			s, err := c.Read(refs())
			if err == nil || s.Len() > 0 || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %d secrets and %v, want none and %q", s.Len(), err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), canary) {
				t.Error("the error tells what is in a file")
			}
		})
	}
}

func TestKeyOfAnotherUserIsRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file away")
	}
	c := written(t)
	check(t, os.Chown(c.Key, 12345, 0))
	if _, err := c.Read(refs()); err == nil || !strings.Contains(err.Error(), "belongs to uid 12345; chown it to root") {
		t.Errorf("got %v", err)
	}
	check(t, os.Chown(c.Key, 0, 12345))
	check(t, os.Chmod(c.Key, 0o640))
	if _, err := c.Read(refs()); err == nil || !strings.Contains(err.Error(), "mode 0640 lets others at it") {
		t.Errorf("got %v", err)
	}
	check(t, os.Chown(c.Key, 0, 0)) // as systemd's credentials are
	if _, err := c.Read(refs()); err != nil {
		t.Error(err)
	}
}

func TestCopyOfOtherReferencesIsRefused(t *testing.T) {
	c := written(t)
	more, moved := refs(), refs()
	more["new"] = secret.Ref{ID: "new", Stage: secret.Current}
	moved["db"] = secret.Ref{ID: "prod/db2", Stage: secret.Current}
	for want, asked := range map[string]map[string]secret.Ref{"secret new": more, "secret prod/db2": moved} {
		if _, err := c.Read(asked); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "the configuration has changed since") {
			t.Errorf("got %v, want an error about %s", err, want)
		}
	}
}

func TestCheckChangesNothing(t *testing.T) {
	c := newCopy(t)
	if err := c.Check(); err != nil {
		t.Errorf("before the first copy: %v", err)
	}
	if _, err := os.Stat(c.Key); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it made the key: %v", err)
	}
	check(t, c.Write(snapshot()))
	if err := c.Check(); err != nil {
		t.Errorf("with a copy: %v", err)
	}
	check(t, os.Remove(c.Key))
	if err := c.Check(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("with a copy and no key: %v", err)
	}
}

func TestRemoveLeavesNothing(t *testing.T) {
	c := written(t)
	for range 2 { // the second time there is none
		if err := c.Remove(); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(c.Path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after Remove: %v", err)
	}
}

func TestCopyPrintsNoValue(t *testing.T) {
	c := written(t)
	s, err := c.Read(refs())
	if text := fmt.Sprintf("%+v %#v %v", s, s, err); strings.Contains(text, canary) {
		t.Error("a value is printed")
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func change(t *testing.T, path string, f func([]byte) []byte) {
	t.Helper()
	content, err := os.ReadFile(path)
	check(t, err)
	check(t, os.WriteFile(path, f(content), 0o600))
}

func otherKey(t *testing.T, c *Copy) {
	t.Helper()
	check(t, os.Remove(c.Key))
	_, err := makeKey(c.Key)
	check(t, err)
}

// forge puts a copy in place that only the public half of the key was needed
// for.
func forge(t *testing.T, c *Copy) {
	t.Helper()
	key, err := readKey(c.Key)
	check(t, err)
	host, err := c.host()
	check(t, err)
	text, err := encode(letter{Host: host, App: c.App}, snapshot())
	check(t, err)
	change(t, c.Path, func([]byte) []byte {
		return encrypted(t, key.Recipient(), append([]byte(strings.Repeat("0", 64)+"\n"), text...))
	})
}

func encrypted(t testing.TB, to age.Recipient, text []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := age.Encrypt(&out, to)
	if err == nil {
		_, err = w.Write(text)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// fixed is the key of the fuzz targets' seeds.
func fixed(t testing.TB) *age.X25519Identity {
	t.Helper()
	key, err := age.ParseX25519Identity("AGE-SECRET-KEY-1QQQSYQCYQ5RQWZQFPG9SCRGWPUGPZYSNZS23V9CCRYDPK8QARC0SWRYDWG")
	if err != nil {
		t.Fatal(err)
	}
	return key
}

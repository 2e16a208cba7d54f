// Package sealed keeps an app's last good snapshot on disk, encrypted.
package sealed

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"filippo.io/age"

	"outrider/deliver"
	"outrider/secret"
)

// maxCopy bounds what is read of a copy, in bytes.
const maxCopy = 64 << 20

// Copy is where one app's snapshot is kept: a file in age's format
// (https://age-encryption.org/v1) that one identity opens.
type Copy struct {
	App       string
	Path      string
	Key       string // of the file with the identity, AGE-SECRET-KEY-1…
	MachineID string // the file that names this host (machine-id(5)); empty: /etc/machine-id
}

// Write seals a snapshot in place of the one before. It is durable when Write
// returns, and at no moment in part. When there is neither a copy nor a key,
// it makes the key first, with mode 0600.
func (c Copy) Write(s secret.Snapshot) error {
	key, err := readKey(c.Key)
	if errors.Is(err, fs.ErrNotExist) && c.absent() {
		key, err = makeKey(c.Key)
	}
	if err != nil {
		return err
	}
	host, err := c.host()
	if err != nil {
		return err
	}
	text, err := encode(letter{Host: host, App: c.App}, s)
	if err != nil {
		return fmt.Errorf("sealed copy %s: %w", c.Path, err)
	}
	content, err := seal(key, text)
	if err != nil {
		return fmt.Errorf("sealed copy %s: %w", c.Path, err)
	}
	mode := fs.FileMode(0o600)
	// A link would outlive Remove, and with it what it leads to.
	file := deliver.File{Destination: c.Path, Content: secret.NewValue(content), Mode: &mode, Symlink: deliver.Replace}
	_, err = deliver.Place("sealed-"+c.App, []deliver.File{file})
	if err != nil {
		return fmt.Errorf("sealed copy: %w", err)
	}
	return nil
}

// Read opens the copy and returns what is in it of these references, by the
// names that templates use. What is not whole, not from Write with this key,
// of another host or app, or of other references is refused. How old it is
// the snapshot says, and that is for the caller to judge.
func (c Copy) Read(refs map[string]secret.Ref) (secret.Snapshot, error) {
	content, err := deliver.Read(c.Path, deliver.Follow, maxCopy)
	if err != nil {
		return secret.Snapshot{}, fmt.Errorf("sealed copy: %w", err)
	}
	if content.Len() == 0 {
		return secret.Snapshot{}, fmt.Errorf("sealed copy %s: there is none yet; it is made when the secrets were read", c.Path)
	}
	key, err := readKey(c.Key)
	if err != nil {
		return secret.Snapshot{}, err
	}
	host, err := c.host()
	if err != nil {
		return secret.Snapshot{}, err
	}
	s, err := c.open(key, host, content.Reveal(), refs)
	if err != nil {
		return secret.Snapshot{}, fmt.Errorf("sealed copy %s: %w", c.Path, err)
	}
	return s, nil
}

func (c Copy) open(key *age.X25519Identity, host string, content []byte, refs map[string]secret.Ref) (secret.Snapshot, error) {
	text, err := unseal(key, content)
	if err != nil {
		return secret.Snapshot{}, err
	}
	l, err := decode(text)
	switch {
	case err != nil:
		return secret.Snapshot{}, err
	case l.App != c.App:
		return secret.Snapshot{}, fmt.Errorf("it is app %s's; give each app a path of its own", l.App)
	case l.Host != host:
		return secret.Snapshot{}, errors.New("another host has sealed it; remove it, it is made anew when the secrets were read")
	}
	return l.snapshot(refs)
}

// Check returns what would keep a copy from being made and read on this host,
// and changes nothing. A key that Write would make is not missed.
func (c Copy) Check() error {
	_, err := readKey(c.Key)
	if errors.Is(err, fs.ErrNotExist) && c.absent() {
		err = nil
	}
	_, hostErr := c.host()
	return errors.Join(err, hostErr)
}

// Remove removes the copy. That there is none is no error.
func (c Copy) Remove() error {
	if err := deliver.Remove(c.Path); err != nil {
		return fmt.Errorf("sealed copy: %w", err)
	}
	return nil
}

func (c Copy) absent() bool {
	_, err := os.Lstat(c.Path)
	return errors.Is(err, fs.ErrNotExist)
}

// host returns what tells this host from others, and not to others: an id
// derived from the machine's own, as machine-id(5) asks for.
func (c Copy) host() (string, error) {
	path := c.MachineID
	if path == "" {
		path = "/etc/machine-id"
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("this host's id: %w; systemd-machine-id-setup makes it", err)
	}
	id := strings.TrimSpace(string(text))
	if raw, err := hex.DecodeString(id); err != nil || len(raw) != 16 {
		return "", fmt.Errorf("this host's id: %s holds none; systemd-machine-id-setup makes it", path)
	}
	mac := hmac.New(sha256.New, []byte(id))
	mac.Write([]byte("outrider sealed copy"))
	return hex.EncodeToString(mac.Sum(nil)), nil
}

// seal encrypts a text, and signs it inside: whoever knows the public half of
// an age identity can encrypt for it, but only its holder can sign.
func seal(key *age.X25519Identity, text []byte) ([]byte, error) {
	tag, err := sign(key, text)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	w, err := age.Encrypt(&out, key.Recipient())
	if err != nil {
		return nil, err
	}
	_, err = w.Write(append([]byte(hex.EncodeToString(tag)+"\n"), text...))
	err = errors.Join(err, w.Close())
	return out.Bytes(), err
}

// unseal is the inverse of seal.
func unseal(key *age.X25519Identity, content []byte) ([]byte, error) {
	const damaged = "it is cut off, damaged or tampered with; remove it, it is made anew when the secrets were read"
	r, err := age.Decrypt(bytes.NewReader(content), key)
	switch {
	case is[*age.NoIdentityMatchError](err):
		return nil, errors.New("it was sealed with another key; give that one, or remove the copy")
	case err != nil:
		return nil, errors.New(damaged) // age's own text may quote it
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, errors.New(damaged)
	}
	head, text, _ := bytes.Cut(text, []byte("\n"))
	tag, err := hex.DecodeString(string(head))
	if err != nil {
		return nil, errors.New("whoever made it did not have this key; remove it")
	}
	want, err := sign(key, text)
	if err == nil && !hmac.Equal(tag, want) {
		err = errors.New("whoever made it did not have this key; remove it")
	}
	return text, err
}

// sign returns the code that only the holder of the identity can make.
func sign(key *age.X25519Identity, text []byte) ([]byte, error) {
	derived, err := hkdf.Key(sha256.New, []byte(key.String()), nil, "outrider sealed copy 1", sha256.Size)
	if err != nil {
		return nil, err
	}
	mac := hmac.New(sha256.New, derived)
	mac.Write(text)
	return mac.Sum(nil), nil
}

func is[T error](err error) bool {
	_, ok := errors.AsType[T](err)
	return ok
}

//go:build pkcs11 && cgo

package pkcs11

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"github.com/miekg/pkcs11"

	"outrider/signer/internal/device"
)

// Modules are the PKCS#11 modules that this process has loaded. The zero
// Modules is ready to use; it is safe for concurrent use and must not be
// copied. A process has one: a module is initialised once in it.
type Modules struct {
	mu      sync.Mutex
	loaded  map[string]*pkcs11.Ctx // by path
	started map[string]bool        // those that are initialised
}

// Built returns nil.
func Built() error { return nil }

// Open returns the key that a URI names, once it has signed with it for the
// leaf. The key keeps no session of the token between signatures. Of several
// keys that match it is the leaf's own, so that an old and a new one may stand
// side by side. Every error says what to do.
func (m *Modules) Open(ctx context.Context, guard *device.Guard, u URI, pin device.PIN, leaf *x509.Certificate) (*device.Key, error) {
	opened := &device.Key{
		Guard: guard, Device: u.module,
		Name:  u.text,
		PIN:   pin,
		Pub:   leaf.PublicKey,
		Signs: key{modules: m, uri: u, pin: pin, leaf: leaf}.sign,
	}
	return opened, opened.Try(ctx)
}

// start returns a module that is loaded and initialised, and whether it was
// initialised just now.
func (m *Modules) start(path string) (c *pkcs11.Ctx, fresh bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.loaded == nil {
		m.loaded, m.started = map[string]*pkcs11.Ctx{}, map[string]bool{}
	}
	c = m.loaded[path]
	if c == nil {
		if _, err := os.Stat(path); err != nil {
			if p, ok := errors.AsType[*fs.PathError](err); ok {
				err = p.Err
			}
			return nil, false, fmt.Errorf("module %s: %w; install it, or correct module-path", path, err)
		}
		if c = pkcs11.New(path); c == nil {
			return nil, false, fmt.Errorf("module %s cannot be loaded; see that it is a PKCS#11 module for this machine, and that what it links to is installed", path)
		}
		m.loaded[path] = c
	}
	if m.started[path] {
		return c, false, nil
	}
	err = c.Initialize()
	fresh = err == nil
	if err != nil && !errors.Is(err, pkcs11.Error(pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED)) {
		return nil, false, fmt.Errorf("module %s does not start: %w; see its own configuration", path, err)
	}
	m.started[path] = true
	return c, fresh, nil
}

// stop makes a module start anew at the next use: one that has lost its device
// may find it only then. It stays in memory, since unloading C code that has
// threads of its own can end a process.
func (m *Modules) stop(path string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.started[path] {
		_ = m.loaded[path].Finalize() // whatever it says, the next use begins anew
		m.started[path] = false
	}
}

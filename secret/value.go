// Package secret holds values that cannot be printed, the references that name them, and the snapshot that one app is made from.
package secret

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

// hidden is what every way of printing a Value gives.
const hidden = "[secret]"

// Value is a secret's bytes, held in a closure so that no verb of fmt, no
// slog handler and no encoder can reach them at any depth. The zero Value is
// empty. A Value is immutable and safe for concurrent use.
type Value struct {
	reveal func() []byte
}

// NewValue returns a Value of b. It keeps b: the caller must not change it
// afterwards.
func NewValue(b []byte) Value {
	return Value{reveal: func() []byte { return b }}
}

// Text returns a Value of s.
func Text(s string) Value {
	return NewValue([]byte(s))
}

// Reveal returns the bytes themselves, which the caller must neither change
// nor print. It is called in few places; a test counts them.
func (v Value) Reveal() []byte {
	if v.reveal == nil {
		return nil
	}
	return v.reveal()
}

// Len returns the number of bytes.
func (v Value) Len() int { return len(v.Reveal()) }

// Equal reports whether both hold the same bytes, in constant time for
// values of equal length.
func (v Value) Equal(w Value) bool {
	return subtle.ConstantTimeCompare(v.Reveal(), w.Reveal()) == 1
}

// Digest returns the SHA-256 of the bytes. It must not be shown: a short
// secret can be guessed from it.
func (v Value) Digest() [sha256.Size]byte { return sha256.Sum256(v.Reveal()) }

// Format implements fmt.Formatter: every verb prints the same.
func (v Value) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// String implements fmt.Stringer.
func (v Value) String() string { return hidden }

// LogValue implements slog.LogValuer.
func (v Value) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText implements encoding.TextMarshaler, which JSON, YAML and XML
// encoders use.
func (v Value) MarshalText() ([]byte, error) { return []byte(hidden), nil }

package signer

import (
	"crypto/x509"
	"fmt"
	"time"
)

// TimeError says that a certificate of an identity is not valid at a time.
type TimeError struct {
	Certificate *x509.Certificate // the leaf, or one of its chain
	At          time.Time
}

// Expired tells a certificate that has ended from one that has not begun.
func (e *TimeError) Expired() bool { return e.At.After(e.Certificate.NotAfter) }

// Error gives the dates and the remedy.
func (e *TimeError) Error() string {
	c := e.Certificate
	if e.Expired() {
		return fmt.Sprintf("certificate %q (serial %s): expired on %s, %s ago; renew it, the new files are taken up when they are there",
			c.Subject, c.SerialNumber, stamp(c.NotAfter), e.At.Sub(c.NotAfter).Round(time.Second))
	}
	return fmt.Sprintf("certificate %q (serial %s): not valid before %s, in %s; wait, or set this host's clock, which says %s",
		c.Subject, c.SerialNumber, stamp(c.NotBefore), c.NotBefore.Sub(e.At).Round(time.Second), stamp(e.At))
}

// CheckTime returns nil when the leaf and all of its chain are valid at now,
// else a *TimeError for the first that is not.
func (id *Identity) CheckTime(now time.Time) error {
	for _, c := range append([]*x509.Certificate{id.leaf}, id.chain...) {
		if now.Before(c.NotBefore) || now.After(c.NotAfter) {
			return &TimeError{Certificate: c, At: now}
		}
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 MST") }

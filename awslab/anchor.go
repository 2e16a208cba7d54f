package awslab

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// Trust makes a certificate, PEM, the trust anchor's second one, beside the
// lab's own: AWS takes two. A former second one is trusted no more. As AWS it
// wants that of a certificate authority.
func (l *Lab) Trust(certificate []byte) error {
	block, _ := pem.Decode(certificate)
	if block == nil {
		return errors.New("lab: trust anchor: no PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return fmt.Errorf("lab: trust anchor: %w", err)
	}
	if !cert.IsCA || cert.KeyUsage&x509.KeyUsageCertSign == 0 {
		return errors.New("lab: trust anchor: its certificate lacks CA:true or keyCertSign")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.second = cert
	return nil
}

// anchors returns what the way from a leaf must end with.
func (l *Lab) anchors() *x509.CertPool {
	l.mu.Lock()
	defer l.mu.Unlock()
	pool := x509.NewCertPool()
	pool.AddCert(l.ca.cert)
	if l.second != nil {
		pool.AddCert(l.second)
	}
	return pool
}

package spiffe

import (
	"crypto"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
)

// SVID is an X.509-SVID: a certificate that names a workload, and its key.
type SVID struct {
	ID           string              // such as spiffe://example.org/billing
	Certificates []*x509.Certificate // the leaf first, then its chain; never empty
	Key          crypto.Signer
}

// parse reads an X509SVIDResponse and returns its first SVID, which the API
// has for the default one.
func parse(message []byte) (SVID, error) {
	svids, err := fields(message)
	if err != nil {
		return SVID{}, err
	}
	if len(svids[1]) == 0 {
		return SVID{}, errors.New("it has no SVID for this process; register an entry for it with the SPIFFE server")
	}
	f, err := fields(svids[1][0])
	if err != nil {
		return SVID{}, err
	}
	last := func(number uint64) []byte { // as Protocol Buffers have it for a field that is there twice
		if n := len(f[number]); n > 0 {
			return f[number][n-1]
		}
		return nil
	}
	svid := SVID{ID: string(last(1))}
	svid.Certificates, err = x509.ParseCertificates(last(2))
	if err != nil || len(svid.Certificates) == 0 {
		return SVID{}, fmt.Errorf("its SVID %q holds no certificate that can be read", svid.ID)
	}
	key, err := x509.ParsePKCS8PrivateKey(last(3))
	signer, ok := key.(crypto.Signer)
	if err != nil || !ok {
		return SVID{}, fmt.Errorf("its SVID %q holds no private key that can be read", svid.ID)
	}
	svid.Key = signer
	return svid, nil
}

// fields splits a message of Protocol Buffers into its fields of bytes, by
// number. Those of other kinds are passed over.
//
// Source: https://protobuf.dev/programming-guides/encoding/
func fields(message []byte) (map[uint64][][]byte, error) {
	found := map[uint64][][]byte{}
	for len(message) > 0 {
		tag, n := binary.Uvarint(message)
		if n <= 0 {
			return nil, errDamaged
		}
		message = message[n:]
		var size uint64
		switch tag & 7 {
		case 0: // a number of variable length
			_, n = binary.Uvarint(message)
			size = uint64(max(n, 0))
		case 1: // eight bytes
			size = 8
		case 2: // bytes, their number first
			size, n = binary.Uvarint(message)
			message = message[max(n, 0):]
		case 5: // four bytes
			size = 4
		default:
			return nil, errDamaged
		}
		if n <= 0 || size > uint64(len(message)) {
			return nil, errDamaged
		}
		if tag&7 == 2 {
			found[tag>>3] = append(found[tag>>3], message[:size])
		}
		message = message[size:]
	}
	return found, nil
}

var errDamaged = errors.New("its answer is damaged")

package policy

import (
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"strings"
)

// Subject is one attribute of a certificate, as Roles Anywhere tags sessions
// with it: x509Subject/CN, for instance.
//
// Source: https://docs.aws.amazon.com/rolesanywhere/latest/userguide/trust-model.html
type Subject struct {
	Tag   string
	Value string
}

// SubjectOf returns what tells the certificate best from others: its common
// name, else the first URI or DNS name, else nothing.
func SubjectOf(leaf *x509.Certificate) Subject {
	var names []string
	for _, a := range leaf.Subject.Names {
		if a.Type.Equal(asn1.ObjectIdentifier{2, 5, 4, 3}) {
			names = append(names, fmt.Sprint(a.Value))
		}
	}
	switch {
	case len(names) > 0: // several are joined, in their order
		return Subject{"x509Subject/CN", strings.Join(names, "/")}
	case len(leaf.URIs) > 0:
		return Subject{"x509SAN/URI", leaf.URIs[0].String()}
	case len(leaf.DNSNames) > 0:
		return Subject{"x509SAN/DNS", leaf.DNSNames[0]}
	}
	return Subject{}
}

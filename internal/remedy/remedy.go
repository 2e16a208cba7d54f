// Package remedy says what an operator does about an error of the system or of the network.
package remedy

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"syscall"
)

// Disk returns what mends an error of a file in a folder, "" when it tells
// nothing.
func Disk(err error, folder string) string {
	switch {
	case errors.Is(err, syscall.EROFS):
		return fmt.Sprintf("remount it writable, or under systemd list %s in ReadWritePaths=", folder)
	case errors.Is(err, syscall.ENOSPC):
		return "free space or inodes on the file system of " + folder
	case errors.Is(err, syscall.EIO):
		return "look at the kernel's log, and after the disk of " + folder
	case errors.Is(err, syscall.EMFILE):
		return "raise LimitNOFILE= of outrider's unit"
	}
	return ""
}

// Network returns what mends an error on the way to AWS, "" when it tells
// nothing. Region is what says where that is.
func Network(err error, region string) string {
	_, old := OutOfDates(err)
	switch {
	case is[*net.DNSError](err):
		return "check " + region + " and the name servers"
	case old:
		return "check this host's clock, and then the certificate of who answers"
	case is[*net.OpError](err), errors.Is(err, context.DeadlineExceeded):
		return "check the route, the firewall and HTTPS_PROXY"
	}
	return ""
}

// OutOfDates returns the certificate that is not valid by this host's clock, if
// that is what keeps TLS from starting.
func OutOfDates(err error) (*x509.Certificate, bool) {
	invalid, _ := errors.AsType[x509.CertificateInvalidError](err)
	return invalid.Cert, invalid.Cert != nil && invalid.Reason == x509.Expired
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

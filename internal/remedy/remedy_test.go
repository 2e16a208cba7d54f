package remedy_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"syscall"
	"testing"

	"outrider/internal/remedy"
)

func TestWhatMendsAnErrorOfADisk(t *testing.T) {
	for err, want := range map[error]string{
		nil:             "",
		syscall.ENOENT:  "",
		syscall.EROFS:   "remount it writable, or under systemd list /f in ReadWritePaths=",
		syscall.ENOSPC:  "free space or inodes on the file system of /f",
		syscall.EIO:     "look at the kernel's log, and after the disk of /f",
		syscall.EMFILE:  "raise LimitNOFILE= of outrider's unit",
		fs.ErrInvalid:   "",
		fs.ErrNotExist:  "",
		syscall.EDQUOT:  "",
		syscall.EACCES:  "",
		syscall.ENOTDIR: "",
	} {
		if err != nil {
			err = fmt.Errorf("write it: %w", &fs.PathError{Op: "write", Path: "/f/x", Err: err})
		}
		if got := remedy.Disk(err, "/f"); got != want {
			t.Errorf("%v: got %q, want %q", err, got, want)
		}
	}
}

func TestWhatMendsAnErrorOfTheNetwork(t *testing.T) {
	expired := &tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Cert: &x509.Certificate{}, Reason: x509.Expired}}
	for _, tc := range []struct {
		name string
		err  error
		want string
	}{
		{"none", nil, ""},
		{"something else", errors.New("x"), ""},
		{"no such name, which a dial ends with", &net.OpError{Op: "dial", Err: &net.DNSError{IsNotFound: true}}, "check the region in watch.queue and the name servers"},
		{"a certificate out of its dates", expired, "check this host's clock, and then the certificate of who answers"},
		{"a certificate that is invalid otherwise", x509.CertificateInvalidError{Cert: &x509.Certificate{}, Reason: x509.NotAuthorizedToSign}, ""},
		{"refused", &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, "check the route, the firewall and HTTPS_PROXY"},
		{"no answer", context.DeadlineExceeded, "check the route, the firewall and HTTPS_PROXY"},
	} {
		if got := remedy.Network(tc.err, "the region in watch.queue"); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}
	if leaf, ok := remedy.OutOfDates(expired); !ok || leaf == nil {
		t.Errorf("OutOfDates = %v, %v; want the certificate", leaf, ok)
	}
}

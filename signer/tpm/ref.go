// Package tpm signs with a private key that stays in a TPM 2.0.
package tpm

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// defaultDevice is the kernel's resource manager: programs share the TPM
// through it, and what one leaves behind goes when it closes the device.
const defaultDevice = "/dev/tpmrm0"

// Ref names a key and the TPM that keeps it.
type Ref struct {
	Handle uint32 // of a persistent key; 0: Path
	Path   string // of a TSS2 key file
	Device string // a device's path, unix:PATH, or tcp:ADDRESS:PORT on loopback
}

// Parse reads tpm2:0x81000001 or tpm2:PATH, either perhaps with ?device= and
// one of a device's path, unix:PATH and tcp:ADDRESS:PORT after it; left out it
// is /dev/tpmrm0. The sockets are for TPMs in software, which speak the TPM's
// own commands there: they are not protected, so that TCP is for loopback.
func Parse(uri string) (Ref, error) {
	key, query, given := strings.Cut(strings.TrimPrefix(uri, "tpm2:"), "?")
	r := Ref{Path: key, Device: defaultDevice}
	if given {
		var known bool
		if r.Device, known = strings.CutPrefix(query, "device="); !known || r.Device == "" {
			return Ref{}, errors.New("after ? stands device= and a device's path, unix:PATH, or tcp:ADDRESS:PORT")
		}
	}
	if address, tcp := strings.CutPrefix(r.Device, "tcp:"); tcp {
		host, _, err := net.SplitHostPort(address)
		if ip := net.ParseIP(host); err != nil || !ip.IsLoopback() {
			return Ref{}, errors.New("over TCP a TPM is reached at tcp: and a loopback address, such as tcp:127.0.0.1:2321")
		}
	}
	digits, handle := strings.CutPrefix(strings.ToLower(key), "0x")
	if !handle {
		if key == "" {
			return Ref{}, errors.New("after tpm2: stands the path of a TSS2 key file, or a persistent handle such as 0x81000001")
		}
		return r, nil
	}
	n, err := strconv.ParseUint(digits, 16, 32)
	if err != nil || n>>24 != persistent {
		return Ref{}, fmt.Errorf("%q is not a persistent handle: 0x81000000 to 0x81ffffff", key)
	}
	r.Handle, r.Path = uint32(n), ""
	return r, nil
}

// The first byte of a handle is its kind (TPM 2.0 Library, part 2, 7.2).
const (
	persistent = 0x81
	permanent  = 0x40
)

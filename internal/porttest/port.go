// Package porttest finds ports for what a test starts.
package porttest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"testing"
)

// Free returns an address of 127.0.0.1 on which nobody listens. Its port is
// below those that the kernel hands out, so that until the caller listens there
// it is no other program's, whether that asks for any port or connects.
func Free(tb testing.TB) string {
	tb.Helper()
	const lowest = 10_000
	handedOut := 32_768 // the kernel's default
	if text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		_, _ = fmt.Sscan(string(text), &handedOut)
	}
	for range 100 {
		port := 0 // where the kernel hands out all of them
		if handedOut > lowest+1000 {
			port = lowest + rand.IntN(handedOut-lowest) //nolint:gosec // luck, not a secret
		}
		l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	tb.Fatal("of a hundred ports none is free")
	return ""
}

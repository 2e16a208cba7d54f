package config

import (
	"fmt"
	"net/netip"
	"strings"
)

// loopback takes an address and a port. The address is a number because some
// SDKs refuse names.
func loopback() kind[Address] {
	return kind[Address]{takes: "address:port", parse: func(_ *source, text string) (Address, error) {
		a, err := netip.ParseAddrPort(text)
		switch {
		case err != nil || a.Port() == 0 || a.Addr().Zone() != "":
			return Address{}, fmt.Errorf("%q is not an IP address and a port, such as 127.0.0.1:9470", text)
		case !a.Addr().IsLoopback():
			return Address{}, fmt.Errorf("%s can be reached from other machines; only loopback may be given, such as 127.0.0.1:%d", text, a.Port())
		}
		return Address{Network: "tcp", Address: a.String()}, nil
	}}
}

func addressOrSocket() kind[Address] {
	tcp, unix := loopback(), socket()
	return kind[Address]{takes: tcp.takes + " or " + unix.takes, parse: func(from *source, text string) (Address, error) {
		if !strings.HasPrefix(text, "unix:") {
			return tcp.parse(from, text)
		}
		path, err := unix.parse(from, text)
		return Address{Network: "unix", Address: path}, err
	}}
}

// anywhere takes an address and a port that other machines may reach.
func anywhere() kind[Address] {
	return kind[Address]{takes: "address:port", parse: func(_ *source, text string) (Address, error) {
		a, err := netip.ParseAddrPort(text)
		if err != nil || a.Port() == 0 {
			return Address{}, fmt.Errorf("%q is not an IP address and a port, such as 127.0.0.1:9469", text)
		}
		return Address{Network: "tcp", Address: a.String()}, nil
	}}
}

func checkListen(r *reader, v *value, l *Listen) {
	switch {
	case l.Credentials.Network == "unix" && l.Credentials.Address == l.Admin:
		r.mistake(v.get("credentials"), "is listen.admin already")
	case l.Credentials != Address{} && l.Credentials == l.IMDS.Address:
		r.mistake(v.get("imds").get("address"), "is listen.credentials already")
	}
	switch l.Metrics {
	case Address{}:
	case l.Credentials:
		r.mistake(v.get("metrics"), "is listen.credentials already")
	case l.IMDS.Address:
		r.mistake(v.get("metrics"), "is listen.imds.address already")
	}
	switch l.Systemd {
	case "":
	case l.Admin:
		r.mistake(v.get("systemd"), "is listen.admin already")
	case l.Credentials.Address:
		r.mistake(v.get("systemd"), "is listen.credentials already")
	}
	if l.Credentials.Network != "tcp" || len(r.config.Roles) == 0 { // without roles there is a mistake already
		return
	}
	for _, role := range r.config.Roles {
		if role.Token != nil {
			return
		}
	}
	r.mistake(v.get("credentials"), "lets nobody in: no role has a token; give roles.NAME.token, or unix: and roles.NAME.allow")
}

func checkIMDS(r *reader, v *value, i *IMDS) {
	refer(r, v, "role", "roles", &i.Role, r.config.Roles)
}
